"""Worlds, their sentences and their pictures."""
import zlib

import picture
import world as world_lib

SEEDS = range(400)


def test_a_world_follows_from_its_seed():
    assert [world_lib.make_world(s) for s in SEEDS] == [world_lib.make_world(s) for s in SEEDS]
    assert len({str(world_lib.make_world(s).groups) for s in SEEDS}) > 350


def test_no_two_groups_share_a_kind_or_a_place():
    for world in map(world_lib.make_world, SEEDS):
        assert len({g.kind for g in world.groups}) == len({g.place for g in world.groups}) == len(world.groups)


def test_reading_a_description_gives_back_exactly_the_facts():
    for world in map(world_lib.make_world, SEEDS):
        for lang in ("en", "zh"):
            assert world_lib.read_facts(world_lib.describe(world, lang)) == world_lib.facts(world)


def test_a_wrong_colour_count_place_or_an_extra_group_is_noticed():
    world = world_lib.World(1, "beach", "evening", "rainy", (world_lib.Group("house", "red", 1, "large", "left"),))
    text = world_lib.describe(world, "en")
    for old, new in (("red", "blue"), ("a large red house", "two red houses"), ("left", "right"), ("large", "small"),
                     ("beach", "street"), ("evening", "night"), ("rainy", "clear")):
        assert old in text
        if old != "beach":
            assert world_lib.read_facts(text.replace(old, new)) != world_lib.facts(world), old
    assert world_lib.read_facts(text.replace("on the beach", "in the street")) != world_lib.facts(world)
    more = text + " On the right there are two blue cars."
    assert world_lib.read_facts(more) != world_lib.facts(world)


def test_words_are_counted_as_the_benchmarks_count_them():
    golden = {"don't stop": 3, "co-operate": 2, "U.S.": 2, "使用GPU训练": 4, "GPU 训练": 3, "GPT4 wins": 1, "café": 0,
              "a_b": 0, "x1 1x x": 1, "it’s 3.5": 2, "㐀㐁一": 1, "日本語のテスト": 3, "": 0}
    assert {text: world_lib.count_words(text) for text in golden} == golden


def test_a_picture_is_a_valid_png_of_its_size_and_follows_from_the_seed():
    world = world_lib.make_world(3)
    width, height, pixels = picture.draw(world)
    assert len(pixels) == 3 * width * height and picture.draw(world) == (width, height, pixels)
    data = picture.png(width, height, pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    body = data[data.index(b"IDAT") + 4:data.index(b"IEND") - 8]
    rows = zlib.decompress(body)
    assert rows[1:1 + 3 * width] == pixels[:3 * width] and len(rows) == height * (3 * width + 1)


def test_each_object_colours_its_own_third_of_the_picture():
    for place in world_lib.PLACES:
        world = world_lib.World(5, "snowfield", "afternoon", "cloudy",
                                (world_lib.Group("tent", "red", 1, "large", place),))
        width, height, pixels = picture.draw(world)
        third = ("left", "middle", "right").index(place)
        reds = [0, 0, 0]
        for at in range(0, len(pixels), 3):
            red, green, blue = pixels[at:at + 3]
            if red > 150 and green < 90 and blue < 90:
                reds[min(2, 3 * (at // 3 % width) // width)] += 1
        assert reds.index(max(reds)) == third and max(reds) > 500, (place, reds)
