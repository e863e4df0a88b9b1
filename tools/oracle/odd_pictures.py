"""Writes small picture files of the rarer kinds, each with the pixels that the reference sees beside it (PPM).

    python tools/oracle/odd_pictures.py tests/data/pictures

pictures.py has the common kinds, which go through the whole recording; these go through the decoder alone.
"""

import io
import pathlib
import struct
import sys
import zlib

import numpy as np
from PIL import Image
from transformers.image_transforms import convert_to_rgb

import pictures

SEED = 38
WIDTH, HEIGHT = 19, 13  # Odd, and no multiple of a JPEG block or of Adam7's 8.
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
COLOR_TYPES = {"gray": 0, "rgb": 2, "palette": 3, "gray_alpha": 4, "rgba": 6}


def paint(name: str, channels: int) -> np.ndarray:
    return pictures.paint(SEED, f"odd/{name}", WIDTH, HEIGHT, channels)


def png_chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def pack_rows(samples: np.ndarray, depth: int) -> bytes:
    """samples [h, w, channels]: each row with filter byte 0, samples of `depth` bits packed from the left."""
    rows = b""
    for row in samples.reshape(len(samples), -1):
        bits = "".join(format(int(sample), f"0{depth}b") for sample in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return rows


def png(samples: np.ndarray, kind: str, depth: int, interlaced: bool = False, before: bytes = b"", after: bytes = b"") -> bytes:
    """Kinds and depths that Pillow cannot write. `before` and `after`: chunks around the pixels."""
    height, width = samples.shape[:2]
    passes = [samples]
    if interlaced:
        passes = [samples[y::step_y, x::step_x] for x, y, step_x, step_y in ADAM7]
    data = b"".join(pack_rows(part, depth) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, depth, COLOR_TYPES[kind], 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", zlib.compress(data, 9))
        + after
        + png_chunk(b"IEND", b"")
    )


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png_files() -> dict[str, bytes]:
    files = {}
    for kind, channels in (("rgb", 3), ("rgba", 4), ("gray", 1)):
        files[f"interlaced_{kind}.png"] = png(paint(f"interlaced_{kind}", channels), kind, 8, interlaced=True)
    for depth in (1, 2, 4):
        gray = paint(f"gray{depth}", 1) >> (8 - depth)
        files[f"gray{depth}.png"] = png(gray, "gray", depth)
        files[f"interlaced_gray{depth}.png"] = png(gray, "gray", depth, interlaced=True)
        palette = png_chunk(b"PLTE", pictures.paint(SEED, f"odd/palette{depth}", 1 << depth, 1, 3).tobytes())
        files[f"palette{depth}.png"] = png(gray, "palette", depth, before=palette)
    # Two entries carry alpha; index 7 and up have no colour at all.
    palette = png_chunk(b"PLTE", bytes(range(10, 10 + 21 * 10, 10))) + png_chunk(b"tRNS", bytes([128, 0]))
    files["palette_short.png"] = png(paint("short", 1) >> 5, "palette", 8, before=palette)
    gray_alpha, rgba = paint("gray_alpha16", 2).astype(int), paint("rgba16", 4).astype(int)
    files["gray_alpha16.png"] = png(gray_alpha * 256 + 77, "gray_alpha", 16)
    files["rgba16.png"] = png(rgba * 256 + 77, "rgba", 16)
    rgb = paint("rgb_key", 3)
    rgb[3:6, 4:9] = (10, 20, 30)
    key = png_chunk(b"tRNS", struct.pack(">3H", 10, 20, 30))
    files["rgb_key.png"] = png(rgb, "rgb", 8, before=key)
    exif = png_chunk(b"eXIf", exif_of(7).tobytes()[6:])
    files["exif7_after_pixels.png"] = png(paint("exif7", 3), "rgb", 8, after=exif)
    for orientation in (2, 4):
        image = Image.fromarray(paint(f"exif{orientation}", 3))
        files[f"exif{orientation}.png"] = saved(image, "PNG", exif=exif_of(orientation))
    return files


def jpeg_files() -> dict[str, bytes]:
    image = Image.fromarray(paint("jpeg", 3))
    cmyk = Image.frombytes("CMYK", image.size, paint("cmyk", 4).tobytes())
    return {
        "half_chroma.jpg": saved(image, "JPEG", quality=60, subsampling=1),
        "stored_as_rgb.jpg": saved(image, "JPEG", quality=80, keep_rgb=True),
        "restarts.jpg": saved(image, "JPEG", quality=80, restart_marker_blocks=1),
        "progressive_gray.jpg": saved(image.convert("L"), "JPEG", quality=80, progressive=True),
        "progressive_cmyk.jpg": saved(cmyk, "JPEG", quality=80, progressive=True),
    }


def webp_files() -> dict[str, bytes]:
    first, second = (Image.fromarray(paint(f"webp{n}", 4)) for n in (1, 2))
    animation = {"save_all": True, "append_images": [second], "lossless": True, "exact": True}
    return {
        "lossy_alpha.webp": saved(first, "WEBP", quality=70),
        "animated_alpha.webp": saved(first, "WEBP", **animation),
        "animated.webp": saved(first.convert("RGB"), "WEBP", save_all=True, append_images=[second.convert("RGB")]),
    }


def gif_files() -> dict[str, bytes]:
    image = Image.fromarray(paint("gif", 3)).quantize(16, dither=Image.Dither.NONE)
    other = Image.fromarray(paint("gif2", 3)).quantize(16, dither=Image.Dither.NONE)
    plain = saved(image, "GIF", interlace=0)
    clear = saved(image, "GIF", interlace=0, transparency=2)

    def on_larger_screen(data: bytes) -> bytes:
        """The frame at (3, 2) of a screen of 24 x 20."""
        at = data.index(b"\x2c" + struct.pack("<4H", 0, 0, WIDTH, HEIGHT))
        return (
            data[:6] + struct.pack("<2H", 24, 20) + data[10 : at + 1] + struct.pack("<2H", 3, 2) + data[at + 5 :]
        )

    def without_palette(data: bytes) -> bytes:
        size = 3 << ((data[10] & 7) + 1)
        return data[:10] + bytes([data[10] & 0x7F]) + data[11:13] + data[13 + size :]

    return {
        "interlaced.gif": saved(image, "GIF", interlace=1),
        "animated.gif": saved(image, "GIF", save_all=True, append_images=[other], transparency=1),
        "on_larger_screen.gif": on_larger_screen(plain),
        "on_larger_screen_transparent.gif": on_larger_screen(clear),
        "without_palette.gif": without_palette(plain),
    }


def key_files() -> dict[str, tuple[bytes, np.ndarray]]:
    """A transparent sample of few or many bits, which Pillow misses: with the pixels that the PNG specification asks for."""
    files = {}
    for depth in (2, 4, 16):
        gray = paint(f"key{depth}", 1).astype(int)
        gray = gray * 256 + 77 if depth == 16 else gray >> (8 - depth)
        key = int(gray[5, 7, 0])
        shown = gray >> 8 if depth == 16 else gray * (255 // ((1 << depth) - 1))
        shown = np.where(gray == key, 255, shown).astype(np.uint8)
        data = png(gray, "gray", depth, before=png_chunk(b"tRNS", struct.pack(">H", key)))
        files[f"gray{depth}_key.png"] = (data, np.repeat(shown, 3, axis=2))
    return files


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        name: (data, convert_to_rgb(pictures.open_upright(data), return_numpy=True))
        for name, data in (png_files() | jpeg_files() | webp_files() | gif_files()).items()
    }
    for name, (data, rgb) in (files | key_files()).items():
        (folder / name).write_bytes(data)
        header = f"P6 {rgb.shape[1]} {rgb.shape[0]} 255\n".encode()
        (folder / f"{name}.ppm").write_bytes(header + rgb.tobytes())


if __name__ == "__main__":
    main()
