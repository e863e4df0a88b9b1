"""Turns examples into batches: token ids, loss weights, M-RoPE positions and pixel patches, bucketed by length."""
import os
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

import fast_picture
import model_files
import picture
import tokenizer as tokenizer_lib
import world as world_lib

PATCH, MERGE = 14, 2
_IDS = tokenizer_lib.added_ids()
_COUNTS = 512  # The entry of the vocabulary that stands for none; the next for one, and so on. Any would do.
_SECTION_TO_WRITE = "\n\nNow write"  # Where the template goes on after the text so far.
_MEAN = np.array(model_files.IMAGE_MEAN, dtype=np.float32)
_STD = np.array(model_files.IMAGE_STD, dtype=np.float32)


def target_size(height, width):
    """Qwen's smart_resize for the limits of this model: multiples of 28 between the pixel limits."""
    unit = PATCH * MERGE
    h, w = round(height / unit) * unit, round(width / unit) * unit
    if h * w > model_files.MAX_PIXELS:
        scale = (height * width / model_files.MAX_PIXELS) ** .5
        h, w = int(height / scale // unit * unit), int(width / scale // unit * unit)
    elif h * w < model_files.MIN_PIXELS:
        scale = (model_files.MIN_PIXELS / (height * width)) ** .5
        h, w = int(-(-height * scale // unit) * unit), int(-(-width * scale // unit) * unit)
    return h, w


def patches(image):
    """uint8 [height, width, 3] -> (float32 [num_patches, 1176], (1, rows, columns)) as the image processor makes them."""
    h, w = target_size(*image.shape[:2])
    resized = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.BICUBIC), dtype=np.float32)
    normal = ((resized / 255 - _MEAN) / _STD).transpose(2, 0, 1)
    rows, columns = h // PATCH, w // PATCH
    cells = normal.reshape(3, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH)
    cells = cells.transpose(1, 4, 2, 5, 0, 3, 6).reshape(rows * columns, 3, 1, PATCH, PATCH)
    return np.repeat(cells, 2, axis=2).reshape(rows * columns, -1), (1, rows, columns)


def objects_in_cells(world, grid):
    """For every image token of a picture, the group that is drawn there or None, in the order of the tokens."""
    plan = picture.compose(world)
    rows, columns = grid[1] // MERGE, grid[2] // MERGE
    high, wide = plan.height / rows, plan.width / columns
    best = [(0., None)] * (rows * columns)
    for group, left, upper, right, lower in plan.boxes:
        enough = .25 * min((right - left) * (lower - upper), high * wide)
        for row in range(rows):
            for column in range(columns):
                across = min(right, (column + 1) * wide) - max(left, column * wide)
                down = min(lower, (row + 1) * high) - max(upper, row * high)
                area = max(0., across) * max(0., down)
                if area >= enough and area > best[row * columns + column][0]:
                    best[row * columns + column] = area, group
    return [group for _, group in best]


@dataclass
class Encoded:
    ids: list
    weights: list  # Of the loss of predicting ids[i].
    counts: list  # Where a piece of the answer ends, the token that stands for how many are to come; else -1.
    positions: np.ndarray  # [3, len(ids)]
    pixels: list
    grids: list
    seen: np.ndarray  # [image tokens, 4]: the tokens that name what is drawn there, -1 where nothing is.

    def __len__(self):
        return len(self.ids)


def mrope_positions(ids, grids):
    """[3, N]: text counts on in all three rows; a picture spans time 0, its rows and its columns."""
    out, at, step, grids = np.zeros((3, len(ids)), dtype=np.int64), 0, 0, list(grids)
    while at < len(ids):
        if ids[at] != _IDS["<|image_pad|>"]:
            out[:, at] = step
            at, step = at + 1, step + 1
            continue
        _, rows, columns = grids.pop(0)
        rows, columns = rows // MERGE, columns // MERGE
        count = rows * columns
        out[0, at:at + count] = step
        out[1, at:at + count] = step + np.repeat(np.arange(rows), columns)
        out[2, at:at + count] = step + np.tile(np.arange(columns), rows)
        at, step = at + count, step + max(rows, columns)
    return out


class Encoder:
    """Examples to token ids, with the chat template written out."""

    def __init__(self, directory):
        self._tokenizer = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
        self._ends = {i for token, i in self._tokenizer.get_vocab().items()
                      if self._tokenizer.decode([i], skip_special_tokens=False).strip() in (".", "。", "?", "？")}
        self._head = self._encode("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n")
        self._tail = self._encode("<|im_end|>\n<|im_start|>assistant\n")

    def _encode(self, text):
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _names(self, group):
        """The first tokens of colour and kind in both languages, as they stand in a description."""
        if group is None:
            return [-1] * 4
        return [self._encode(word)[0] for word in (" " + group.colour, " " + world_lib.noun(group, "en"),
                                                   world_lib.ZH[group.colour], world_lib.ZH[group.kind])]

    def decode(self, ids):
        """The text of an answer up to its end."""
        end = _IDS["<|im_end|>"]
        return self._tokenizer.decode(ids[:ids.index(end)] if end in ids else ids)

    def prompt(self, example):
        """(ids, pixels, grids) up to and with the assistant's opening."""
        ids = self._head + self._encode(example.prompt)
        pixels, grids = [], []
        for world in example.worlds:
            rows, grid = patches(fast_picture.draw(world))
            pixels.append(rows)
            grids.append(grid)
            ids += [_IDS["<|vision_start|>"], *[_IDS["<|image_pad|>"]] * (len(rows) // 4), _IDS["<|vision_end|>"]]
        return ids + self._tail, pixels, grids

    def encode(self, example, crop=None, gap=0, boundary_weight=4., fact_weight=1.):
        """Loss lies on the answer alone, and most on how sentences start and texts end.

        `gap` counts positions that are left out between the text so far and the section to write: far positions are
        learnt at the price of near ones.

        `crop` (first, last) keeps only those pieces of the answer, and learns from the second paragraph on: what comes
        late in a long text is then learnt from short sequences.
        """
        ids, pixels, grids = self.prompt(example)
        first, last = crop or (0, len(example.pieces))
        kept = [self._encode(piece) for piece in example.pieces[first:last]]
        if first > 0:
            kept[0] = self._encode(example.pieces[first].lstrip())
        counts, own = [-1] * len(ids), []
        for i, tokens in enumerate(kept, first + 1):
            own += tokens
            counts += [-1] * (len(tokens) - 1) + [_COUNTS + len(example.pieces) - i if len(example.pieces) > 1 else -1]
        if last >= len(example.pieces):
            own.append(_IDS["<|im_end|>"])
            counts.append(-1)
        silent = sum(map(len, kept[:2])) if first > 0 else 0
        weights = [0.] * len(ids)
        for i, token in enumerate(own):
            boundary = token in self._ends or (i > 0 and own[i - 1] in self._ends)
            weights.append(0. if i < silent else boundary_weight if boundary else fact_weight)
        ids = ids + own
        positions = mrope_positions(ids, grids)
        if gap:
            before = example.prompt.rindex(_SECTION_TO_WRITE)
            positions[:, len(self._head) + len(self._encode(example.prompt[:before])):] += gap
        seen = [self._names(group) for world, grid in zip(example.worlds, grids)
                for group in objects_in_cells(world, grid)]
        return Encoded(ids, weights, counts, positions, pixels, grids, np.array(seen, dtype=np.int64).reshape(-1, 4))


def collate(items):
    """Right-padded tensors; padding has no weight, and causal attention never looks at it."""
    longest = max(map(len, items))
    ids = torch.full((len(items), longest), _IDS["<|endoftext|>"], dtype=torch.long)
    weights = torch.zeros(len(items), longest)
    counts = torch.full((len(items), longest), -1, dtype=torch.long)
    positions = torch.zeros(3, len(items), longest, dtype=torch.long)
    for row, item in enumerate(items):
        n = len(item)
        ids[row, :n] = torch.tensor(item.ids)
        weights[row, :n] = torch.tensor(item.weights)
        counts[row, :n] = torch.tensor(item.counts)
        positions[:, row, :n] = torch.from_numpy(item.positions)
    pixels = [rows for item in items for rows in item.pixels]
    grids = [grid for item in items for grid in item.grids]
    if not pixels:
        return ids, weights, counts, positions, None, None, None
    seen = torch.from_numpy(np.concatenate([item.seen for item in items]))
    return ids, weights, counts, positions, torch.from_numpy(np.concatenate(pixels)), torch.tensor(grids), seen


def batches(sample, rng, max_tokens, pool_size):
    """Endless batches of at most `max_tokens` padded tokens, each of examples of similar length."""
    while True:
        pool = sorted((sample() for _ in range(pool_size)), key=len)
        groups, group = [], []
        for item in pool:
            if group and len(item) * (len(group) + 1) > max_tokens:
                groups.append(group)
                group = []
            group.append(item)
        groups.append(group)
        rng.shuffle(groups)
        yield from map(collate, groups)
