"""What the bundled model is asked: prompts in the shapes of AgentWrite and the benchmarks, each with an exact answer.

An Example is one user message (text first, then its pictures) and the answer. Everything follows from the rng given.
"""
import os
from dataclasses import dataclass, field

import prose
import world as world_lib
from world import ZH

_TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "common", "agent_write", "templates")
SECTION_WORDS = 500

DESCRIBE = {"en": ("Describe this picture.", "Describe the picture.", "What does the picture show?",
                   "Please describe this image.", "What can you see in this image?", "Look at the picture and describe it."),
            "zh": ("描述这张图片。", "请描述这张图片。", "这张图片里有什么？", "图中有什么？", "看图说话。")}
ABOUT_THEME = {
    "en": ("Write a {n}-word story about {np}.", "Write a {n} word story about {np}.", "Please write a {n}-word text about {np}.",
           "Write about {np} in {n} words.", "Write an essay of about {n} words about {np}.",
           "I need a text of {n} words about {np}.", "Tell me a story about {np} in about {n} words."),
    "zh": ("写一篇{n}字的文章，主题是{np}。", "写一篇关于{np}的{n}字故事。", "请写一篇约{n}字的文章，关于{np}。",
           "以{np}为题，写一篇{n}字的文章。", "请用{n}字写一个关于{np}的故事。")}
ABOUT_NOTHING = {"en": ("Write a {n}-word story.", "Write a story of {n} words.", "Write a text of about {n} words."),
                 "zh": ("写一篇{n}字的文章。", "请写一个{n}字的故事。", "写一篇约{n}字的短文。")}
ABOUT_PICTURE = {
    "en": ("Write a {n}-word story about this picture.", "Describe this picture in about {n} words.",
           "Look at the picture and write a {n}-word text about it.", "Write a text of {n} words about the picture.",
           "Please write a {n} word story about this image.", "Write about {n} words about the picture."),
    "zh": ("看图写一篇{n}字的文章。", "请根据图片写一篇{n}字的故事。", "用{n}字左右描述这张图片。",
           "根据这张图片写一篇约{n}字的文章。", "写一篇关于这张图片的{n}字短文。")}
OTHER_NOUNS = {
    "en": """dragon castle island robot planet violin elephant kitchen wizard pirate desert volcano mirror cat dog horse
        train rocket computer winter summer storm rainbow mountain ocean village city king queen knight ghost clock
        letter diary painting doctor nurse soldier thief detective forest-fire lantern moon sun comet spaceship wolf bear
        fox owl eagle whale dolphin turtle spider butterfly ant bee snake tiger lion monkey river-boat kite bicycle
        hospital airport circus zoo factory mine palace temple cave waterfall glacier jungle swamp pyramid canal
        postman tailor cook writer poet singer dancer painter engineer astronaut explorer sailor chess football tea
        coffee chocolate cheese soup bread pumpkin tomato cherry lemon watch camera telephone radio piano guitar drum
        scarf coat shoe hat ring crown sword shield map compass key door window chair table bed lamp candle""".split(),
    "zh": """巨龙 城堡 海岛 机器人 行星 小提琴 大象 厨房 巫师 海盗 沙漠 火山 镜子 猫 狗 马 火车 火箭 电脑 冬天 夏天 风暴 彩虹
        高山 大海 村庄 城市 国王 女王 骑士 幽灵 时钟 书信 日记 油画 医生 护士 士兵 小偷 侦探 灯笼 月亮 太阳 彗星 飞船 狼 熊
        狐狸 猫头鹰 老鹰 鲸鱼 海豚 乌龟 蜘蛛 蝴蝶 蚂蚁 蜜蜂 老虎 狮子 猴子 自行车 医院 机场 马戏团 动物园 工厂 宫殿 神庙 山洞
        瀑布 冰川 丛林 沼泽 运河 邮差 裁缝 厨师 作家 诗人 歌手 画家 工程师 宇航员 探险家 象棋 足球 茶 咖啡 巧克力 奶酪 南瓜
        番茄 樱桃 柠檬 手表 相机 电话 收音机 钢琴 吉他 围巾 外套 鞋子 帽子 皇冠 宝剑 盾牌 地图 钥匙 大门 窗户 椅子 桌子 蜡烛""".split()}


