"""Records what happens before the model runs: pictures, sizes, the ViT's windows, prompts and positions."""

import math
import pathlib

import numpy as np
import torch
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_position_ids,
    get_vision_window_index,
)

import cases
import pictures
import reference
import seeding
from recording import Recording

MAX_RGB_BYTES = 48 * 1024  # Of a larger picture the resized form shows the same.
ALL_ROWS = "tiny_3x5.png"  # Of the other pictures a few rows of pixel values are recorded.


def write_pictures(folder: pathlib.Path, seed: int, photograph: pathlib.Path | None) -> dict:
    """Writes the picture files; returns them as decoded, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: pictures.encode(seed, name) for name in pictures.FILES}
    # Without a photograph a painting of its size stands in.
    files[cases.PHOTOGRAPH] = photograph.read_bytes() if photograph else pictures.encode_large(seed)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: pictures.open_upright(data) for name, data in files.items()}


def record_pictures(out: Recording, prompts: reference.Prompts, images: dict, vit) -> None:
    out.notes["images"] = {}
    processor = prompts.processor.image_processor
    for name, image in images.items():
        rgb = processor.process_image(image, do_convert_rgb=True)  # u8 [3, h, w], transparency on white
        resized = processor.resize(rgb, processor.size, processor.resample, 28)
        batch = processor(image, return_tensors="pt")
        values, grid = batch["pixel_values"], batch["image_grid_thw"]
        key = f"img/{name}"
        if rgb.numel() <= MAX_RGB_BYTES:
            out.put(f"{key}/rgb", rgb.permute(1, 2, 0))
        out.put(f"{key}/resized", resized.permute(1, 2, 0))
        out.put(f"{key}/grid_thw", grid[0])
        rows = torch.linspace(0, len(values) - 1, len(values) if name == ALL_ROWS else 3).long()
        out.put(f"{key}/rows", rows)
        out.put(f"{key}/pixel_values", values[rows])
        with torch.no_grad():
            out.put(f"{key}/embeds", vit(values, grid_thw=grid).pooler_output)
        out.notes["images"][name] = {
            "width": image.width,
            "height": image.height,
            "resized_hw": list(resized.shape[1:]),
            "tokens": len(values) // 4,
        }


def record_smart_resize(out: Recording, seed: int) -> None:
    """i32 [n, 6]: height, width, min_pixels, max_pixels, and the two answers (-1: refused)."""
    random = seeding.generator(seed, "smart_resize")
    sizes = [
        (70, 70),
        (42, 14),
        (98, 126),
        (1, 1),
        (1, 200),
        (1, 201),
        (5, 1000),
        (5, 1001),
        (13, 13),
        (28, 28),
        (1024, 1024),
        (2000, 3000),
        (20000, 101),
    ]  # Halves, ratios at and past the limit, clamped ones.
    sizes += np.exp(random.uniform(0, math.log(6000), (500, 2))).astype(int).tolist()
    rows = []
    for height, width in sizes:
        for limits in ((3136, 12845056), (50176, 1048576), (3136, 100352)):
            try:
                answer = smart_resize(height, width, 28, *limits)
            except ValueError:
                answer = (-1, -1)
            rows.append([height, width, *limits, *answer])
    out.put("smart_resize", rows)


def record_geometry(out: Recording, config) -> None:
    """Windows, frames and patch positions of grids (t, h, w in patches), alone and together."""
    batches = [
        [(1, 2, 2)],
        [(1, 8, 8)],
        [(1, 10, 14)],
        [(1, 2, 58)],
        [(1, 36, 2)],
        [(1, 22, 34)],
        [(1, 16, 16), (1, 6, 4)],
        [(1, 18, 26), (1, 4, 6), (1, 8, 8)],
    ]
    for n, batch in enumerate(batches):
        grid = torch.tensor(batch)
        window_index, cu_window_seqlens = get_vision_window_index(
            grid, 2, config.window_size, config.patch_size
        )
        out.put(f"vitgeom/{n}/grid_thw", grid)
        out.put(f"vitgeom/{n}/window_index", window_index)
        out.put(f"vitgeom/{n}/cu_window_seqlens", cu_window_seqlens)
        out.put(f"vitgeom/{n}/cu_seqlens", get_vision_cu_seqlens(grid))
        out.put(f"vitgeom/{n}/pos_hw", get_vision_position_ids(grid, 2))


def record_prompts(out: Recording, prompts: reference.Prompts, model) -> None:
    out.notes["cases"] = {}
    for name, messages in cases.CASES.items():
        inputs = prompts.inputs([name])
        files = cases.image_names(messages)
        if not files and name != "text_control":
            # The literal reading of ordinary text is the processor's.
            assert prompts.literal_ids(messages) == inputs["input_ids"][0].tolist(), name
        positions, delta = reference.rope_index(model, inputs)
        out.put(f"case/{name}/input_ids", inputs["input_ids"][0])
        out.put(f"case/{name}/position_ids", positions[:, 0])
        out.notes["cases"][name] = {
            "messages": messages,
            "images": files,
            "rendered": prompts.render(messages),
            "rope_delta": int(delta.flatten()[0]),
        }
