"""What is learnt when: seeing first, then short texts and plans, then long texts and sections of long documents,
and at last whole plans, texts and documents, which shows where each of them ends, and sections about one object beside
those about another.

Seeing is learnt in minutes while sequences are short and the loss sits on facts; long texts cost four times as much a
step. So each stage is mostly of one length, and keeps some of what came before, which would otherwise be forgotten.
"""
from dataclasses import dataclass

import tasks
import world as world_lib

LONGEST = 80  # Beats of the longest text of which a part is shown.
CROP = 3  # Beats of such a part.
EARLY = 5  # Sections that every document has, and the ones about a picture.
MAX_GAP = 16000  # Positions: 10,000 words are about as many tokens.
TRAIN_SEEDS = 1 << 31  # Worlds below are for training; held-back ones start at 1 << 32.


@dataclass(frozen=True)
class Stage:
    mix: dict  # task -> weight
    max_words: int  # Of a text at once.
    max_sections_so_far: int  # Of a write prompt.
    max_total: int  # Words of a document.
    pool: int  # Examples that are sorted by length at a time.
    gaps: float = 0.  # Share of write prompts whose positions jump, as if much more had been written.
    parts: float = 0.  # Share of plans and write prompts that show a part of the answer.
    all_so_far: float = .04  # Share of write prompts that show all sections so far, up to max_sections_so_far.
    shown: float = .5  # Share of longer tasks that show a picture.
    early: float = .5  # Share of write prompts for one of the first sections.
    short: float = 0.  # Share of documents whose sections are all short.


STAGES = {
    "name": Stage({"describe": 1}, 0, 0, 0, 480),
    "see": Stage({"question": 14, "describe": 80, "text": 6}, 100, 0, 2000, 240),
    "write": Stage({"question": 8, "describe": 10, "picture": 10, "text": 12, "free": 3, "opening": 20, "crop": 24,
                    "plan": 14, "write": 14}, 400, 0, 10000, 160, gaps=.3, parts=.7),
    "long": Stage({"question": 4, "describe": 6, "picture": 11, "text": 11, "free": 2, "opening": 12, "crop": 8,
                   "plan": 18, "write": 28}, 1500, 12, 10000, 120, gaps=.4, parts=.4),
    "whole": Stage({"question": 5, "describe": 9, "picture": 10, "text": 10, "free": 2, "opening": 6, "crop": 6, "plan": 20,
                    "write": 32}, 1500, 20, 10000, 400, gaps=.15, all_so_far=.15),
    "objects": Stage({"question": 6, "describe": 10, "picture": 6, "text": 4, "plan": 22, "write": 52}, 1500, 3, 10000, 80,
                     all_so_far=.7, shown=.9, early=.9, short=.7)}


def num_words(rng, most):
    """A length to ask for: mostly a step of 50, short ones more often, since they end sooner."""
    steps = most // 50
    n = 50 * min(rng.randint(1, steps), rng.randint(1, steps)) if rng.random() < .5 else 50 * rng.randint(1, steps)
    return n if rng.random() < .9 else max(50, n + rng.randint(-24, 24))


def total_words(rng, most):
    """The length of a document: a step of 500, sometimes of 100. 10,000 has one digit more than all others, and is
    taken for 1,000 unless both are met often."""
    if rng.random() < .1:
        return rng.choice((1000, most))
    n = 500 * rng.randint(1, most // 500)
    return n if rng.random() < .85 else max(500, n + 100 * rng.randint(-2, 2))


def sections_so_far(stage, rng):
    """How many sections a write prompt shows: mostly one or two, now and then all that the stage has."""
    if rng.random() < stage.all_so_far:
        return stage.max_sections_so_far
    return min(stage.max_sections_so_far, 1 + int(rng.expovariate(1.)))


def part(count, rng):
    """Which of `count` pieces to show: often the last ones, often the first."""
    kind = rng.random()
    first = count - CROP if kind < .4 else 0 if kind < .6 else rng.randint(0, count)
    return max(0, min(first, count - 2)), max(0, min(first, count - 2)) + CROP


def sample(stage, rng, encoder):
    """One encoded example."""
    lang = rng.choice(("en", "zh"))
    task = rng.choices(list(stage.mix), stage.mix.values())[0]
    world = world_lib.make_world(rng.randrange(TRAIN_SEEDS))
    if task == "question":
        return encoder.encode(tasks.question(world, lang, rng), fact_weight=2.)
    if task == "describe":
        return encoder.encode(tasks.describe(world, lang, rng), fact_weight=2.)
    if task == "picture":
        return encoder.encode(tasks.one_shot(num_words(rng, stage.max_words), lang, rng, world))
    if task == "text":
        return encoder.encode(tasks.one_shot(num_words(rng, stage.max_words), lang, rng))
    if task == "free":
        return encoder.encode(tasks.one_shot_free(num_words(rng, min(stage.max_words, 500)), lang, rng))
    shown = world if rng.random() < stage.shown else None
    if task == "opening":
        if rng.random() < .4:
            return encoder.encode(tasks.plan(total_words(rng, stage.max_total), lang, rng, shown), (0, 1))
        return encoder.encode(tasks.one_shot(50 * rng.randint(1, LONGEST), lang, rng, shown), (0, 1))
    if task == "crop":
        count = rng.randint(2, 30) if rng.random() < .8 else rng.randint(31, LONGEST)
        return encoder.encode(tasks.one_shot(50 * count, lang, rng, shown), part(count, rng))
    total = total_words(rng, stage.max_total)
    if task == "plan":
        example = tasks.plan(total, lang, rng, shown)
        return encoder.encode(example, part(len(example.pieces), rng) if rng.random() < stage.parts else None)
    count = len(tasks.section_sizes(total))
    k = rng.randrange(min(count, EARLY) if rng.random() < stage.early else count)
    sizes = None
    if rng.random() < max(.3, stage.short):
        sizes = tasks.odd_sizes(total, rng, 5 if rng.random() < stage.short else 20)
    example = tasks.write(total, k, lang, rng, shown, sizes=sizes, max_sections_so_far=sections_so_far(stage, rng))
    crop = part(len(example.pieces), rng) if rng.random() < stage.parts else None
    return encoder.encode(example, crop, rng.randrange(MAX_GAP) if rng.random() < stage.gaps else 0)
