"""Independent random streams: adding a tensor, picture or case never changes another one."""

import zlib

import numpy as np


def stream_key(seed: int, name: str) -> list[int]:
    return [seed & 0xFFFFFFFF, zlib.crc32(name.encode())]


def generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng(stream_key(seed, name))
