"""Trains the byte-level BPE of the bundled model and writes it in the files of the published Qwen2.5-VL repositories.

    python3 demo/tokenizer.py --out DIR

The text is the grammar itself (every theme, beat and style, the prompts and plans), so nothing foreign goes in.
"""
import argparse
import itertools
import json
import os
import random
import re

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import prose
import tasks
import world as world_lib

NUM_BPE = 4800
# Ids follow the BPE entries in this order, as in the published models (there 151643 onwards); 14 are "special".
ADDED_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")
NUM_SPECIAL = 14
# How Qwen2 splits text before BPE: every digit stands alone, a word takes the space before it.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
# Renders what Qwen2.5-VL's template renders for text, pictures and videos.
CHAT_TEMPLATE = """\
{%- set seen = namespace(images=0, videos=0) -%}
{%- for message in messages -%}
  {%- if loop.first and message['role'] != 'system' -%}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
  {%- endif -%}
  {{- '<|im_start|>' + message['role'] + '\\n' -}}
  {%- if message['content'] is string -%}
    {{- message['content'] -}}
  {%- else -%}
    {%- for part in message['content'] -%}
      {%- if part['type'] == 'image' or 'image' in part or 'image_url' in part -%}
        {%- set seen.images = seen.images + 1 -%}
        {%- if add_vision_id -%}{{- 'Picture ' ~ seen.images ~ ': ' -}}{%- endif -%}
        {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
      {%- elif part['type'] == 'video' or 'video' in part -%}
        {%- set seen.videos = seen.videos + 1 -%}
        {%- if add_vision_id -%}{{- 'Video ' ~ seen.videos ~ ': ' -}}{%- endif -%}
        {{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
      {%- elif 'text' in part -%}
        {{- part['text'] -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


_CHINESE_WORDS = re.compile("(" + "|".join(sorted({*world_lib.ZH.values(), *(row["noun"] for row in
                                                                         prose.THEMES["zh"].values() if row["noun"])},
                                                  key=len, reverse=True)) + "|[的有是在还和一两三几个座艘辆顶把朵棵字])")


def _apart(text, lang):
    """Chinese with the words that carry facts on lines of their own."""
    return text if lang == "en" else _CHINESE_WORDS.sub("\n\\1\n", text)


def corpus():
    """Training lines. Chinese templates are cut at their slots, so that no entry reaches across one."""
    rng = random.Random("tokenizer")
    for lang in ("en", "zh"):
        themes = [prose.place_theme(key, lang) for key in prose.THEMES[lang] if key != "other"]
        for theme in themes + [prose.other_theme(noun) for noun in tasks.OTHER_NOUNS[lang][:40]]:
            values = prose.slots(theme, lang)
            for lines in prose.BEATS[lang] + [prose.PICTURE[lang][-1][1]]:
                for line in lines:
                    if lang == "en":
                        yield prose.fill(line.replace("{fact}", ""), values, rng)
                    else:
                        yield from re.split(r"\{\w+\}|[\[\]/]", line)
            yield from (value for value in values.values() for _ in range(300 if lang == "zh" else 1))
        for i in range(1500):
            world = world_lib.make_world(i)
            for example in (tasks.question(world, lang, rng), tasks.describe(world, lang, rng),
                            tasks.plan(500 * rng.randint(1, 8), lang, rng, world if i % 2 else None)):
                yield _apart(example.prompt, lang)
                yield _apart(example.answer, lang)
            yield tasks.instruction(50 * rng.randint(1, 30), lang, rng, None, tasks.random_theme(lang, rng))
        for _, lines in prose.PICTURE[lang]:
            yield from (re.sub(r"\{\w+\}", "\n", line) for line in lines * 60)
    yield from [tasks.WRITE.replace("$", "\n"), "You are a helpful assistant.\nsystem\nuser\nassistant\n"] * 200


def characters(texts):
    """Every Chinese character of the texts, so often that it becomes an entry before any piece of two characters."""
    for character in sorted({c for text in texts for c in text if "\u4e00" <= c <= "\u9fff"}):
        yield from [character] * 3000


def train():
    """(vocabulary, merges as 'left right')."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    texts = list(corpus())
    lines = (part for text in itertools.chain(texts, characters(texts)) for part in text.split("\n") if part)
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=NUM_BPE, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
        max_token_length=24))
    model = json.loads(tokenizer.to_str())["model"]
    assert len(model["vocab"]) == NUM_BPE, len(model["vocab"])
    return model["vocab"], [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]


def added_ids():
    return {token: NUM_BPE + i for i, token in enumerate(ADDED_TOKENS)}


def write(out):
    vocab, merges = train()
    ids = added_ids()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    files = {
        "tokenizer.json": {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": ids[t], "content": t, **flags, "special": i < NUM_SPECIAL}
                             for i, t in enumerate(ADDED_TOKENS)],
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}, level]},
            "post_processor": level, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                      "merges": merges}},
        "tokenizer_config.json": {
            "add_bos_token": False, "add_prefix_space": False,
            "added_tokens_decoder": {str(ids[t]): {"content": t, **flags, "special": i < NUM_SPECIAL}
                                     for i, t in enumerate(ADDED_TOKENS)},
            "additional_special_tokens": list(ADDED_TOKENS[1:NUM_SPECIAL]), "bos_token": None,
            "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>",
            "errors": "replace", "model_max_length": 32768, "pad_token": "<|endoftext|>",
            "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None},
        "chat_template.json": {"chat_template": CHAT_TEMPLATE},
        "vocab.json": vocab}
    os.makedirs(out, exist_ok=True)
    for name, content in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=1)
    with open(os.path.join(out, "merges.txt"), "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n" + "".join(merge + "\n" for merge in merges))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
