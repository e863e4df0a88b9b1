"""Qwen2.5-VL as Hugging Face transformers runs it on the CPU, with what the recorder asks of it."""

import json
import pathlib
import re
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoProcessor,
    GenerationConfig,
    Qwen2_5_VLForConditionalGeneration,
)

import cases
from toy_tokenizer import CONTROL_TOKENS, PLAIN_ADDED_TOKENS

_ADDED = CONTROL_TOKENS + PLAIN_ADDED_TOKENS
_ANY_ADDED = re.compile("(" + "|".join(map(re.escape, _ADDED)) + ")")
_SPELLED = "\ue000"  # A private-use character put into a control token that a user spelled.


class Answer(NamedTuple):
    ids: torch.Tensor  # [S, new]
    logits: torch.Tensor  # [S, new, vocab]
    logprobs: torch.Tensor  # [S, new], of the ids
    margins: torch.Tensor  # [S, new], best logit less the second best, after penalties


class Prompts:
    """Renders, tokenises and pads the cases with the checkpoint's own processor."""

    def __init__(self, checkpoint: pathlib.Path, images: dict[str, Image.Image]):
        self.processor = AutoProcessor.from_pretrained(checkpoint)
        self.processor.tokenizer.padding_side = "left"
        self._images = images
        file = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
        self._text_only = Tokenizer.from_str(json.dumps(file | {"added_tokens": []}))

    def render(self, messages: list[dict]) -> str:
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def inputs(self, names: list[str]) -> dict:
        """Model inputs of a batch of cases, padded on the left."""
        messages = [cases.CASES[name] for name in names]
        if names == ["text_control"]:  # The processor would take what the user spelled for control tokens.
            ids = torch.tensor([self.literal_ids(messages[0])])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        pictures = [self._images[file] for m in messages for file in cases.image_names(m)]
        return dict(
            self.processor(
                text=[self.render(m) for m in messages],
                images=pictures or None,
                padding=True,
                return_tensors="pt",
            )
        )

    def literal_ids(self, messages: list[dict]) -> list[int]:
        """Control tokens count where the template wrote them; those that a user spelled are text.

        Ordinary text gets the ids that it gets from the processor; without pictures only.
        """
        spelled = json.dumps(messages, ensure_ascii=False)
        spelled = _ANY_ADDED.sub(lambda match: match[0][0] + _SPELLED + match[0][1:], spelled)
        ids: list[int] = []
        for piece in _ANY_ADDED.split(self.render(json.loads(spelled))):
            if piece in _ADDED:
                ids.append(self.processor.tokenizer.convert_tokens_to_ids(piece))
            else:
                ids += self._text_only.encode(piece.replace(_SPELLED, "")).ids
        return ids


def load_model(
    checkpoint: pathlib.Path, dtype: torch.dtype = torch.float32, config: AutoConfig | None = None
):
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype, config=config).eval()
    # The checkpoint's own asks for a repetition penalty and stops at EOS.
    model.generation_config = GenerationConfig(do_sample=False)
    return model


def yarn_config(checkpoint: pathlib.Path) -> AutoConfig:
    """The checkpoint's configuration with the YaRN that Qwen recommends beyond 32k tokens."""
    config = AutoConfig.from_pretrained(checkpoint)
    rope = config.text_config.rope_parameters
    config.text_config.rope_parameters = {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 32768,
        "mrope_section": rope["mrope_section"],
        "rope_theta": rope["rope_theta"],
    }
    return config


def rope_index(model, inputs: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions [3, S, N] (time, height, width), and per sequence: next position less number of tokens."""
    if "image_grid_thw" not in inputs:
        real = inputs["attention_mask"]
        return (real.cumsum(-1) - 1).clamp(min=0).expand(3, -1, -1), torch.zeros(len(real), 1)
    return model.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs["image_grid_thw"],
        attention_mask=inputs["attention_mask"],
    )


def greedy(model, inputs: dict, num_new: int, **options) -> Answer:
    """The likeliest token each time, EOS like any other."""
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=num_new,
        pad_token_id=0,
        output_logits=True,
        output_scores=True,
        return_dict_in_generate=True,
        **options,
    )
    out = model.generate(**inputs, generation_config=config)
    ids = out.sequences[:, inputs["input_ids"].shape[1] :]
    logits = torch.stack(out.logits, dim=1).float()
    best = torch.stack(out.scores, dim=1).topk(2).values
    logprobs = F.log_softmax(logits, -1).gather(-1, ids[..., None])[..., 0]
    return Answer(ids, logits, logprobs, best[..., 0] - best[..., 1])


def logits_of_continuation(model, inputs: dict, new_ids: torch.Tensor) -> torch.Tensor:
    """Logits [len(new_ids), vocab] before each of `new_ids`, whatever the model itself would have said.

    The continuation runs through the cache, as in generate(): a placeholder in it is an ordinary token.
    """
    with torch.no_grad():
        prompt = model(**inputs, use_cache=True)
        next_position = int(rope_index(model, inputs)[1]) + inputs["input_ids"].shape[1]
        positions = torch.arange(next_position, next_position + len(new_ids) - 1)
        rest = model(
            input_ids=new_ids[None, :-1],
            past_key_values=prompt.past_key_values,
            position_ids=positions.expand(3, 1, -1),
        )
    return torch.cat([prompt.logits[0, -1:], rest.logits[0]])


def states(model, inputs: dict) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What passes between the layers, by name, and the logits [N, vocab]."""
    text, vit = model.model.language_model, model.model.visual
    found: dict[str, torch.Tensor] = {}

    def keep(name):
        def hook(_module, _args, output):
            value = output[0] if isinstance(output, tuple) else output
            found[name] = value.detach().squeeze(0)

        return hook

    def keep_input(_module, args, kwargs):
        found["lm/embeds"] = (args[0] if args else kwargs["hidden_states"]).detach().squeeze(0)

    handles = [
        text.layers[0].register_forward_pre_hook(keep_input, with_kwargs=True),
        text.norm.register_forward_hook(keep("lm/final_norm")),
        vit.patch_embed.register_forward_hook(keep("vit/patch_embed")),
    ]
    handles += [m.register_forward_hook(keep(f"lm/layer{i}")) for i, m in enumerate(text.layers)]
    handles += [m.register_forward_hook(keep(f"vit/block{i}")) for i, m in enumerate(vit.blocks)]
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    for handle in handles:
        handle.remove()
    return found, logits
