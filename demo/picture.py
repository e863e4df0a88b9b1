"""Draws a world: first a list of polygons, then pixels with smooth edges and noise, then a PNG. Standard library only.

The picture is 320 x 240 or 256 x 256, RGB, and follows from the world's seed. fast_picture.py draws the same list with
Pillow; training uses that one.
"""
import math
import random
import struct
import zlib
from dataclasses import dataclass

COLOUR_RGB = {"red": (208, 36, 40), "yellow": (244, 208, 40), "green": (38, 150, 60), "blue": (40, 84, 210),
              "purple": (142, 52, 168), "white": (246, 246, 242), "black": (28, 28, 32)}
SKY = {  # top and bottom of the sky
    "morning": ((176, 200, 232), (250, 226, 196)), "afternoon": ((84, 156, 232), (190, 222, 246)),
    "evening": ((120, 80, 140), (246, 150, 80)), "night": ((14, 18, 48), (40, 48, 96))}
GROUND_RGB = {"beach": (226, 204, 150), "street": (128, 126, 124), "meadow": (112, 168, 74),
              "lake": (64, 116, 152), "snowfield": (226, 232, 240)}
# Where the objects of a group stand about its middle: zones across, pixels down.
SPOTS = {1: ((0, 0),), 2: ((-.25, -11), (.25, 11)), 3: ((-.28, 20), (0, -24), (.28, 20))}
VEIL = {"rainy": (86, 96, 116), "snowy": (204, 208, 216)}  # What rain and snow make of the sky.
LIGHT = {"morning": 1.0, "afternoon": 1.0, "evening": 0.86, "night": 0.62}


def shade(rgb, factor):
    return tuple(max(0, min(255, round(c * factor))) for c in rgb)


def mix(one, other, part):
    return tuple(round(a + (b - a) * part) for a, b in zip(one, other))


