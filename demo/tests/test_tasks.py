"""Texts, plans and prompts from the grammar: their lengths, sums and the absence of repetition."""
import random
import re

import prose
import tasks
import world as world_lib
from world import count_words


def test_every_sentence_of_the_beats_names_something_of_its_theme():
    for lang in ("en", "zh"):
        assert len(prose.BEATS[lang]) == prose.NUM_BEATS and all(len(lines) == 3 for lines in prose.BEATS[lang])
        for line in (line for lines in prose.BEATS[lang] for line in lines):
            for sentence in re.split(r"(?<=[.?]) |(?<=[。？])", line):
                assert not sentence or "{" in sentence, line


def test_no_two_themes_share_a_detail():
    for lang in ("en", "zh"):
        rows = [row for row in prose.THEMES[lang].values()]
        for field in ("a", "b", "c", "s", "sm", "who", "act", "o"):
            assert len({row[field] for row in rows}) == len(rows), (lang, field)


def test_texts_are_within_a_tenth_of_the_length_asked_for():
    rng, wrong, number = random.Random(11), 0, 600
    for i in range(number):
        lang, words = ("en", "zh")[i % 2], 50 * rng.randint(1, 30)
        world = world_lib.make_world(i) if i % 4 < 2 else None
        written = count_words(tasks.one_shot(words, lang, rng, world).answer)
        wrong += abs(written - words) > .1 * words
    assert wrong <= .02 * number


def test_a_text_about_a_picture_states_its_facts():
    rng = random.Random(12)
    for i in range(100):
        world = world_lib.make_world(i)
        answer = tasks.one_shot(50 * rng.randint(1, 16), ("en", "zh")[i % 2], rng, world).answer
        assert world_lib.read_facts(answer) == world_lib.facts(world)


def test_texts_and_plans_keep_their_count_in_the_open():
    rng = random.Random(15)
    for lang in ("en", "zh"):
        parts = re.findall(r"^\((\d+)/(\d+)\) ", tasks.one_shot(850, lang, rng).answer, re.MULTILINE)
        assert parts == [(str(k), "17") for k in range(1, 18)]
        stops = re.findall(r"(?:stop |第)(\d+)(?: of |站，共)(\d+)", tasks.plan(4500, lang, rng).answer)
        assert stops == [(str(k), "9") for k in range(1, 10)]


def test_plans_add_up_exactly_and_sections_stay_within_agentwrites_range():
    for total in range(500, 10001, 100):
        sizes = tasks.section_sizes(total)
        assert sum(sizes) == total and all(200 <= size <= 1000 for size in sizes), total
    rng = random.Random(14)
    assert all(200 <= size <= 1000 for _ in range(100) for size in tasks.odd_sizes(5000, rng))


def test_a_document_of_ten_thousand_words_repeats_no_sentence():
    rng = random.Random(13)
    for i in range(6):
        lang = ("en", "zh")[i % 2]
        world = world_lib.make_world(i) if i % 3 else None
        theme = None if world else tasks.random_theme(lang, rng, others=False)
        sections = tasks.plan_sections(10000, lang, world, theme)
        texts = [section.write(lang, rng) for section in sections]
        sentences = [s for text in texts for s in re.split(r"(?<=[.?])\s+|(?<=[。？])\s*", text) if s]
        assert len(set(sentences)) == len(sentences)
        assert abs(sum(map(count_words, texts)) - 10000) <= 1000


def test_sections_about_the_groups_of_a_picture_never_go_on_alike():
    for i in range(60):
        lang, world = ("en", "zh")[i % 2], world_lib.make_world(i)
        seen = set()
        for section in (s for s in tasks.plan_sections(2500, lang, world) if s.group):
            for paragraph in section.pieces(lang, random.Random(i))[1:]:
                for value in sorted(prose.slots(section.theme, lang).values(), key=len, reverse=True):
                    paragraph = re.sub(value, "*", paragraph, flags=re.IGNORECASE)
                assert paragraph not in seen
                seen.add(paragraph)


def test_write_prompts_hold_instruction_plan_text_and_step_in_this_order():
    prompt = tasks.write_prompt("WISH", ["STEP 1", "STEP 2"], ["first section"], "STEP 2 alone")
    places = [prompt.index(part) for part in ("WISH", "STEP 1", "first section", "STEP 2 alone")]
    assert places == sorted(places) and "$" not in prompt


def test_examples_follow_from_the_rng():
    for make in (lambda rng: tasks.plan(3000, "en", rng), lambda rng: tasks.write(2000, 2, "zh", rng),
                 lambda rng: tasks.one_shot(300, "en", rng)):
        assert make(random.Random(5)) == make(random.Random(5))
