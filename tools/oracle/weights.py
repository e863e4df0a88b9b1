"""Random weights of a Qwen2.5-VL checkpoint, scaled so that a mistake in the arithmetic shows.

Activations stay near unit scale through any depth: a matrix has standard deviation gain / sqrt(columns),
and those that write into the residual stream are divided by sqrt(2 * depth). Queries and keys have a
gain above 1, so attention is far from uniform and a wrong mask or position changes the logits. Biases
are not zero and norm weights scatter around 1, so leaving one out shows. The token and the patch
embedding are as small as in the real models, so a wrong RMSNorm epsilon shows. Logits have a standard
deviation near 3, so the gap between the best two tokens is far above the noise of fp32.
"""

import json
import math
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from safetensors.torch import save_file

import seeding
from presets import Preset

ROWS_AT_ONCE = 4096  # A big embedding is drawn in slabs, never held twice in fp32.
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class Spec(NamedTuple):
    name: str  # As in the published repositories.
    shape: tuple[int, ...]
    std: float
    mean: float = 0.0

    def num_bytes(self, dtype: torch.dtype) -> int:
        return math.prod(self.shape) * dtype.itemsize


def _linear(name: str, rows: int, columns: int, gain: float, bias_std: float = 0.0) -> Iterator[Spec]:
    yield Spec(f"{name}.weight", (rows, columns), gain / math.sqrt(columns))
    if bias_std:
        yield Spec(f"{name}.bias", (rows,), bias_std)


def _norm(name: str, size: int) -> Spec:
    return Spec(f"{name}.weight", (size,), 0.2, mean=1.0)


def _text_layer(p: Preset, prefix: str) -> Iterator[Spec]:
    into_residual = 2 / math.sqrt(2 * p.layers)
    kv_rows = p.kv_heads * p.head_dim
    yield _norm(f"{prefix}.input_layernorm", p.hidden)
    yield from _linear(f"{prefix}.self_attn.q_proj", p.hidden, p.hidden, 1.8, bias_std=0.5)
    yield from _linear(f"{prefix}.self_attn.k_proj", kv_rows, p.hidden, 1.8, bias_std=0.5)
    yield from _linear(f"{prefix}.self_attn.v_proj", kv_rows, p.hidden, 1.0, bias_std=0.5)
    yield from _linear(f"{prefix}.self_attn.o_proj", p.hidden, p.hidden, into_residual)
    yield _norm(f"{prefix}.post_attention_layernorm", p.hidden)
    yield from _linear(f"{prefix}.mlp.gate_proj", p.ffn, p.hidden, 1.5)
    yield from _linear(f"{prefix}.mlp.up_proj", p.ffn, p.hidden, 1.5)
    yield from _linear(f"{prefix}.mlp.down_proj", p.hidden, p.ffn, into_residual)


def _vit_block(p: Preset, prefix: str) -> Iterator[Spec]:
    into_residual = 2 / math.sqrt(2 * p.vit_depth)
    yield _norm(f"{prefix}.norm1", p.vit_hidden)
    yield _norm(f"{prefix}.norm2", p.vit_hidden)
    yield from _linear(f"{prefix}.attn.qkv", 3 * p.vit_hidden, p.vit_hidden, 1.4, bias_std=0.2)
    yield from _linear(f"{prefix}.attn.proj", p.vit_hidden, p.vit_hidden, into_residual, bias_std=0.1)
    yield from _linear(f"{prefix}.mlp.gate_proj", p.vit_ffn, p.vit_hidden, 1.5, bias_std=0.1)
    yield from _linear(f"{prefix}.mlp.up_proj", p.vit_ffn, p.vit_hidden, 1.5, bias_std=0.1)
    yield from _linear(f"{prefix}.mlp.down_proj", p.vit_hidden, p.vit_ffn, into_residual, bias_std=0.1)


def specs(p: Preset, tied: bool) -> Iterator[Spec]:
    """Every tensor of the checkpoint, in file order."""
    # A tied embedding is also the head, and has to be as large as one.
    yield Spec("model.embed_tokens.weight", (p.vocab, p.hidden), 3 / math.sqrt(p.hidden) if tied else 0.02)
    for layer in range(p.layers):
        yield from _text_layer(p, f"model.layers.{layer}")
    yield _norm("model.norm", p.hidden)
    if not tied:
        yield from _linear("lm_head", p.vocab, p.hidden, 3.0)
    patch_size = 3 * 2 * 14 * 14
    yield Spec("visual.patch_embed.proj.weight", (p.vit_hidden, 3, 2, 14, 14), 0.03 / math.sqrt(patch_size))
    for block in range(p.vit_depth):
        yield from _vit_block(p, f"visual.blocks.{block}")
    merged = 4 * p.vit_hidden
    yield _norm("visual.merger.ln_q", p.vit_hidden)
    yield from _linear("visual.merger.mlp.0", merged, merged, 1.5, bias_std=0.2)
    yield from _linear("visual.merger.mlp.2", p.hidden, merged, 0.3, bias_std=0.05)


def draw(spec: Spec, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """A function of (seed, published name) alone: dtype, shards and layout do not change the values drawn."""
    high, low = seeding.stream_key(seed, spec.name)
    source = torch.Generator().manual_seed(high << 32 | low)
    rows = spec.shape[0] if len(spec.shape) > 1 else 1
    out = torch.empty(rows, math.prod(spec.shape) // rows, dtype=dtype)
    for slab in out.split(ROWS_AT_ONCE):
        slab.copy_(torch.randn(slab.shape, generator=source) * spec.std + spec.mean)
    return out.view(spec.shape)


def nested_name(name: str) -> str:
    """The name that transformers 5 uses in memory, and some of its checkpoints on disk."""
    if name.startswith("model."):
        return name.replace("model.", "model.language_model.", 1)
    return f"model.{name}" if name.startswith("visual.") else name


def _split(todo: list[Spec], num_shards: int, dtype: torch.dtype) -> list[list[Spec]]:
    """Consecutive groups of about equal bytes."""
    total = sum(spec.num_bytes(dtype) for spec in todo)
    groups: list[list[Spec]] = [[] for _ in range(num_shards)]
    before = 0
    for spec in todo:
        groups[min(num_shards - 1, before * num_shards // total)].append(spec)
        before += spec.num_bytes(dtype)
    return groups


def write(
    p: Preset,
    out: pathlib.Path,
    *,
    seed: int,
    dtype_name: str,
    num_shards: int,
    tied: bool,
    nested_names: bool,
) -> None:
    dtype = DTYPES[dtype_name]
    rename = nested_name if nested_names else str
    todo = list(specs(p, tied))
    weight_map = {}
    for number, group in enumerate(_split(todo, num_shards, dtype), start=1):
        file = "model.safetensors" if num_shards == 1 else f"model-{number:05}-of-{num_shards:05}.safetensors"
        save_file(
            {rename(spec.name): draw(spec, seed, dtype) for spec in group},
            out / file,
            metadata={"format": "pt"},
        )
        weight_map |= {rename(spec.name): file for spec in group}
    if num_shards > 1:
        index = {
            "metadata": {"total_size": sum(spec.num_bytes(dtype) for spec in todo)},
            "weight_map": weight_map,
        }
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
