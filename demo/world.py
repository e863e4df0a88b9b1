"""Small worlds: what a picture shows, the sentences that say so, and a reader that checks such sentences.

A world is a place, a time of day, a weather and one to three groups of objects; each group stands on the left, in the
middle or on the right. Everything follows from a seed. Only Python's standard library is used, so that check.py runs
anywhere.
"""
import random
import re
from dataclasses import dataclass

PLACES = ("left", "middle", "right")
GROUNDS = ("beach", "street", "meadow", "lake", "snowfield")
TIMES = ("morning", "afternoon", "evening", "night")
WEATHERS = ("clear", "cloudy", "rainy", "snowy")
COLOURS = ("red", "yellow", "green", "blue", "purple", "white", "black")
KINDS = ("house", "boat", "car", "balloon", "tent", "umbrella", "flower", "tree")
SIZES = ("small", "large")
NUMBERS = ("", "one", "two", "three")

ON_GROUND = {"beach": "on the beach", "street": "in the street", "meadow": "in the meadow", "lake": "by the lake",
             "snowfield": "in the snowfield"}
AT_PLACE = {"left": "On the left", "middle": "In the middle", "right": "On the right"}

ZH = {
    "beach": "海滩", "street": "街道", "meadow": "草地", "lake": "湖边", "snowfield": "雪地",
    "morning": "早晨", "afternoon": "下午", "evening": "傍晚", "night": "夜晚",
    "clear": "晴朗", "cloudy": "多云", "rainy": "下雨", "snowy": "下雪",
    "red": "红色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色", "white": "白色", "black": "黑色",
    "house": "房子", "boat": "帆船", "car": "汽车", "balloon": "气球", "tent": "帐篷", "umbrella": "雨伞",
    "flower": "花朵", "tree": "松树", "small": "小", "large": "大", "left": "左边", "middle": "中间", "right": "右边",
}
ZH_NUMBERS = ("", "一", "两", "三")
MEASURES = {"house": "座", "boat": "艘", "car": "辆", "balloon": "个", "tent": "顶", "umbrella": "把", "flower": "朵",
            "tree": "棵"}


@dataclass(frozen=True)
class Group:
    """Objects of one kind and colour at one place. `size` is empty where there are several."""
    kind: str
    colour: str
    count: int
    size: str
    place: str


@dataclass(frozen=True)
class World:
    seed: int
    ground: str
    time: str
    weather: str
    groups: tuple

    @property
    def main(self):
        """The group that long texts are about."""
        return self.groups[0]


def make_world(seed):
    """The world of a seed. Two groups never share a kind or a place."""
    rng = random.Random(f"world {seed}")
    num_groups = rng.choice((1, 2, 2, 3, 3))
    kinds = rng.sample(KINDS, num_groups)
    places = sorted(rng.sample(range(3), num_groups))
    groups = []
    for kind, place in zip(kinds, places):
        count = rng.choice((1, 1, 2, 3))
        size = rng.choice(SIZES) if count == 1 else ""
        groups.append(Group(kind, rng.choice(COLOURS), count, size, PLACES[place]))
    return World(seed, rng.choice(GROUNDS), rng.choice(TIMES), rng.choice(WEATHERS), tuple(groups))


def plural(kind):
    return kind + "s"


def noun(group, lang):
    """How a long text calls the group after its first mention."""
    if lang == "zh":
        return ZH[group.kind]
    return group.kind if group.count == 1 else plural(group.kind)


def phrase(group, lang):
    """'a large red house', 'three yellow balloons'; 一座红色的大房子."""
    if lang == "zh":
        size = ZH[group.size] if group.size else ""
        return ZH_NUMBERS[group.count] + MEASURES[group.kind] + ZH[group.colour] + "的" + size + ZH[group.kind]
    if group.count == 1:
        return f"a {group.size} {group.colour} {group.kind}"
    return f"{NUMBERS[group.count]} {group.colour} {plural(group.kind)}"


