"""The bundled model's shape, and every file of its checkpoint but weights and tokenizer."""
import json
import os

import tokenizer

VOCAB_SIZE = 4864  # 4,800 entries, 22 added tokens, rows to a multiple of 64.
MIN_PIXELS, MAX_PIXELS = 168 * 168, 196 * 196  # 144 to 196 patches: 320 x 240 becomes 224 x 168.
IMAGE_MEAN = [0.48145466, 0.4578275, 0.40821073]
IMAGE_STD = [0.26862954, 0.26130258, 0.27577711]


def config():
    ids = tokenizer.added_ids()
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "attention_dropout": 0.0,
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"], "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"], "hidden_act": "silu", "hidden_size": 256, "initializer_range": 0.02,
        "intermediate_size": 640, "max_position_embeddings": 32768, "max_window_layers": 6,
        "model_type": "qwen2_5_vl", "num_attention_heads": 8, "num_hidden_layers": 6, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True,
        "torch_dtype": "bfloat16", "transformers_version": "4.41.2", "use_cache": True, "use_sliding_window": False,
        "vision_config": {
            "depth": 4, "hidden_act": "silu", "hidden_size": 128, "intermediate_size": 448, "num_heads": 4,
            "in_chans": 3, "out_hidden_size": 256, "patch_size": 14, "spatial_merge_size": 2,
            "spatial_patch_size": 14, "window_size": 112, "fullatt_block_indexes": [1, 3], "tokens_per_second": 2,
            "temporal_patch_size": 2},
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]}, "vocab_size": VOCAB_SIZE}


def write(out):
    """Everything of the checkpoint but the weights and the tokenizer."""
    ids = tokenizer.added_ids()
    files = {
        "config.json": config(),
        "generation_config.json": {
            "bos_token_id": ids["<|endoftext|>"], "pad_token_id": ids["<|endoftext|>"], "do_sample": True,
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]], "repetition_penalty": 1.0, "temperature": 0.6,
            "top_p": 0.95, "transformers_version": "4.41.2"},
        "preprocessor_config.json": {
            "min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS, "patch_size": 14, "temporal_patch_size": 2,
            "merge_size": 2, "image_mean": IMAGE_MEAN, "image_std": IMAGE_STD,
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor"}}
    for name, content in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
