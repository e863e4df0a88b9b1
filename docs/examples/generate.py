"""Asks a running server about a picture, with nothing but grpcio and grpcio-reflection: no generated code.

    python docs/examples/generate.py 127.0.0.1:8001 photograph.jpg "What is in this photograph?"
"""

import pathlib
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main() -> None:
    endpoint, picture, prompt = sys.argv[1:4]
    with grpc.insecure_channel(endpoint) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        generate = pool.FindServiceByName("longhand.v1.Generation").FindMethodByName("Generate")
        request = message_factory.GetMessageClass(generate.input_type)()
        request.messages.messages.add(role="user", content=[{"text": prompt}, {"image": {}}])
        request.images.add(data=pathlib.Path(picture).read_bytes())
        request.sampling.temperature = 0
        request.sampling.max_tokens = 64
        call = channel.unary_stream(
            "/longhand.v1.Generation/Generate",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(generate.output_type).FromString,
        )
        for event in call(request):
            print(event.text, end="", flush=True)
        print(f"\n{event.usage.completion_tokens} tokens, {event.finish_detail}")


main()
