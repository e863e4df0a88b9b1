"""config.json and its neighbours, in each form in which these models are found."""

import json
import pathlib

from presets import Preset

# published: Qwen's own repositories. tuned: transformers 4.49 after fine-tuning, as LongWriter-V was saved.
# mixed: 4.57, which repeats the text model's keys in `text_config`. nested: transformers 5.
LAYOUTS = ("published", "tuned", "mixed", "nested")

# What Qwen2_5_VLVisionConfig of 4.49 assumes. A `tuned` config leaves these out; some differ from every
# published model (out_hidden_size, tokens_per_second), so a loader has to know them.
_VISION_DEFAULTS = {
    "depth": 32, "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 3420, "num_heads": 16,
    "out_hidden_size": 3584, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
    "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 4,
}  # fmt: skip

_TEXT_KEYS = (
    "attention_dropout", "bos_token_id", "eos_token_id", "hidden_act", "hidden_size", "initializer_range",
    "intermediate_size", "max_position_embeddings", "max_window_layers", "num_attention_heads",
    "num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "rope_scaling", "rope_theta",
    "sliding_window", "use_cache", "use_sliding_window", "vocab_size",
)  # fmt: skip


def _vision(p: Preset, layout: str) -> dict:
    vision = {
        "depth": p.vit_depth, "hidden_act": "silu", "hidden_size": p.vit_hidden,
        "intermediate_size": p.vit_ffn, "num_heads": p.vit_heads, "out_hidden_size": p.hidden,
        "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112,
        "fullatt_block_indexes": list(p.vit_full_blocks), "tokens_per_second": 2,
    }  # fmt: skip
    if layout == "published":
        vision |= {"in_chans": 3, "spatial_patch_size": 14}
    if layout == "tuned":
        vision = {k: v for k, v in vision.items() if _VISION_DEFAULTS[k] != v}
        vision["model_type"] = "qwen2_5_vl"
    return vision


def _flat(p: Preset, layout: str, dtype_name: str, tied: bool, ids: dict[str, int]) -> dict:
    rope = {"type": "mrope", "mrope_section": p.mrope_section}
    if layout != "published":
        rope |= {"rope_type": "default", "type": "default"}
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": p.hidden,
        "image_token_id": ids["<|image_pad|>"],
        "initializer_range": 0.02,
        "intermediate_size": p.ffn,
        "max_position_embeddings": 128000,
        "max_window_layers": p.layers,
        "model_type": "qwen2_5_vl",
        "num_attention_heads": p.heads,
        "num_hidden_layers": p.layers,
        "num_key_value_heads": p.kv_heads,
        "rms_norm_eps": 1e-06,
        "rope_scaling": rope,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": tied,
        "torch_dtype": dtype_name,
        "transformers_version": {"published": "4.41.2", "tuned": "4.49.0"}.get(layout, "4.57.1"),
        "use_cache": layout != "tuned",
        "use_sliding_window": False,
        "video_token_id": ids["<|video_pad|>"],
        "vision_config": _vision(p, layout),
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_token_id": ids["<|vision_pad|>"],
        "vocab_size": p.vocab,
    }


def _write_json(path: pathlib.Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def write(
    p: Preset, out: pathlib.Path, *, layout: str, dtype_name: str, tied: bool, ids: dict[str, int]
) -> None:
    config = _flat(p, layout, dtype_name, tied, ids)
    if layout == "mixed":
        config["text_config"] = {k: config[k] for k in _TEXT_KEYS} | {"model_type": "qwen2_5_vl_text"}
    _write_json(out / "config.json", config)
    _write_json(
        out / "generation_config.json",
        {
            "bos_token_id": ids["<|endoftext|>"],
            "do_sample": True,
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
            "pad_token_id": ids["<|endoftext|>"],
            "repetition_penalty": 1.05,
            "temperature": 1e-06,
            "transformers_version": "4.49.0",
        },
    )
    _write_json(
        out / "preprocessor_config.json",
        {
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "Qwen2VLImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "max_pixels": p.max_pixels,
            "merge_size": 2,
            "min_pixels": p.min_pixels,
            "patch_size": 14,
            "processor_class": "Qwen2_5_VLProcessor",
            "temporal_patch_size": 2,
        },
    )


def nest(out: pathlib.Path) -> None:
    """Turns the published layout in `out` into the one that transformers 5 writes, by letting it write."""
    from transformers import AutoConfig, AutoProcessor

    AutoConfig.from_pretrained(out).save_pretrained(out)
    processor = AutoProcessor.from_pretrained(out)
    for old in ("preprocessor_config.json", "chat_template.json"):
        (out / old).unlink()
    processor.save_pretrained(out)
