"""Figures that texts are judged by, for measure.py and check_documents.py. Standard library only."""
import collections
import re
from dataclasses import dataclass, field

import check
import world as world_lib
from world import count_words


def share(values):
    values = list(values)
    return round(sum(values) / max(1, len(values)), 4)


def length_score(written, wanted):
    """S_l as the published V code computes it."""
    if written == 0 or written < wanted:
        return 100 * max(0., 1 - (wanted / max(written, 1) - 1) / 3)
    return 100 * max(0., 1 - (written / wanted - 1) / 2)


def repeated_windows(text, size=20):
    """The share of windows of `size` words that occurred before in the same text."""
    words = re.findall(r"[a-zA-Z]+|[\u4e00-\u9fff]", text)
    counts = collections.Counter(tuple(words[i:i + size]) for i in range(len(words) - size + 1))
    total = sum(counts.values())
    return (total - len(counts)) / total if total else 0.


def sentences(text):
    return [s.strip() for s in re.split(r"(?<=[.?])\s+|(?<=[。？])", text) if s.strip()]


def held_back(seed, i):
    return world_lib.make_world(check.HELD_BACK + seed * 1_000_003 + i)


@dataclass
class Document:
    """What plan-then-write made of a wish for `total` words; without sections where no plan could be read."""
    total: int
    world: object  # None where no picture was shown
    plan: str = ""
    sections: list = field(default_factory=list)

    @property
    def text(self):
        return "\n\n".join(self.sections)

    @property
    def num_words(self):
        return count_words(self.text)


def repeated_sentences(text):
    """The share of sentences that occurred before in the same text."""
    own = sentences(text)
    return 1 - len(set(own)) / max(1, len(own))


def judge(documents):
    """Shares over documents. What was never written is neither right nor a repetition."""
    written = [d for d in documents if d.sections]
    return {
        "documents_within_10pct": share(bool(d.sections) and check.length_is_right(d.text, d.total) for d in documents),
        "sections_within_10pct": share(check.length_is_right(section, words) for d in written
                                       for section, (_, _, words) in zip(d.sections, check.read_plan(d.plan))),
        "plans_ok": share(check.plan_is_right(d.plan, d.total) for d in documents),
        "facts_right": share(bool(d.sections) and world_lib.read_facts(d.sections[0]) == world_lib.facts(d.world)
                             for d in documents if d.world),
        "repeated_20_word_windows": share(repeated_windows(d.text) for d in written),
        "sentences_repeated": share(repeated_sentences(d.text) for d in written),
        "S_l": round(sum(length_score(d.num_words, d.total) for d in documents) / max(1, len(documents)), 2)}
