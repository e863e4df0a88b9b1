"""Runs transformers on a checkpoint and records what Longhand has to reproduce.

    python record.py /tmp/ckpt/nano --out /tmp/rec/nano

writes recording.safetensors, recording.json and images/ into the folder --out.
"""

import argparse
import pathlib

import torch

import cases
import record_inputs
import record_model
import reference
from recording import Recording


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=1, help="of the pictures and of what is drawn at random")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--photograph", type=pathlib.Path, help="a JPEG file to use as photograph.jpg")
    parser.add_argument("--no-bfloat16", dest="bfloat16", action="store_false", help="saves time and memory")
    return parser.parse_args()


def record(args: argparse.Namespace) -> Recording:
    out = Recording()
    out.notes["about"] = {
        "seed": args.seed,
        "new_tokens": args.new_tokens,
        "deep_case": cases.DEEP,
        "torch": torch.__version__.split("+")[0],
    }
    images = record_inputs.write_pictures(args.out / "images", args.seed, args.photograph)
    prompts = reference.Prompts(args.checkpoint, images)
    model = reference.load_model(args.checkpoint)
    vit = model.model.visual
    record_inputs.record_pictures(out, prompts, images, vit)
    record_inputs.record_smart_resize(out, args.seed)
    record_inputs.record_geometry(out, vit.config)
    record_inputs.record_prompts(out, prompts, model)
    record_model.record_answers(out, prompts, model, args.new_tokens)
    record_model.record_batch(out, prompts, model, args.new_tokens)
    record_model.record_states(out, prompts, model)
    record_model.record_sampling(out, len(prompts.processor.tokenizer), args.seed)
    record_model.record_rope(out, prompts, model, "default", args.new_tokens)
    del model, vit  # Two models of true size do not fit.
    stretched = reference.load_model(args.checkpoint, config=reference.yarn_config(args.checkpoint))
    record_model.record_rope(out, prompts, stretched, "yarn", args.new_tokens)
    del stretched
    if args.bfloat16:
        record_model.record_bfloat16(out, prompts, args.checkpoint, args.new_tokens)
    return out


def main() -> None:
    args = parse_args()
    torch.manual_seed(0)
    record(args).write(args.out)


if __name__ == "__main__":
    main()
