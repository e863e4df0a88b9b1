"""Makes two PEFT LoRA adapters with random weights for a checkpoint, and records what transformers and PEFT answer.

python make_adapters.py ../../tests/data/nano ../../tests/data/recording --out ../../tests/data/adapters

`text` is as LLaMA-Factory 0.9.5 saves one by default: every projection of the language model, full module paths, new names,
float32. `eyes` is rank 5 with rsLoRA over some projections, the image encoder and the merger, with transformers 4.49's
names, bfloat16. recording.json has, for each adapter and case, 64 greedy tokens and the smallest margin between the two best
logits; the first seed from --seed on is taken whose margins are all above --margin.
"""

import argparse
import json
import math
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from PIL import Image
from safetensors.torch import load_file, save_file

import cases
import reference

CASES = ["text_short", "text_chinese", "one_image", "two_images"]
NUM_NEW = 64
TEXT = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]  # fmt: skip
VISION = ["attn.qkv", "attn.proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("recording", type=pathlib.Path, help="whose images are shown")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--margin", type=float, default=1.5e-3)
    return parser.parse_args()


def text_layers(config, tails: list[str]) -> list[str]:
    layers = config.text_config.num_hidden_layers
    return [f"model.language_model.layers.{i}.{tail}" for i in range(layers) for tail in tails]


def vision_layers(config) -> list[str]:
    blocks = [f"model.visual.blocks.{i}.{tail}" for i in range(config.vision_config.depth) for tail in VISION]
    return [*blocks, "model.visual.merger.mlp.0", "model.visual.merger.mlp.2"]


def configurations(config) -> dict[str, LoraConfig]:
    def lora(**options) -> LoraConfig:
        return LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, inference_mode=True, **options)

    some = text_layers(config, ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"])
    return {
        "text": lora(r=8, lora_alpha=16, target_modules=text_layers(config, TEXT)),
        "eyes": lora(r=5, lora_alpha=4, use_rslora=True, target_modules=some + vision_layers(config)),
    }


def draw_weights(model, seed: int, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        if "lora_" not in name:
            continue
        std = 1 / math.sqrt(parameter.shape[1]) if "lora_A" in name else 0.2
        drawn = torch.randn(parameter.shape, generator=random) * std
        parameter.data.copy_(drawn.to(dtype).to(parameter.dtype))


def old_name(name: str) -> str:
    return name.replace("model.model.language_model.", "model.model.").replace("model.model.visual.", "model.visual.")


def save(model, folder: pathlib.Path, dtype: torch.dtype, old_names: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "base"
    config["target_modules"] = sorted(config["target_modules"])
    if old_names:
        tensors = {old_name(name): tensor for name, tensor in tensors.items()}
        config["target_modules"] = [
            name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
            for name in config["target_modules"]
        ]
    save_file(tensors, file, metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def record(model, prompts: reference.Prompts) -> dict[str, dict]:
    answers = {}
    for name in CASES:
        answer = reference.greedy(model, prompts.inputs([name]), NUM_NEW)
        answers[name] = {"greedy_ids": answer.ids[0].tolist(), "min_margin": float(answer.margins.min())}
    return answers


def main() -> None:
    args = parse_args()
    names = {file for name in CASES for file in cases.image_names(cases.CASES[name])}
    images = {file: Image.open(args.recording / "images" / file).convert("RGB") for file in names}
    prompts = reference.Prompts(args.checkpoint, images)
    recorded = {}
    for name, lora in configurations(reference.load_model(args.checkpoint).config).items():
        dtype = torch.bfloat16 if name == "eyes" else torch.float32
        model = get_peft_model(reference.load_model(args.checkpoint), lora).eval()
        assert any(isinstance(module, LoraLayer) for module in model.modules())
        for seed in range(args.seed, args.seed + 200):
            draw_weights(model, seed, dtype)
            answers = record(model, prompts)
            least = min(answer["min_margin"] for answer in answers.values())
            print(f"{name}: seed {seed}, smallest margin {least:.5f}", flush=True)
            if least > args.margin:
                break
        else:
            raise SystemExit(f"{name}: no seed has margins above {args.margin}")
        save(model, args.out / name, dtype, old_names=name == "eyes")
        recorded[name] = {"seed": seed, "cases": answers}
    (args.out / "recording.json").write_text(json.dumps(recorded) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