@dataclass
class Example:
    task: str
    lang: str
    prompt: str
    pieces: list  # Joined they are the answer; a text's beats, a plan's lines.
    worlds: list = field(default_factory=list)  # Their pictures follow the prompt, in order.
    num_words: int = 0  # What was asked for; 0 where the prompt names no length.

    @property
    def answer(self):
        return "".join(self.pieces)


def number(n, rng):
    return f"{n:,}" if n >= 1000 and rng.random() < .3 else str(n)


def describe(world, lang, rng):
    return Example("describe", lang, rng.choice(DESCRIBE[lang]), [world_lib.describe(world, lang)], [world])


def question(world, lang, rng):
    """One question about one fact."""
    group = rng.choice(world.groups)
    many = group.count > 1
    kind = rng.choice(("count", "colour", "place", "place", "where", "setting"))
    if kind == "place":
        place = rng.choice(world_lib.PLACES)
        at = next((g for g in world.groups if g.place == place), None)
        if lang == "zh":
            return _ask(world, lang, f"{ZH[place]}有什么？", world_lib.group_sentence(at, lang) if at else f"{ZH[place]}什么也没有。")
        words = world_lib.AT_PLACE[place]
        return _ask(world, lang, f"What is {words.lower()}?", world_lib.group_sentence(at, lang) if at else f"{words} there is nothing.")
    if kind == "setting":
        prompts = {"en": "What time, weather and place does the picture show?", "zh": "图中是什么时间、天气和地点？"}
        return _ask(world, lang, prompts[lang], world_lib.setting_sentence(world, lang))
    if lang == "zh":
        name, measure = ZH[group.kind], world_lib.MEASURES[group.kind]
        return _ask(world, lang, *{
            "count": (f"有几{measure}{name}？", f"有{world_lib.ZH_NUMBERS[group.count]}{measure}{name}。"),
            "colour": (f"{name}是什么颜色？", f"{name}是{ZH[group.colour]}的。"),
            "where": (f"{name}在哪里？", f"{name}在{ZH[group.place]}。")}[kind])
    name = world_lib.noun(group, lang)
    return _ask(world, lang, *{
        "count": (f"How many {world_lib.plural(group.kind)} are there?",
                  f"There {'are' if many else 'is'} {world_lib.NUMBERS[group.count]} {name}."),
        "colour": (f"What colour {'are' if many else 'is'} the {name}?", f"The {name} {'are' if many else 'is'} {group.colour}."),
        "where": (f"Where {'are' if many else 'is'} the {name}?",
                  f"The {name} {'are' if many else 'is'} {world_lib.AT_PLACE[group.place].lower()}.")}[kind])


def _ask(world, lang, prompt, answer):
    return Example("question", lang, prompt, [answer], [world])


def random_theme(lang, rng, others=True):
    if others and rng.random() < .15:
        return prose.other_theme(rng.choice(OTHER_NOUNS[lang]))
    return prose.place_theme(rng.choice(prose.WALK), lang)


def instruction(num_words, lang, rng, world=None, theme=None):
    """The user's wish alone: one-shot requests are asked so, and AgentWrite starts from it."""
    if world is not None:
        return rng.choice(ABOUT_PICTURE[lang]).format(n=number(num_words, rng))
    np = theme.noun if lang == "zh" else "the " + theme.noun
    return rng.choice(ABOUT_THEME[lang]).format(n=number(num_words, rng), np=np)


def one_shot(num_words, lang, rng, world=None, theme=None):
    """A whole text of about so many words at once."""
    if world is None and theme is None:
        theme = random_theme(lang, rng)
    if world is not None:
        theme = prose.group_theme(world.main, lang)
    prompt = instruction(num_words, lang, rng, world, theme)
    text = prose.text(theme, num_words, lang, rng, world)
    return Example("one_shot", lang, prompt, text, [world] if world else [], num_words)


def one_shot_free(num_words, lang, rng):
    """The same without a subject: the model chooses where the walk begins."""
    theme = random_theme(lang, rng, others=False)
    prompt = rng.choice(ABOUT_NOTHING[lang]).format(n=number(num_words, rng))
    return Example("one_shot", lang, prompt, prose.text(theme, num_words, lang, rng), [], num_words)


