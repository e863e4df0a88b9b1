"""Writes a complete Qwen2.5-VL checkpoint directory with random weights.

python make_checkpoint.py --preset nano --seed 1 --out /tmp/ckpt/nano
"""

import argparse
import dataclasses
import pathlib

import configs
import toy_tokenizer
import weights
from presets import PRESETS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--seed", type=int, default=1, help="of the weights and of the tokenizer")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--layout", choices=configs.LAYOUTS, default="published")
    parser.add_argument("--dtype", choices=weights.DTYPES, default="bfloat16")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--tie", action="store_true", help="the embedding is the head, as in the 3B")
    parser.add_argument("--vocab-size", type=int, help="fewer rows than the preset has, to save memory")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    preset = PRESETS[args.preset]
    if args.vocab_size:
        preset = dataclasses.replace(preset, vocab=args.vocab_size)
    if preset.vocab < preset.bpe_vocab + toy_tokenizer.NUM_ADDED:
        raise SystemExit(
            f"--vocab-size {preset.vocab}: the tokenizer alone needs "
            f"{preset.bpe_vocab + toy_tokenizer.NUM_ADDED}"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    ids = toy_tokenizer.write(args.out, args.seed, preset.bpe_vocab)
    configs.write(preset, args.out, layout=args.layout, dtype_name=args.dtype, tied=args.tie, ids=ids)
    if args.layout == "nested":
        configs.nest(args.out)
    weights.write(
        preset,
        args.out,
        seed=args.seed,
        dtype_name=args.dtype,
        num_shards=args.shards,
        tied=args.tie,
        nested_names=args.layout == "nested",
    )


if __name__ == "__main__":
    main()