def definite(group, lang):
    """'the large red house on the left', as a plan names it."""
    if lang == "zh":
        return ZH[group.place] + "的" + phrase(group, lang)
    words = phrase(group, lang)
    words = words[2:] if group.count == 1 else words
    return f"the {words} {AT_PLACE[group.place].lower()}"


def group_sentence(group, lang):
    if lang == "zh":
        return f"{ZH[group.place]}有{phrase(group, lang)}。"
    return f"{AT_PLACE[group.place]} there {'is' if group.count == 1 else 'are'} {phrase(group, lang)}."


def setting(world, lang):
    """'a rainy evening on the beach'; 下雨的傍晚."""
    if lang == "zh":
        return f"{ZH[world.weather]}的{ZH[world.time]}"
    return f"a {world.weather} {world.time} {ON_GROUND[world.ground]}"


def setting_sentence(world, lang):
    if lang == "zh":
        return f"这是一个{setting(world, lang)}，地点是{ZH[world.ground]}。"
    return f"It is {setting(world, lang)}."


def describe(world, lang):
    """The exact short description: setting, then the groups from left to right."""
    gap = "" if lang == "zh" else " "
    return gap.join([setting_sentence(world, lang)] + [group_sentence(g, lang) for g in world.groups])


def facts(world):
    """Everything that a description states, as a set of tuples."""
    found = {("time", world.time), ("weather", world.weather), ("ground", world.ground)}
    for group in world.groups:
        found.add((group.place, group.count, group.size, group.colour, group.kind))
    return found


def _one_of(words):
    return "(" + "|".join(re.escape(w) for w in words) + ")"


_EN_SETTING = re.compile(f"It is a {_one_of(WEATHERS)} {_one_of(TIMES)} {_one_of(ON_GROUND.values())}")
_EN_GROUP = re.compile(f"{_one_of(AT_PLACE.values())} there (?:is|are) (a|one|two|three) (?:{_one_of(SIZES)} )?"
                       f"{_one_of(COLOURS)} {_one_of(KINDS)}(s?)")
_ZH_SETTING = re.compile(f"{_one_of([ZH[w] for w in WEATHERS])}的{_one_of([ZH[t] for t in TIMES])}，地点是"
                         f"{_one_of([ZH[g] for g in GROUNDS])}")
_ZH_GROUP = re.compile(f"{_one_of([ZH[p] for p in PLACES])}有([一两三]).{_one_of([ZH[c] for c in COLOURS])}的"
                       f"([大小]?){_one_of([ZH[k] for k in KINDS])}")


def read_facts(text):
    """The facts that a text states about its picture, in either language; the inverse of describe()."""
    back = {zh: en for en, zh in ZH.items()}
    at_place = {words: place for place, words in AT_PLACE.items()}
    on_ground = {words: ground for ground, words in ON_GROUND.items()}
    found = set()
    for weather, time, ground in _EN_SETTING.findall(text):
        found |= {("time", time), ("weather", weather), ("ground", on_ground[ground])}
    for place, number, size, colour, kind, _ in _EN_GROUP.findall(text):
        count = 1 if number == "a" else NUMBERS.index(number)
        found.add((at_place[place], count, size, colour, kind))
    for weather, time, ground in _ZH_SETTING.findall(text):
        found |= {("time", back[time]), ("weather", back[weather]), ("ground", back[ground])}
    for place, number, colour, size, kind in _ZH_GROUP.findall(text):
        found.add((back[place], ZH_NUMBERS.index(number), back[size] if size else "", back[colour], back[kind]))
    return found


_WORD = re.compile(r"\b[a-zA-Z]+\b")
_CJK = re.compile("[\u4e00-\u9fff]")


def count_words(text):
    """Words as the benchmarks count them: Latin words plus CJK characters."""
    return len(_WORD.findall(text)) + len(_CJK.findall(text))
