"""Asks a running server about a picture over gRPC: pip install ./client/python; generate.py 127.0.0.1:8001 photo.jpg PROMPT"""
import pathlib
import sys

import longhand


def main(endpoint, picture, prompt):
    with longhand.Client(endpoint) as client:
        stream = client.generate(prompt, images=[pathlib.Path(picture)], temperature=0, max_tokens=64)
        for event in stream:
            print(event.text, end="", flush=True)
        print(f"\n{stream.answer.usage.completion_tokens} tokens, {stream.answer.finish_details[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
