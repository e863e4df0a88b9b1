"""The client for threads."""
import threading
import time
from collections.abc import Iterable, Iterator

import grpc

from longhand import channel as channels
from longhand.answer import Answer
from longhand.errors import Error, unreachable
from longhand.requests import attach_request, document_request, generate_request
from longhand.resumption import Resumption
from longhand.v1 import cluster_pb2, cluster_pb2_grpc, generation_pb2, generation_pb2_grpc


class Client:
    """Any thread. `tls`: True for the system's roots, or a PEM of others. `retry_for_s`: how long a stream waits for its
    server, and for one that says UNAVAILABLE; a server that was never there is an error at once."""

    def __init__(self, endpoint: str, *, api_key: str | None = None, tls: bool | bytes = False, retry_for_s: float = 60.0):
        self.endpoint = endpoint
        self.retry_for_s = retry_for_s
        self._channel = (grpc.secure_channel(endpoint, channels.credentials(tls), channels.OPTIONS) if tls
                         else grpc.insecure_channel(endpoint, channels.OPTIONS))
        self._metadata = channels.metadata(api_key)
        self._generation = generation_pb2_grpc.GenerationStub(self._channel)
        self._cluster = cluster_pb2_grpc.ClusterStub(self._channel)
        self._reached = False

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def generate(self, prompt: str | None = None, **fields) -> "Stream":
        """Fields: those of longhand.requests.generate_request."""
        return self._stream(generate_request(prompt, **fields))

    def write_document(self, instruction: str, **fields) -> "Stream":
        """A long text, section by section. Fields: those of longhand.requests.document_request."""
        return self._stream(document_request(instruction, **fields))

    def attach(self, request_id: str, from_seq: int = 1) -> "Stream":
        """The events of a request that the server has, from number `from_seq` on."""
        return self._stream(attach_request(request_id, from_seq))

    def cancel(self, request_id: str) -> None:
        self._ask(self._generation.Cancel, generation_pb2.CancelRequest(request_id=request_id))

    def tokenize(self, text: str, *, parse_control: bool = False) -> list[int]:
        return list(self._ask(self._generation.Tokenize,
                              generation_pb2.TokenizeRequest(text=text, parse_control=parse_control)).ids)

    def detokenize(self, ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        return self._ask(self._generation.Detokenize,
                         generation_pb2.DetokenizeRequest(ids=ids, skip_special_tokens=skip_special_tokens)).text

    def status(self) -> cluster_pb2.GetStatusResponse:
        return self._ask(self._cluster.GetStatus, cluster_pb2.GetStatusRequest())

    def _ask(self, call, request):
        self._reach()
        try:
            return call(request, metadata=self._metadata)
        except grpc.RpcError as error:
            raise Error.from_grpc(error) from None

    def _stream(self, request) -> "Stream":
        self._reach()
        return Stream(self, Resumption(request, self.retry_for_s))

    def _open(self, request):
        call = {generation_pb2.AttachRequest: self._generation.Attach, generation_pb2.GenerateRequest: self._generation.Generate,
                generation_pb2.WriteDocumentRequest: self._generation.WriteDocument}[type(request)]
        return call(request, metadata=self._metadata)

    def _reach(self) -> None:
        """Connects for the first time, or fails as soon as that has failed."""
        if self._reached:
            return
        settled, ready = threading.Event(), []

        def watch(state: grpc.ChannelConnectivity) -> None:
            if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
                ready.append(state is grpc.ChannelConnectivity.READY)
                settled.set()

        self._channel.subscribe(watch, try_to_connect=True)
        settled.wait(channels.REACH_S)
        self._channel.unsubscribe(watch)
        if not (ready and ready[0]):
            raise unreachable(self.endpoint)
        self._reached = True


class Stream(Iterator):
    """Events of one request, each once. One thread at a time; `close` from any. What they add up to is in `answer`."""

    def __init__(self, client: Client, resumption: Resumption):
        self.request_id = resumption.request_id
        self.answer = Answer()
        self._client = client
        self._resumption = resumption
        self._call = None
        self._closed = False

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __next__(self) -> generation_pb2.GenerateEvent:
        while not self._closed:
            try:
                if self._call is None:
                    self._call = self._client._open(self._resumption.open())
                event = next(self._call)
            except grpc.RpcError as error:
                self._call = None
                if self._closed:
                    break
                time.sleep(self._resumption.pause_after(Error.from_grpc(error)))
                continue
            self._resumption.saw(event)
            self.answer.add(event)
            return event
        raise StopIteration

    def read(self) -> Answer:
        """To the end."""
        for _ in self:
            pass
        return self.answer

    def close(self) -> None:
        """Stops reading. A request that was not to keep running ends."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()