def ellipse(cx, cy, rx, ry, first=0.0, last=360.0):
    """Points of an arc; angles in degrees, clockwise from the right as the picture is seen."""
    steps = 28
    angles = [math.radians(first + (last - first) * i / steps) for i in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def box(x0, y0, x1, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _object(kind, rgb, cx, base, size):
    """Polygons of one object that stands at (cx, base) and is `size` pixels tall."""
    dark, s = shade(rgb, 0.62) if rgb[0] + rgb[1] + rgb[2] > 120 else shade((90, 90, 96), 1), size
    if kind == "house":
        return [(rgb, box(cx - .42 * s, base - .6 * s, cx + .42 * s, base)),
                (dark, [(cx - .52 * s, base - .58 * s), (cx, base - s), (cx + .52 * s, base - .58 * s)]),
                ((92, 62, 40), box(cx - .1 * s, base - .32 * s, cx + .1 * s, base)),
                ((250, 240, 170), box(cx + .18 * s, base - .45 * s, cx + .32 * s, base - .3 * s))]
    if kind == "boat":
        return [((110, 74, 44), box(cx - .03 * s, base - s, cx + .03 * s, base - .2 * s)),
                (rgb, [(cx + .05 * s, base - s), (cx + .05 * s, base - .3 * s), (cx + .5 * s, base - .3 * s)]),
                (rgb, [(cx - .05 * s, base - .85 * s), (cx - .05 * s, base - .3 * s), (cx - .38 * s, base - .3 * s)]),
                ((110, 74, 44), [(cx - .55 * s, base - .24 * s), (cx + .55 * s, base - .24 * s), (cx + .36 * s, base),
                                 (cx - .36 * s, base)])]
    if kind == "car":
        return [(rgb, box(cx - .6 * s, base - .42 * s, cx + .6 * s, base - .12 * s)),
                (rgb, [(cx - .38 * s, base - .4 * s), (cx - .24 * s, base - .7 * s), (cx + .24 * s, base - .7 * s),
                       (cx + .4 * s, base - .4 * s)]),
                ((200, 226, 240), [(cx - .26 * s, base - .42 * s), (cx - .18 * s, base - .62 * s),
                                   (cx + .18 * s, base - .62 * s), (cx + .26 * s, base - .42 * s)]),
                ((40, 40, 44), ellipse(cx - .34 * s, base - .13 * s, .14 * s, .14 * s)),
                ((40, 40, 44), ellipse(cx + .34 * s, base - .13 * s, .14 * s, .14 * s))]
    if kind == "balloon":
        return [((90, 80, 70), [(cx - .02 * s, base - .45 * s), (cx + .02 * s, base - .45 * s), (cx + .07 * s, base),
                                (cx + .03 * s, base)]),
                (dark, ellipse(cx, base - .68 * s, .32 * s, .36 * s)),  # A rim, or white is lost before a cloud.
                (rgb, ellipse(cx, base - .68 * s, .28 * s, .32 * s)),
                (dark, [(cx, base - .38 * s), (cx - .06 * s, base - .3 * s), (cx + .06 * s, base - .3 * s)])]
    if kind == "tent":
        return [(rgb, [(cx - .62 * s, base), (cx, base - .85 * s), (cx + .62 * s, base)]),
                (dark, [(cx - .2 * s, base), (cx, base - .55 * s), (cx + .2 * s, base)])]
    if kind == "umbrella":
        return [((96, 66, 40), box(cx - .03 * s, base - .6 * s, cx + .03 * s, base)),
                ((96, 66, 40), box(cx - .12 * s, base - .06 * s, cx + .03 * s, base)),
                (rgb, ellipse(cx, base - .5 * s, .55 * s, .5 * s, 180, 360)),
                (dark, box(cx - .55 * s, base - .53 * s, cx + .55 * s, base - .48 * s))]
    if kind == "flower":
        petals = [(rgb, ellipse(cx + .24 * s * math.cos(a), base - .68 * s + .24 * s * math.sin(a), .17 * s, .17 * s))
                  for a in (0, 1.257, 2.513, 3.77, 5.027)]
        return [((40, 120, 50), box(cx - .035 * s, base - .6 * s, cx + .035 * s, base)),
                ((40, 120, 50), ellipse(cx + .14 * s, base - .2 * s, .14 * s, .06 * s)), *petals,
                ((236, 150, 40), ellipse(cx, base - .68 * s, .13 * s, .13 * s))]
    return [((104, 70, 42), box(cx - .07 * s, base - .25 * s, cx + .07 * s, base)),
            *((rgb, [(cx - w * s, base - y * s), (cx, base - (y + .42) * s), (cx + w * s, base - y * s)])
              for w, y in ((.42, .2), (.34, .4), (.25, .58)))]


def _sky(world, rng, width, horizon):
    shapes = []
    if world.weather in ("clear", "cloudy"):
        x, y = rng.uniform(.15, .85) * width, rng.uniform(.14, .4) * horizon
        if world.time == "night":
            r = rng.uniform(9, 13)
            shapes.append(((236, 234, 210), ellipse(x, y, r, r)))
        else:
            r = rng.uniform(11, 16)
            shapes.append(((255, 236, 120) if world.time != "evening" else (255, 190, 90), ellipse(x, y, r, r)))
    if world.weather == "clear" and world.time == "night":
        for _ in range(26):
            x, y = rng.uniform(0, width), rng.uniform(0, .9 * horizon)
            shapes.append(((230, 230, 240), ellipse(x, y, 1.3, 1.3)))
    if world.weather == "cloudy":
        tone = shade((238, 238, 242), max(LIGHT[world.time], .7))
        for i in range(4):
            x, y = (i + rng.uniform(.1, .9)) * width / 4, rng.uniform(.12, .55) * horizon
            for dx, dy, r in ((-16, 4, 12), (0, 0, 16), (17, 5, 12)):
                shapes.append((tone, ellipse(x + dx, y + dy, r * 1.25, r * .8)))
    return shapes


def _falling(world, rng, width, height):
    shapes = []
    if world.weather == "rainy":
        for _ in range(90):
            x, y, n = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(10, 18)
            shapes.append(((176, 194, 218), [(x, y), (x + 1.7, y), (x - .35 * n + 1.7, y + n), (x - .35 * n, y + n)]))
    if world.weather == "snowy":
        for _ in range(90):
            x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, 3.2)
            shapes.append(((250, 250, 255), ellipse(x, y, r, r)))
    return shapes


def _ground(world, rng, width, height, horizon):
    tone = shade(GROUND_RGB[world.ground], LIGHT[world.time] * rng.uniform(.94, 1.06))
    shapes = [(tone, box(-1, horizon, width + 1, height + 1))]
    for _ in range(14):
        x, y = rng.uniform(0, width), rng.uniform(horizon + 6, height)
        if world.ground == "street":
            shapes.append((shade(tone, .8), box(x, y, x + 22, y + 2)))
        elif world.ground == "lake":
            shapes.append((shade(tone, 1.25), box(x, y, x + 26, y + 1.6)))
        elif world.ground == "meadow":
            shapes.append((shade(tone, .78), [(x, y), (x + 2, y - 9), (x + 4, y)]))
        elif world.ground == "beach":
            shapes.append((shade(tone, .86), ellipse(x, y, 3, 1.5)))
        else:
            shapes.append((shade(tone, .93), ellipse(x, y, 13, 2.5)))
    if world.ground == "beach":
        shapes.insert(1, (shade((70, 140, 180), LIGHT[world.time]), box(-1, horizon, width + 1, horizon + 12)))
    return shapes


@dataclass(frozen=True)
class Composition:
    """Everything of a picture but the noise. The origin is the upper left corner, the unit a pixel."""
    width: int
    height: int
    sky_top: tuple
    sky_bottom: tuple
    horizon: float
    shapes: list  # (rgb, points), from back to front
    boxes: list  # (group, left, upper, right, lower) of every object


def compose(world):
    rng = random.Random(f"picture {world.seed}")
    width, height = rng.choice(((320, 240), (320, 240), (256, 256)))
    horizon = height * rng.uniform(.5, .62)
    top, bottom = SKY[world.time]
    if world.weather in VEIL:
        veil = shade(VEIL[world.weather], LIGHT[world.time])
        top, bottom = mix(top, veil, .7), mix(bottom, veil, .7)
    shapes = _sky(world, rng, width, horizon) + _ground(world, rng, width, height, horizon)
    boxes = []
    for group in world.groups:
        zone = width / 3
        centre = ("left", "middle", "right").index(group.place) * zone + zone / 2
        base = horizon + rng.uniform(.45, .75) * (height - horizon)
        if group.kind == "balloon":
            base = horizon * rng.uniform(.75, 1.1)
        rgb = tuple(max(0, min(255, c + rng.randint(-12, 12))) for c in COLOUR_RGB[group.colour])
        rgb = shade(rgb, (1 + LIGHT[world.time]) / 2)
        tall = {"large": rng.uniform(84, 94), "small": rng.uniform(40, 46),
                "": rng.uniform(42, 48) * width / 320}[group.size]
        for dx, dy in SPOTS[group.count]:
            cx = centre + dx * zone + rng.uniform(-3, 3) * (1 if group.count > 1 else 3)
            foot = base + dy + rng.uniform(-3, 3)
            polygons = _object(group.kind, rgb, cx, min(foot, height - 4), tall)
            shapes += polygons
            xs, ys = zip(*(point for _, points in polygons for point in points))
            boxes.append((group, min(xs), min(ys), max(xs), max(ys)))
    return Composition(width, height, top, bottom, horizon, shapes + _falling(world, rng, width, height), boxes)


def noise(world, num_bytes):
    """One byte a channel, nearly normal with mean 128: what is added to the drawing."""
    return random.Random(f"noise {world.seed}").randbytes(num_bytes)


def noise_table():
    """byte -> offset in levels: the quantiles of a normal distribution with deviation 7."""
    from statistics import NormalDist
    return [round(NormalDist(0, 7).inv_cdf((i + .5) / 256)) for i in range(256)]


def _fill(rows, width, height, rgb, points):
    """Fills one polygon (even-odd) with four scan lines a row and exact coverage along each."""
    first = max(0, math.floor(min(y for _, y in points)))
    last = min(height - 1, math.floor(max(y for _, y in points)))
    edges = list(zip(points, points[1:] + points[:1]))
    for row in range(first, last + 1):
        cover = {}
        for sub in range(4):
            y = row + (sub + .5) / 4
            cuts = sorted(x0 + (y - y0) * (x1 - x0) / (y1 - y0) for (x0, y0), (x1, y1) in edges
                          if (y0 <= y) != (y1 <= y))
            for left, right in zip(cuts[::2], cuts[1::2]):
                left, right = max(0., left), min(float(width), right)
                for x in range(math.floor(left), math.ceil(right)):
                    cover[x] = cover.get(x, 0) + (min(right, x + 1) - max(left, x)) / 4
        line = rows[row]
        for x, part in cover.items():
            at = 3 * x
            if part > .996:
                line[at:at + 3] = bytes(rgb)
            elif part > 0:
                for c in range(3):
                    line[at + c] = round(line[at + c] + (rgb[c] - line[at + c]) * part)


def draw(world):
    """(width, height, RGB bytes) of the world's picture."""
    plan = compose(world)
    width, height = plan.width, plan.height
    rows = [bytearray(bytes(mix(plan.sky_top, plan.sky_bottom, min(1., y / plan.horizon))) * width)
            for y in range(height)]
    for rgb, points in plan.shapes:
        _fill(rows, width, height, rgb, points)
    table = noise_table()
    clamp = [max(0, min(255, v - 64)) for v in range(384)]
    grain = noise(world, 3 * width * height)
    pixels = b"".join(rows)
    return width, height, bytes(clamp[p + table[n] + 64] for p, n in zip(pixels, grain))


def png(width, height, pixels):
    """An 8-bit RGB PNG file."""
    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    raw = b"".join(b"\0" + pixels[y * width * 3:(y + 1) * width * 3] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 6)) + chunk(b"IEND", b""))


def write_png(world, path):
    with open(path, "wb") as file:
        file.write(png(*draw(world)))
