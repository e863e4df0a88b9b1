"""Measures a checkpoint with transformers on held-back worlds: the figures of the README.

    python3 demo/measure.py --model demo/model --count 48 [--temperature 0.6] [--documents 6]

Unlike check.py it needs no cluster: requests run in left-padded batches through transformers' own generate().
"""
import argparse
import json
import random

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

import batches
import check
import tasks
import world as world_lib
from figures import Document, held_back, judge, length_score, repeated_windows, sentences, share
from world import count_words


class Model:
    def __init__(self, directory, temperature, seed, batch, device):
        torch.manual_seed(seed)
        self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval().to(device)
        self._encoder = batches.Encoder(directory)
        self._temperature, self._batch = temperature, batch
        torch.set_default_device(device)

    def answers(self, examples, max_tokens):
        """The text for every example, in order; short prompts run together."""
        prompts = [self._encoder.prompt(example) for example in examples]
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i][0]), examples[i].num_words))
        out = {}
        for at in range(0, len(order), self._batch):
            rows = order[at:at + self._batch]
            out.update(zip(rows, self._generate([prompts[i] for i in rows], max_tokens)))
            print(f"\r{min(at + self._batch, len(order))}/{len(order)} ", end="", flush=True)
        print("\r", end="")
        return [out[i] for i in range(len(prompts))]

    @torch.inference_mode()
    def _generate(self, prompts, max_tokens):
        longest, pad = max(len(ids) for ids, _, _ in prompts), self._model.config.text_config.bos_token_id
        ids = torch.tensor([[pad] * (longest - len(ids)) + ids for ids, _, _ in prompts])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids, _, _ in prompts])
        pixels = [torch.tensor(rows) for _, many, _ in prompts for rows in many]
        grids = [grid for _, _, many in prompts for grid in many]
        pictures = {"pixel_values": batches.pixel_values(torch.cat(pixels)), "image_grid_thw": torch.tensor(grids)} if pixels else {}
        sampling = {"do_sample": True, "temperature": self._temperature, "top_p": .95, "top_k": 0} \
            if self._temperature > 0 else {"do_sample": False, "temperature": None, "top_p": None}
        made = self._model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, repetition_penalty=1., pad_token_id=pad,
            mm_token_type_ids=(ids == self._model.config.image_token_id).int(), **pictures, **sampling)
        return [self._encoder.decode(row[longest:].tolist()) for row in made]


def measure_single(model, seed, count):
    rng = random.Random(f"measure {seed}")
    langs = [("en", "zh")[i % 2] for i in range(count)]
    worlds = [held_back(seed, i) for i in range(count)]
    figures = {}
    seen = model.answers([tasks.describe(w, lang, rng) for w, lang in zip(worlds, langs)], 160)
    good = [world_lib.read_facts(text) == world_lib.facts(world) for text, world in zip(seen, worlds)]
    figures["descriptions_all_facts_right"] = share(good)
    figures["single_facts_right"] = share(fact in world_lib.read_facts(text) for text, world in zip(seen, worlds)
                                          for fact in world_lib.facts(world))
    for name, steps in (("50_to_800", range(1, 17)), ("850_to_1500", range(17, 31))):
        asked = [tasks.one_shot(50 * rng.choice(steps), lang, rng, world if i % 4 < 2 else None)
                 for i, (world, lang) in enumerate(zip(worlds, langs))]
        texts = model.answers(asked, int(1.4 * 50 * steps[-1]) + 100)
        pairs = [(count_words(text), example.num_words) for text, example in zip(texts, asked)]
        for lang in ("en", "zh"):
            figures[f"length_within_10pct_{name}_{lang}"] = share(
                abs(w - n) <= .1 * n for (w, n), own in zip(pairs, langs) if own == lang)
        figures[f"S_l_{name}"] = round(sum(length_score(w, n) for w, n in pairs) / len(pairs), 2)
        figures[f"picture_facts_right_{name}"] = share(
            world_lib.read_facts(text) == world_lib.facts(example.worlds[0])
            for text, example in zip(texts, asked) if example.worlds)
        figures[f"texts_repeating_a_sentence_{name}"] = share(len(set(s)) < len(s) for s in map(sentences, texts))
    plans = [tasks.plan(500 * rng.randint(1, 20), lang, rng, world if i % 4 >= 2 else None)
             for i, (world, lang) in enumerate(zip(worlds, langs))]
    outlines = model.answers(plans, 1000)
    figures["plans_ok"] = share(check.plan_is_right(text, plan.num_words) for text, plan in zip(outlines, plans))
    figures["plans_exact"] = share(text == plan.answer for text, plan in zip(outlines, plans))
    return figures


def write_document(model, wish, world, total):
    """Plan, then every section with all of the text so far: AgentWrite's loop."""
    worlds = [world] if world else []
    ask = lambda prompt, most: model.answers([tasks.Example("", "", prompt, [], worlds)], most)[0]  # noqa: E731
    outline = ask(tasks.PLAN.replace("$INST$", wish), 1000)
    steps, written = outline.splitlines(), []
    for step in steps:
        written.append(ask(tasks.write_prompt(wish, steps, written, step), 1500))
    return outline, written


def measure_documents(model, seed, count, totals=(2000, 5000, 10000)):
    rng = random.Random(f"documents {seed}")
    documents = []
    for i in range(count):
        lang, total = ("en", "zh")[i % 2], totals[i % len(totals)]
        world = held_back(seed, 10_000 + i) if i % 4 < 2 else None
        theme = None if world else tasks.random_theme(lang, rng, others=False)
        outline, written = write_document(model, tasks.instruction(total, lang, rng, world, theme), world, total)
        documents.append(Document(total, world, outline, written))
        print(f"{lang} {total}: {documents[-1].num_words} words, "
              f"{repeated_windows(documents[-1].text):.4f} of 20-word windows repeated", flush=True)
    return judge(documents)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--documents", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = Model(args.model, args.temperature, args.seed, args.batch, args.device)
    figures = measure_single(model, args.seed, args.count) if args.count else {}
    if args.documents:
        figures |= measure_documents(model, args.seed, args.documents)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