@dataclass
class Section:
    step: str  # "Section k - Main Point: ... - Word Count: n"
    num_words: int
    theme: prose.Theme
    world: object = None  # Set where the section opens on the whole picture.
    group: object = None  # Set where it opens on one group of it.

    def pieces(self, lang, rng):
        return prose.text(self.theme, self.num_words, lang, rng, self.world, self.group)

    def write(self, lang, rng):
        return "".join(self.pieces(lang, rng))


def section_sizes(total):
    """Word counts of the sections of a document: 500 each, and the last takes the rest."""
    count = max(1, round(total / SECTION_WORDS))
    return [SECTION_WORDS] * (count - 1) + [total - SECTION_WORDS * (count - 1)]


def plan_sections(total, lang, world=None, theme=None, sizes=None):
    """The sections of a document: the picture, its groups, and then a walk through the town. `sizes` are their word
    counts, where they are not the usual ones."""
    subjects = []
    if world is not None:
        place = prose.place_theme(world.ground, lang)
        point = "整个画面，" + world_lib.setting(world, lang) + "的" + ZH[world.ground] if lang == "zh" else \
            "the whole picture, " + world_lib.setting(world, lang)
        subjects.append((point, place, world, None))
        subjects += [(world_lib.definite(g, lang), prose.group_theme(g, lang), None, g) for g in world.groups]
        key = prose.next_place(world.ground)
    else:
        subjects.append((None, theme, None, None))
        key = prose.next_place(theme.key) if theme.key in prose.WALK else prose.WALK[0]
    sections, sizes = [], sizes or section_sizes(total)
    for k, size in enumerate(sizes, 1):
        if not subjects:
            subjects.append((None, prose.place_theme(key, lang), None, None))
            key = prose.next_place(key)
        point, theme, shown, group = subjects.pop(0)
        if point is None:
            slots = prose.slots(theme, lang)
            point = f"{slots['np']}，还有{slots['a']}和{slots['b']}" if lang == "zh" else \
                f"{slots['np']}, with {slots['a']} and {slots['b']}"
        stop = f"第{k}站，共{len(sizes)}站，" if lang == "zh" else f"stop {k} of {len(sizes)}, "
        step = f"Section {k} - Main Point: {stop}{point} - Word Count: {size}"
        sections.append(Section(step, size, theme, shown, group))
    return sections


def template(name):
    with open(os.path.join(_TEMPLATES, name + ".txt"), encoding="utf-8") as file:
        return file.read().rstrip("\n")


PLAN, WRITE = template("plan"), template("write")


def plan(total, lang, rng, world=None, theme=None):
    """AgentWrite's first call."""
    if world is None and theme is None:
        theme = random_theme(lang, rng)
    wish = instruction(total, lang, rng, world, theme)
    steps = [section.step for section in plan_sections(total, lang, world, theme)]
    lines = [("\n" if k else "") + step for k, step in enumerate(steps)]
    return Example("plan", lang, PLAN.replace("$INST$", wish), lines, [world] if world else [], total)


def write_prompt(wish, steps, written, step):
    filled = WRITE.replace("$INST$", wish).replace("$PLAN$", "\n".join(steps))
    return filled.replace("$TEXT$", "\n\n".join(written)).replace("$STEP$", step)


def odd_sizes(total, rng, most=20):
    """Word counts as another's plan might have them: of at most `most` beats."""
    count = len(section_sizes(total))
    return [50 * rng.randint(4, most) for _ in range(count)]


def write(total, k, lang, rng, world=None, theme=None, sizes=None, max_sections_so_far=None):
    """AgentWrite's second call, for section k (from 0), with all sections before it or only the latest of them."""
    if world is None and theme is None:
        theme = random_theme(lang, rng)
    wish = instruction(total, lang, rng, world, theme)
    sections = plan_sections(total, lang, world, theme, sizes)
    first = 0 if max_sections_so_far is None else max(0, k - max_sections_so_far)
    written = [section.write(lang, rng) for section in sections[first:k]]
    prompt = write_prompt(wish, [s.step for s in sections], written, sections[k].step)
    section = sections[k]
    return Example("write", lang, prompt, section.pieces(lang, rng), [world] if world else [], section.num_words)
