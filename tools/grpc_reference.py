#!/usr/bin/env python3
"""Writes docs/grpc.md, the reference of the public gRPC interface, from the protos and their comments.

    tools/grpc_reference.py            writes
    tools/grpc_reference.py --check    exit 1 when the page is not what the protos say, 77 when buf is not installed
"""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "grpc.md"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "longhand"
HEAD = """# gRPC

The public interface, package `longhand.v1`, from `proto/longhand/v1`; written by `tools/grpc_reference.py`. The server has reflection and
`grpc.health.v1`. With `--api-key-file` every call carries `authorization: Bearer KEY` in its metadata. How a stream goes on after a
lost connection: [life-of-a-request.md](life-of-a-request.md); a client that does it: [client/python](../client/python/README.md).
"""
# Paths of source locations: field numbers of google/protobuf/descriptor.proto.
SYNTAX, MESSAGE, ENUM, SERVICE, NESTED, NESTED_MESSAGE = 12, 4, 5, 6, 2, 3


class File:
    def __init__(self, descriptor):
        self.descriptor = descriptor
        self._comments = {}
        for location in descriptor["sourceCodeInfo"]["location"]:
            texts = [location.get(kind, "") for kind in ("leadingComments", "trailingComments")]
            self._comments[tuple(location.get("path", ()))] = " ".join(" ".join(text.split()) for text in texts if text)

    def comment(self, *path):
        return self._comments.get(path, "")

    def lines(self):
        name = pathlib.PurePath(self.descriptor["name"]).name
        yield f"\n## {name}\n\n{self.comment(SYNTAX)}\n"
        for number, service in enumerate(self.descriptor.get("service", [])):
            yield f"\n### service {service['name']}\n\n| call | request | answer | |\n|---|---|---|---|"
            for at, method in enumerate(service["method"]):
                answer = ("stream of " if method.get("serverStreaming") else "") + linked(method["outputType"])
                yield f"| `{method['name']}` | {linked(method['inputType'])} | {answer} | {cell(self.comment(SERVICE, number, NESTED, at))} |"
        for number, message in enumerate(self.descriptor.get("messageType", [])):
            yield from self._message(message, MESSAGE, number)
        for number, enum in enumerate(self.descriptor.get("enumType", [])):
            yield f"\n### {enum['name']}\n{paragraph(self.comment(ENUM, number))}\n| value | | |\n|---|---:|---|"
            for at, value in enumerate(enum["value"]):
                yield f"| `{value['name']}` | {value.get('number', 0)} | {cell(self.comment(ENUM, number, NESTED, at))} |"

    def _message(self, message, *path):
        yield f"\n### {message['name']}\n{paragraph(self.comment(*path))}"
        if not message.get("field"):
            yield "No fields."
            return
        yield "| field | type | | |\n|---|---|---:|---|"
        maps = {entry["name"]: entry["field"] for entry in message.get("nestedType", []) if entry.get("options", {}).get("mapEntry")}
        for at, field in enumerate(message["field"]):
            kind = linked(field["typeName"]) if "typeName" in field else field["type"].removeprefix("TYPE_").lower()
            entry = maps.get(field.get("typeName", "").rsplit(".", 1)[-1])
            if entry:
                kind = f"map<{', '.join(part['type'].removeprefix('TYPE_').lower() for part in entry)}>"
            elif field["label"] == "LABEL_REPEATED":
                kind = f"repeated {kind}"
            elif field.get("proto3Optional"):
                kind = f"optional {kind}"
            elif "oneofIndex" in field:
                kind = f"one of `{message['oneofDecl'][field['oneofIndex']]['name']}`: {kind}"
            yield f"| `{field['name']}` | {kind} | {field['number']} | {cell(self.comment(*path, NESTED, at))} |"
        for at, nested in enumerate(message.get("nestedType", [])):
            if nested["name"] not in maps:
                yield from self._message(nested, *path, NESTED_MESSAGE, at)


def linked(type_name):
    name = type_name.rsplit(".", 1)[1]
    return f"[{name}](#{name.lower()})"


def cell(text):
    return text.replace("|", "\\|")


def paragraph(text):
    return f"\n{text}\n" if text else ""


def page(buf):
    done = subprocess.run([buf, "build", "proto", "--path", "proto/longhand/v1", "-o", "-#format=json"], cwd=ROOT, check=True, capture_output=True)
    files = json.loads(done.stdout)["file"]
    files.sort(key=lambda file: "generation" not in file["name"])  # what most come for, first
    return HEAD + "\n".join(line for file in files for line in File(file).lines()) + "\n"


def main():
    buf = CACHE / "tools" / "bin" / "buf"
    if not buf.exists():
        print("skipped: buf is not installed; scripts/setup installs it")
        return 77
    text = page(buf)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/grpc.md is not what the protos say: run tools/grpc_reference.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
