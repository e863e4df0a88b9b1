"""Reads a recording with the standard library alone, so that end-to-end tests need no packages."""

import array
import json
import pathlib
import struct

# How far fp32 logits may be from recorded ones. Steps whose two best logits are nearer than this are not
# compared, nor what follows them.
NOISE = 1e-3


class Recorded:
    def __init__(self, folder: pathlib.Path):
        self.images = folder / "images"
        self.notes = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
        self._data = (folder / "recording.safetensors").read_bytes()
        (header_size,) = struct.unpack_from("<Q", self._data)
        self._entries = json.loads(self._data[8 : 8 + header_size])
        self._start = 8 + header_size

    def values(self, name: str) -> list:
        """The elements of an int32 or float32 tensor, in one list."""
        entry = self._entries[name]
        begin, end = (self._start + offset for offset in entry["data_offsets"])
        values = array.array({"I32": "i", "F32": "f"}[entry["dtype"]])
        values.frombytes(self._data[begin:end])
        return values.tolist()

    def case_names(self) -> list[str]:
        return list(self.notes["cases"])

    def messages(self, case: str) -> list[dict]:
        """OpenAI messages whose image URLs are absolute paths."""
        messages = json.loads(json.dumps(self.notes["cases"][case]["messages"]))
        for message in messages:
            parts = message["content"] if isinstance(message["content"], list) else []
            for part in parts:
                if part["type"] == "image_url":
                    part["image_url"]["url"] = str((self.images / part["image_url"]["url"]).resolve())
        return messages

    def num_certain(self, margins_name: str) -> int:
        """How many steps of a greedy answer lie before the first near tie."""
        margins = self.values(margins_name)
        return next((n for n, margin in enumerate(margins) if margin < NOISE), len(margins))
