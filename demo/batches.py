"""Turns examples into batches: token ids, loss weights, M-RoPE positions and pixel patches, bucketed by length."""
import functools
import itertools
import os
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

import fast_picture
import picture
import settings
import tokenizer as tokenizer_lib
import world as world_lib
from world import ZH

PATCH, MERGE = 14, 2
_WINDOW = settings.config()["vision_config"]["window_size"] // (PATCH * MERGE)  # Image tokens of a window's side.
_IDS = tokenizer_lib.added_ids()
_BOUNDARY_WEIGHT, _NUMBER_WEIGHT, _FIRST_NUMBER_WEIGHT, _END_WEIGHT, _SUBJECT_WEIGHT = 4., 4., 12., 12., 8.
_SECTION_TO_WRITE = "\n\nNow write"  # Where the template goes on after the text so far.
_MEAN, _STD = settings.IMAGE_MEAN, settings.IMAGE_STD
_MAX_PICTURES = 256  # Of a batch: their bytes cost more than their tokens.


def target_size(height, width):
    """Qwen's smart_resize for the limits of this model: multiples of 28 between the pixel limits."""
    unit = PATCH * MERGE
    h, w = round(height / unit) * unit, round(width / unit) * unit
    if h * w > settings.MAX_PIXELS:
        scale = (height * width / settings.MAX_PIXELS) ** .5
        h, w = int(height / scale // unit * unit), int(width / scale // unit * unit)
    elif h * w < settings.MIN_PIXELS:
        scale = (settings.MIN_PIXELS / (height * width)) ** .5
        h, w = int(-(-height * scale // unit) * unit), int(-(-width * scale // unit) * unit)
    return h, w


def patches(image):
    """uint8 [height, width, 3] -> (uint8 [num_patches, 588], (1, rows, columns)), in the order of the image processor."""
    h, w = target_size(*image.shape[:2])
    resized = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    rows, columns = h // PATCH, w // PATCH
    cells = resized.reshape(3, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH)
    return cells.transpose(1, 4, 2, 5, 0, 3, 6).reshape(rows * columns, -1), (1, rows, columns)


def pixel_values(cells):
    """uint8 [num_patches, 588] -> float32 [num_patches, 1176]: normalised, and each patch twice, as two moments."""
    mean, std = (torch.tensor(values, device=cells.device)[:, None] for values in (_MEAN, _STD))
    normal = (cells.view(len(cells), 3, -1) / 255 - mean) / std
    return normal[:, :, None].expand(-1, -1, 2, -1).reshape(len(cells), -1)


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


LAYOUT = ("grid_thw", "position_ids", "window_index", "cu_window_seqlens")


@functools.lru_cache
def _grid_layout(rows, columns):
    """Of one picture: (row and column of each patch [num_patches, 2], its tokens in the order of their windows, the
    patches of each window)."""
    cells = np.mgrid[:rows, :columns].reshape(2, rows // MERGE, MERGE, columns // MERGE, MERGE)
    tokens = np.arange(rows * columns // MERGE**2).reshape(rows // MERGE, columns // MERGE)
    windows = [tokens[row:row + _WINDOW, column:column + _WINDOW].flatten() for row in range(0, len(tokens), _WINDOW)
               for column in range(0, tokens.shape[1], _WINDOW)]
    return (cells.transpose(1, 3, 2, 4, 0).reshape(-1, 2), np.concatenate(windows),
            np.array([len(window) * MERGE**2 for window in windows]))


def layout(grids):
    """The arguments of transformers' vision tower beside the pixels. It would work out most of them itself, on its
    device and picture by picture."""
    places, order, sizes = zip(*(_grid_layout(rows, columns) for _, rows, columns in grids))
    firsts = np.cumsum([0] + [len(tokens) for tokens in order[:-1]])
    return {"grid_thw": torch.tensor(grids), "position_ids": torch.from_numpy(np.concatenate(places)),
            "window_index": torch.from_numpy(np.concatenate([tokens + first for tokens, first in zip(order, firsts)])),
            "cu_window_seqlens": torch.from_numpy(np.cumsum(np.concatenate(([0], *sizes)), dtype=np.int32))}


@dataclass
class Encoded:
    ids: list
    weights: list  # Of the loss of predicting ids[i].
    positions: np.ndarray  # [3, len(ids)]
    pixels: list
    grids: list
    seen: np.ndarray  # [image tokens, questions]: the answer's index to each of Encoder.questions, -1 where none is.

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
        self._digits = {self._encode(digit)[0] for digit in "0123456789"}
        self.questions = self._questions()
        self._head = self._encode("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n")
        self._tail = self._encode("<|im_end|>\n<|im_start|>assistant\n")

    def _encode(self, text):
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _name(self, word, lang):
        """The first token of a word as it stands in a description."""
        return self._encode(" " + word if lang == "en" else word)[0]

    def _questions(self):
        """What every image token is asked, in English and then in Chinese: [[the token of each possible answer]]."""
        scene = (world_lib.WEATHERS, world_lib.TIMES, world_lib.GROUNDS, world_lib.COLOURS)
        kinds, plurals, sizes = world_lib.KINDS, tuple(map(world_lib.plural, world_lib.KINDS)), world_lib.SIZES
        english = (*scene, kinds + plurals, sizes + world_lib.NUMBERS[2:])
        chinese = (*(tuple(map(ZH.get, words)) for words in (*scene, kinds)),
                   tuple(map(ZH.get, sizes)) + world_lib.ZH_NUMBERS[2:])
        return [[self._name(word, lang) for word in words]
                for lang, questions in (("en", english), ("zh", chinese)) for words in questions]

    def _seen(self, world, group):
        """The index of the right answer to each question, for a token where the group is drawn."""
        setting = [world_lib.WEATHERS.index(world.weather), world_lib.TIMES.index(world.time),
                   world_lib.GROUNDS.index(world.ground)]
        if group is None:
            return (setting + [-1] * 3) * 2
        kind, kinds = world_lib.KINDS.index(group.kind), len(world_lib.KINDS)
        colour = world_lib.COLOURS.index(group.colour)
        number = world_lib.SIZES.index(group.size) if group.count == 1 else group.count
        return setting + [colour, kind + (kinds if group.count > 1 else 0), number] + setting + [colour, kind, number]

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

    def encode(self, example, crop=None, gap=0, fact_weight=1.):
        """Loss lies on the answer alone, and most on how sentences start and texts end, and on how pieces are numbered:
        the first piece's number of all follows from the length asked for, and stands only once for all to copy. So does
        the subject of a section: its first sentence takes it from the step, among all that the plan and the picture name.

        `gap` counts positions that are left out between the text so far and the section to write: far positions are
        learnt at the price of near ones.

        `crop` (first, last) keeps only those pieces of the answer, at the positions that they would have, and learns
        from the second kept one on unless the first is the answer's own: long texts are learnt from short sequences.
        """
        ids, pixels, grids = self.prompt(example)
        first, last = crop or (0, len(example.pieces))
        pieces = [self._encode(piece) for piece in example.pieces[first:last]]
        own = [token for piece in pieces for token in piece]
        ends = set(itertools.accumulate(map(len, pieces)))  # Where the next piece begins, or the answer is over.
        if last >= len(example.pieces):
            own.append(_IDS["<|im_end|>"])
        weights = [0.] * len(ids)
        subject_end = next((i for i, token in enumerate(own) if token in self._ends), 0) if example.task == "write" else 0
        for i, token in enumerate(own):
            opening = i < len(pieces[0])
            if opening and first > 0:
                weights.append(0.)
            elif i in ends:
                weights.append(_END_WEIGHT)
            elif token in self._digits or (i > 0 and own[i - 1] in self._digits):  # and where the number ends
                weights.append(_FIRST_NUMBER_WEIGHT if opening else _NUMBER_WEIGHT)
            elif i < subject_end:
                weights.append(_SUBJECT_WEIGHT)
            else:
                boundary = token in self._ends or (i > 0 and own[i - 1] in self._ends)
                weights.append(_BOUNDARY_WEIGHT if boundary else fact_weight)
        answer_at = len(ids)
        ids = ids + own
        positions = mrope_positions(ids, grids)
        positions[:, answer_at:] += first * len(own) // len(pieces)
        if gap:
            before = example.prompt.rindex(_SECTION_TO_WRITE)
            positions[:, len(self._head) + len(self._encode(example.prompt[:before])):] += gap
        seen = [self._seen(world, group) for world, grid in zip(example.worlds, grids)
                for group in objects_in_cells(world, grid)]
        return Encoded(ids, weights, positions, pixels, grids, np.array(seen, dtype=np.int64).reshape(-1, 12))


def collate(items):
    """{name: tensor}, right-padded: ids, weights, positions, and where there are pictures their pixels, what is seen in
    them and their layout. Padding has no weight, and causal attention never looks at it."""
    longest = max(map(len, items))
    ids = torch.full((len(items), longest), _IDS["<|endoftext|>"], dtype=torch.long)
    weights = torch.zeros(len(items), longest)
    positions = torch.zeros(3, len(items), longest, dtype=torch.long)
    for row, item in enumerate(items):
        n = len(item)
        ids[row, :n] = torch.tensor(item.ids)
        weights[row, :n] = torch.tensor(item.weights)
        positions[:, row, :n] = torch.from_numpy(item.positions)
    pixels = [rows for item in items for rows in item.pixels]
    grids = [grid for item in items for grid in item.grids]
    batch = {"ids": ids, "weights": weights, "positions": positions}
    if pixels:
        batch |= {"pixels": torch.from_numpy(np.concatenate(pixels)),
                  "seen": torch.from_numpy(np.concatenate([item.seen for item in items])), **layout(grids)}
    return batch


def batches(sample, rng, max_tokens, pool_size):
    """Endless batches of at most `max_tokens` padded tokens, each of examples of similar length. The first pools are
    smaller: the first batch should not wait long."""
    for growing in itertools.count(1):
        pool = sorted((sample() for _ in range(min(pool_size, 50 * growing))), key=len)
        groups, group = [], []
        for item in pool:
            full = len(item) * (len(group) + 1) > max_tokens or len(group) == _MAX_PICTURES and item.grids
            if group and full:
                groups.append(group)
                group = []
            group.append(item)
        groups.append(group)
        rng.shuffle(groups)
        yield from map(collate, groups)
