"""A small tokenizer in the form of the published one: the same rules and control tokens, fewer merges."""

import json
import pathlib
from pydoc_data.topics import topics

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import seeding

# Consecutive ids after the last merge (151643 onwards in the published models).
CONTROL_TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
# Added too, but not "special": decoding keeps them.
PLAIN_ADDED_TOKENS = [
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>",
]  # fmt: skip
NUM_ADDED = len(CONTROL_TOKENS) + len(PLAIN_ADDED_TOKENS)

WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Says what Qwen2.5-VL's template says: a default system message, pictures and videos as one placeholder
# each, parts joined without separators.
CHAT_TEMPLATE = """\
{%- set count = namespace(pictures=0, videos=0) -%}
{%- for message in messages -%}
  {%- if loop.first and message.role != 'system' -%}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
  {%- endif -%}
  {{- '<|im_start|>' ~ message.role ~ '\\n' -}}
  {%- if message.content is string -%}
    {{- message.content -}}
  {%- else -%}
    {%- for part in message.content -%}
      {%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}
        {%- set count.pictures = count.pictures + 1 -%}
        {%- if add_vision_id -%}{{- 'Picture ' ~ count.pictures ~ ': ' -}}{%- endif -%}
        {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
      {%- elif part.type == 'video' or 'video' in part -%}
        {%- set count.videos = count.videos + 1 -%}
        {%- if add_vision_id -%}{{- 'Video ' ~ count.videos ~ ': ' -}}{%- endif -%}
        {{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
      {%- elif 'text' in part -%}
        {{- part.text -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

CHINESE_PROSE = """
写长文之前先列提纲，把每一节的要点和字数定下来，再逐节完成。图片里有一座石桥，桥下的河水很清，两岸种着柳树。
第一节介绍背景，第二节描写细节，第三节讨论原因，最后一节给出结论。写作时要前后一致，不要重复已经说过的话。
请根据图片写一篇不少于三千字的文章，分成五节，每节都有标题。数据表明，今年的产量比去年增长了百分之十二。
傍晚的时候，孩子们在河边放风筝，老人坐在树下聊天，远处的山渐渐变成了蓝色。
"""


def _train(seed: int, vocab_size: int) -> dict:
    """{"vocab": ..., "merges": ...} learnt from a part, chosen by the seed, of Python's own manual."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    pages = [topics[name] for name in sorted(topics)]
    chosen = seeding.generator(seed, "tokenizer").permutation(len(pages))[: len(pages) * 3 // 4]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator([pages[i] for i in chosen] + [CHINESE_PROSE] * 40, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    if len(model["vocab"]) != vocab_size:
        raise SystemExit(f"the manual gave {len(model['vocab'])} tokens, {vocab_size} are needed")
    return {"vocab": model["vocab"], "merges": [list(pair) for pair in model["merges"]]}


def _added_tokens(first_id: int) -> dict[int, dict]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        first_id + n: {"content": text, **flags, "special": n < len(CONTROL_TOKENS)}
        for n, text in enumerate(CONTROL_TOKENS + PLAIN_ADDED_TOKENS)
    }


def _tokenizer_json(bpe: dict, added: dict[int, dict]) -> dict:
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    words = {
        "type": "Split",
        "pattern": {"Regex": WORD_PATTERN},
        "behavior": "Isolated",
        "invert": False,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token_id, **token} for token_id, token in added.items()],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": bpe["vocab"],
            # One string each, as published; transformers 5 re-saves them as pairs.
            "merges": [" ".join(pair) for pair in bpe["merges"]],
        },
    }  # fmt: skip


def _tokenizer_config(added: dict[int, dict]) -> dict:
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(token_id): token for token_id, token in added.items()},
        "additional_special_tokens": CONTROL_TOKENS[1:],
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def write(out: pathlib.Path, seed: int, vocab_size: int) -> dict[str, int]:
    """Writes the tokenizer's files in the published layout; returns the ids of the added tokens."""
    bpe = _train(seed, vocab_size)
    added = _added_tokens(first_id=vocab_size)
    files = {
        "tokenizer.json": _tokenizer_json(bpe, added),
        "tokenizer_config.json": _tokenizer_config(added),
        "chat_template.json": {"chat_template": CHAT_TEMPLATE},
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return {token["content"]: token_id for token_id, token in added.items()}
