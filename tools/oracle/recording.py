"""A recording: one safetensors file of float32, int32 and uint8 tensors, and one JSON file of the rest."""

import json
import pathlib

import torch
from safetensors.torch import save_file


class Recording:
    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.notes: dict = {}

    def put(self, name: str, value) -> None:
        value = torch.as_tensor(value).detach()
        if value.dtype != torch.uint8:
            value = value.float() if value.is_floating_point() else value.to(torch.int32)
        if name in self.tensors:
            raise ValueError(f"{name} is recorded twice")
        self.tensors[name] = value.contiguous().clone()

    def write(self, folder: pathlib.Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.tensors, folder / "recording.safetensors")
        (folder / "recording.json").write_text(
            json.dumps(self.notes, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
