"""The bundled pictures show worlds that no training has seen."""
import os
import zlib

import check
import picture
import pytest
import world as world_lib

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pictures")
SEEDS = {"beach": check.HELD_BACK + 55, "lake": check.HELD_BACK + 53, "meadow": check.HELD_BACK + 4}


def pixels(png):
    """The RGB bytes of a file as picture.png() writes it: one IDAT, no filters."""
    width, height = (int.from_bytes(png[at:at + 4], "big") for at in (16, 20))
    start = png.index(b"IDAT")
    length = int.from_bytes(png[start - 4:start], "big")
    raw = zlib.decompress(png[start + 4:start + 4 + length])
    row = 3 * width + 1
    return width, height, b"".join(raw[y * row + 1:(y + 1) * row] for y in range(height))


def test_nothing_else_is_there():
    assert sorted(os.listdir(FOLDER)) == sorted(name + ".png" for name in SEEDS)


@pytest.mark.parametrize("name", SEEDS)
def test_a_picture_is_that_of_its_seed(name):
    with open(os.path.join(FOLDER, name + ".png"), "rb") as file:
        assert pixels(file.read()) == picture.draw(world_lib.make_world(SEEDS[name]))
