"""Prose from a grammar: texts of a chosen length about a theme, in English and Chinese, with or without a picture.

A text is a chain of beats, thirty of them, always in the same order (arrival, first look, light, sound ... farewell). A
beat is about fifty words long and exists in three styles; its slots are filled with what belongs to the theme. Each is a
paragraph that opens with its number and the number of all, "(3/12)": a small model keeps its count in the open.
Files in grammar/ hold the sentences; every sentence has a slot, so that it differs from theme to theme.
"""
import os
import re
from dataclasses import dataclass

import world as world_lib

BEAT_WORDS = 50
NUM_BEATS = 30
NUM_STYLES = 3
_GRAMMAR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "grammar")
_FIELDS = ("key", "noun", "where", "a", "b", "c", "s", "sm", "who", "act", "o")


def _blocks(name):
    """[(heading, [lines])] of a grammar file."""
    blocks = []
    with open(os.path.join(_GRAMMAR, name), encoding="utf-8") as file:
        for line in map(str.strip, file):
            if line.startswith("#"):
                blocks.append((line[1:].strip(), []))
            elif line:
                blocks[-1][1].append(line)
    return blocks


def _load_themes(lang):
    rows = [dict(zip(_FIELDS, (cell.strip() for cell in line.split("|")))) for line in
            _blocks(f"themes_{lang}.txt")[0][1]]
    return {row["key"]: row for row in rows}


THEMES = {lang: _load_themes(lang) for lang in ("en", "zh")}
BEATS = {lang: [lines for _, lines in _blocks(f"beats_{lang}.txt")] for lang in ("en", "zh")}
PICTURE = {lang: _blocks(f"picture_{lang}.txt") for lang in ("en", "zh")}
_KEYS = list(THEMES["en"])
WALK = _KEYS[:_KEYS.index("house")]  # Places in the order of a walk round the town; after the last comes the first.


@dataclass(frozen=True)
class Theme:
    """What a text or a section is about. `noun` is the word of the reader where the key is 'other'."""
    key: str
    noun: str

    @property
    def style(self):
        """The style in which this theme is usually told."""
        return _KEYS.index(self.key) % NUM_STYLES


def place_theme(key, lang):
    return Theme(key, THEMES[lang][key]["noun"])


def group_theme(group, lang):
    return Theme(group.kind, world_lib.noun(group, lang))


def other_theme(noun):
    """A theme that the grammar does not know: its word is copied, the rest stays general."""
    return Theme("other", noun)


def next_place(key):
    return WALK[(WALK.index(key) + 1) % len(WALK)]


def slots(theme, lang):
    row = THEMES[lang][theme.key]
    values = {name: row[name] for name in ("a", "b", "c", "s", "sm", "who", "act", "o")}
    if lang == "zh":
        values["np"] = theme.noun
        values["at"] = theme.noun + row["where"]
    else:
        values["np"] = "the " + theme.noun
        values["at"] = f"{row['where']} the {theme.noun}"
    return values


def fill(template, values, rng):
    """Chooses among [one/another], fills the slots and starts every sentence with a capital."""
    text = re.sub(r"\[([^\]]*)\]", lambda m: rng.choice(m[1].split("/")), template)
    text = re.sub(r"\{(\w+)\}", lambda m: values[m[1]], text)
    return re.sub(r"(^|[.?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def _style(theme, rng):
    return theme.style if rng.random() < .6 else rng.randrange(NUM_STYLES)


def beat(number, theme, lang, rng, style=None):
    """Beat `number` (from 0) of a text about the theme, in a style given or drawn."""
    return fill(BEATS[lang][number][_style(theme, rng) if style is None else style], slots(theme, lang), rng)


def _picture_lines(lang, heading):
    return [lines for name, lines in PICTURE[lang] if name == heading]


def picture_beat(world, lang, rng):
    """The first beat of a text about a picture: every fact, and fillers up to the length of a beat."""
    num_fillers = {"en": 4, "zh": 3}[lang] - len(world.groups)
    fillers = [rng.choice(lines) for lines in _picture_lines(lang, "filler")]
    if num_fillers == 3:
        first, second = _picture_lines(lang, "filler")
        fillers = rng.sample(first, 2) + [rng.choice(second)]
    gap = "" if lang == "zh" else " "
    return gap.join([world_lib.describe(world, lang)] + fillers[:num_fillers])


def mood_beat(world, lang):
    """The second beat of such a text: the weather and the time of day."""
    gap = "" if lang == "zh" else " "
    return gap.join(_picture_lines(lang, heading)[0][0] for heading in
                    (f"weather {world.weather}", f"time {world.time}"))


def object_beat(group, lang, rng, style):
    """The first beat of a section about one group of a picture."""
    theme = group_theme(group, lang)
    named = world_lib.definite(group, lang)
    fact = f"再看{named}。" if lang == "zh" else f"Now look at {named}."
    return fill(_picture_lines(lang, "object")[0][style], {**slots(theme, lang), "fact": fact}, rng)


def num_beats(num_words):
    return max(1, round(num_words / BEAT_WORDS))


def pieces(beats):
    """The beats as numbered paragraphs, each with what stands before it. Joined they are the text."""
    return [("\n\n" if i > 1 else "") + f"({i}/{len(beats)}) {beat}" for i, beat in enumerate(beats, 1)]


def text(theme, num_words, lang, rng, world=None, group=None):
    """The pieces of a text of about `num_words` words. With `world`, it opens on the picture; with `group`, on that group.

    A section about a group keeps the style of the group's place in the picture: a document has at most three of them, and
    none could go on like another that stands in the text so far.

    Beyond thirty beats the walk goes on to the next place and begins its beats anew.
    """
    total = num_beats(num_words)
    beats, style = [], None
    if group is not None:
        style = world_lib.PLACES.index(group.place)
        beats = [object_beat(group, lang, rng, style)]
    elif world is not None:
        beats = [picture_beat(world, lang, rng), mood_beat(world, lang)]
    lap = 0
    while len(beats) < total:
        number = len(beats) - lap * NUM_BEATS
        if number == NUM_BEATS:
            lap, number = lap + 1, 0
            key = next_place(theme.key) if theme.key in WALK else (world.ground if world else WALK[0])
            theme, style = place_theme(key, lang), None
        beats.append(beat(number, theme, lang, rng, style))
    return pieces(beats[:total])
