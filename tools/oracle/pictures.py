"""Small picture files of every kind that the server has to read, and the decoding policy to compare with."""

import dataclasses
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

import seeding


@dataclasses.dataclass(frozen=True)
class Kind:
    width: int
    height: int
    mode: str = "RGB"  # Of the file; see _encode_png16 for the two modes that end in 16.
    save: dict = dataclasses.field(default_factory=dict)
    colors: int = 0  # Palette size of mode P.
    orientation: int = 1  # EXIF


_JPEG = {"quality": 90, "subsampling": 0}

# The name says the format. Sides that are no multiples of 14, or smaller than a patch, are on purpose.
FILES = {
    "rgb_112.png": Kind(112, 112),
    "rgb_70x70.png": Kind(70, 70),
    "rgb_126x98.png": Kind(126, 98),
    "tall_20x500.png": Kind(20, 500),
    "wide_1990x10.png": Kind(1990, 10),
    "tiny_3x5.png": Kind(3, 5),
    "one_1x1.png": Kind(1, 1),
    "gray_64x96.png": Kind(64, 96, "L"),
    "gray_key_50x50.png": Kind(50, 50, "L", {"transparency": 128}),
    "gray_alpha_56x84.png": Kind(56, 84, "LA"),
    "rgba_100x60.png": Kind(100, 60, "RGBA"),
    "palette_90x90.png": Kind(90, 90, "P", colors=32),
    "palette_transparent_80x60.png": Kind(80, 60, "P", {"transparency": 3}, colors=32),
    "one_bit_40x30.png": Kind(40, 30, "1"),
    "gray16_50x40.png": Kind(50, 40, "L16"),
    "rgb16_44x52.png": Kind(44, 52, "RGB16"),
    "exif5_48x36.png": Kind(48, 36, orientation=5),
    "rgb_170x90.jpg": Kind(170, 90, save=_JPEG),
    "chroma_155x133.jpg": Kind(155, 133, save={"quality": 70, "subsampling": 2}),
    "progressive_77x61.jpg": Kind(77, 61, save=_JPEG | {"progressive": True}),
    "gray_60x84.jpg": Kind(60, 84, "L", _JPEG),
    "cmyk_84x56.jpg": Kind(84, 56, "CMYK", _JPEG),
    "exif6_120x80.jpg": Kind(120, 80, save=_JPEG, orientation=6),
    "exif3_60x40.jpg": Kind(60, 40, save=_JPEG, orientation=3),
    "lossless_66x58.webp": Kind(66, 58, save={"lossless": True}),
    "lossy_90x110.webp": Kind(90, 110, save={"quality": 80}),
    "alpha_64x48.webp": Kind(64, 48, "RGBA", {"lossless": True}),
    "exif8_52x34.webp": Kind(52, 34, save={"lossless": True}, orientation=8),
    "palette_72x50.gif": Kind(72, 50, "P", colors=64),
    "transparent_60x60.gif": Kind(60, 60, "P", {"transparency": 1}, colors=16),
}


def paint(seed: int, name: str, width: int, height: int, channels: int) -> np.ndarray:
    """u8 [height, width, channels]: waves, rectangles with hard edges and a little noise."""
    random = seeding.generator(seed, f"picture/{name}")
    y, x = np.ogrid[0:height, 0:width]
    across, down = x / width, y / height
    planes = []
    for _ in range(channels):
        turns_x, turns_y, phase = random.uniform(0.5, 3.0, 3)
        planes.append(np.sin(2 * np.pi * (turns_x * across + turns_y * down + phase)))
    canvas = 128 + 100 * np.stack(planes, axis=-1)
    for _ in range(5):
        left, top = random.integers(0, width), random.integers(0, height)
        right, bottom = (
            left + 1 + random.integers(0, 1 + width // 3),
            top + 1 + random.integers(0, 1 + height // 3),
        )
        canvas[top:bottom, left:right] = random.uniform(0, 255, channels)
    canvas += random.normal(0, 3, canvas.shape)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def _png_chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def _encode_png16(pixels: np.ndarray) -> bytes:
    """Pillow writes no 16-bit RGB. The low bytes are arbitrary: a reader has to drop them."""
    height, width, channels = pixels.shape
    wide = pixels.astype(np.uint16) * 256 + (pixels * np.uint8(37) + np.uint8(11))
    rows = wide.astype(">u2").reshape(height, width * channels)
    scanlines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", zlib.compress(scanlines, 9))
        + _png_chunk(b"IEND", b"")
    )


def encode(seed: int, name: str) -> bytes:
    """The bytes of the file `name`."""
    kind = FILES[name]
    channels = {"L": 1, "L16": 1, "1": 1, "LA": 2, "RGBA": 4, "CMYK": 4}.get(kind.mode, 3)
    pixels = paint(seed, name, kind.width, kind.height, channels)
    if kind.mode.endswith("16"):
        return _encode_png16(pixels)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    if kind.mode == "CMYK":
        image = Image.frombytes("CMYK", image.size, pixels.tobytes())
    elif kind.mode == "P":
        image = image.quantize(kind.colors, dither=Image.Dither.NONE)
    elif kind.mode == "1":
        image = image.convert("1", dither=Image.Dither.NONE)
    options = dict(kind.save)
    if kind.orientation != 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = kind.orientation
    file = io.BytesIO()
    file_format = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}[name.rsplit(".", 1)[1]]
    image.save(file, file_format, **options)
    return file.getvalue()


def encode_large(seed: int) -> bytes:
    """A JPEG that is made smaller by every policy of pixels."""
    file = io.BytesIO()
    Image.fromarray(paint(seed, "large", 640, 480, 3)).save(file, "JPEG", **_JPEG)
    return file.getvalue()


def open_upright(data: bytes) -> Image.Image:
    """The picture as the processor gets it: turned by EXIF; transparency is the processor's business (white).

    16-bit gray keeps its high bytes, as 16-bit RGB does; left alone, the processor would clip it to white.
    """
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image
