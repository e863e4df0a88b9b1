"""Makes a small AWQ checkpoint, as AutoAWQ writes them, and beside it the same weights in bf16.

    python tools/oracle/make_awq.py --seed 5 --out tests/data/nano-awq

The decoder's linear layers are rounded to 4 bits in groups of 128 inputs, each with a scale and a zero, and packed in
AutoAWQ's "gemm" order. dequantized.safetensors holds what they stand for: bf16((code - zero) * bf16(scale)). Numpy alone:
the packing here is written from the format, and shares nothing with the loader that is tested with it.
"""

import argparse
import json
import pathlib
import struct

import numpy as np

HIDDEN, HEADS, KV_HEADS, FFN, LAYERS, GROUP = 128, 4, 2, 256, 2, 128
HEAD_DIM = HIDDEN // HEADS
VOCAB = 2176  # As tests/data/nano, whose tokenizer goes with it.
VIT_HIDDEN, VIT_FFN, VIT_DEPTH = 32, 36, 2
# Nibble i of a word holds output 8 * word + ORDER[i].
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def to_bf16(x):
    """Bits of the nearest bf16, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def quantize(weight):
    """[out, in] to codes [out, in], and scales (f16) and zeros of [out, in / GROUP]."""
    out, columns = weight.shape
    groups = weight.reshape(out, columns // GROUP, GROUP)
    low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
    scales = np.maximum((high - low) / 15, 1e-5).astype(np.float16)
    wide = scales.astype(np.float32)
    zeros = np.clip(np.rint(-low / wide), 0, 15)
    codes = np.clip(np.rint(groups / wide[..., None]) + zeros[..., None], 0, 15)
    return codes.reshape(out, columns).astype(np.uint32), scales, zeros.astype(np.uint32)


def dequantize(codes, scales, zeros):
    out, columns = codes.shape
    scale = from_bf16(to_bf16(scales.astype(np.float32)))
    difference = codes.reshape(out, -1, GROUP).astype(np.float32) - zeros[..., None].astype(np.float32)
    return to_bf16((difference * scale[..., None]).reshape(out, columns))


def pack(values):
    """[rows, outputs] of 4 bits to [rows, outputs / 8] words."""
    rows, outputs = values.shape
    eights = values.reshape(rows, outputs // 8, 8)
    words = np.zeros((rows, outputs // 8), np.uint32)
    for nibble, output in enumerate(ORDER):
        words |= eights[:, :, output] << np.uint32(4 * nibble)
    return words.view(np.int32)


def linears():
    """Name, outputs and inputs of a layer's matrices, and whether they have a bias."""
    kv = KV_HEADS * HEAD_DIM
    yield "self_attn.q_proj", HIDDEN, HIDDEN, True
    yield "self_attn.k_proj", kv, HIDDEN, True
    yield "self_attn.v_proj", kv, HIDDEN, True
    yield "self_attn.o_proj", HIDDEN, HIDDEN, False
    yield "mlp.gate_proj", FFN, HIDDEN, False
    yield "mlp.up_proj", FFN, HIDDEN, False
    yield "mlp.down_proj", HIDDEN, FFN, False


def others():
    """Name, shape, mean and standard deviation of what stays as it is."""

    def linear(name, out, columns, bias=True):
        yield name + ".weight", (out, columns), 0, columns**-0.5
        if bias:
            yield name + ".bias", (out,), 0, 0.1

    yield "model.embed_tokens.weight", (VOCAB, HIDDEN), 0, 3 * HIDDEN**-0.5  # also the head
    for layer in range(LAYERS):
        for name, out, _, bias in linears():
            if bias:
                yield f"model.layers.{layer}.{name}.bias", (out,), 0, 0.3
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{norm}.weight", (HIDDEN,), 1, 0.2
    yield "model.norm.weight", (HIDDEN,), 1, 0.2
    yield "visual.patch_embed.proj.weight", (VIT_HIDDEN, 3, 2, 14, 14), 0, 1176**-0.5
    for block in range(VIT_DEPTH):
        prefix = f"visual.blocks.{block}."
        for norm in ("norm1", "norm2"):
            yield prefix + norm + ".weight", (VIT_HIDDEN,), 1, 0.2
        yield from linear(prefix + "attn.qkv", 3 * VIT_HIDDEN, VIT_HIDDEN)
        yield from linear(prefix + "attn.proj", VIT_HIDDEN, VIT_HIDDEN)
        yield from linear(prefix + "mlp.gate_proj", VIT_FFN, VIT_HIDDEN)
        yield from linear(prefix + "mlp.up_proj", VIT_FFN, VIT_HIDDEN)
        yield from linear(prefix + "mlp.down_proj", VIT_HIDDEN, VIT_FFN)
    merged = 4 * VIT_HIDDEN
    yield "visual.merger.ln_q.weight", (VIT_HIDDEN,), 1, 0.2
    yield from linear("visual.merger.mlp.0", merged, merged)
    yield from linear("visual.merger.mlp.2", HIDDEN, merged)


def save(path, tensors):
    """A safetensors file of (dtype name, array)."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def config(nano):
    out = dict(json.loads((nano / "config.json").read_text()))
    out |= {
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "num_hidden_layers": LAYERS,
        "max_window_layers": LAYERS,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
        "quantization_config": {
            "bits": 4,
            "group_size": GROUP,
            "modules_to_not_convert": ["visual"],
            "quant_method": "awq",
            "version": "gemm",
            "zero_point": True,
        },
    }
    out["vision_config"] |= {
        "depth": VIT_DEPTH,
        "hidden_size": VIT_HIDDEN,
        "intermediate_size": VIT_FFN,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": [1],
    }
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--nano", type=pathlib.Path, default=pathlib.Path("tests/data/nano"))
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)

    def draw(shape, mean, std):
        return (random.standard_normal(shape) * std + mean).astype(np.float32)

    plain = {name: ("BF16", to_bf16(draw(shape, mean, std))) for name, shape, mean, std in others()}
    packed, dense = {}, {}
    for layer in range(LAYERS):
        for name, out, columns, _ in linears():
            prefix = f"model.layers.{layer}.{name}"
            # An offset, so that zeros are not all in the middle.
            weight = draw((out, columns), 0, 1.5 * columns**-0.5) + draw((out, 1), 0, 0.3 * columns**-0.5)
            codes, scales, zeros = quantize(weight)
            packed[prefix + ".qweight"] = ("I32", pack(np.ascontiguousarray(codes.T)))
            packed[prefix + ".qzeros"] = ("I32", pack(np.ascontiguousarray(zeros.T)))
            packed[prefix + ".scales"] = ("F16", np.ascontiguousarray(scales.T))
            dense[prefix + ".weight"] = ("BF16", dequantize(codes, scales, zeros))
    args.out.mkdir(parents=True, exist_ok=True)
    save(args.out / "model-00001-of-00002.safetensors", plain)
    save(args.out / "model-00002-of-00002.safetensors", packed)
    save(args.out / "dequantized.safetensors", dense)
    files = {name: "model-00001-of-00002.safetensors" for name in plain}
    files |= {name: "model-00002-of-00002.safetensors" for name in packed}
    index = {"metadata": {}, "weight_map": files}
    (args.out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    (args.out / "config.json").write_text(json.dumps(config(args.nano), indent=2) + "\n")


if __name__ == "__main__":
    main()
