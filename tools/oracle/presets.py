"""Sizes of the random-weight checkpoints, from seconds on one core to the true layers of the 72B."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Preset:
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    layers: int
    vit_hidden: int
    vit_heads: int
    vit_ffn: int
    vit_depth: int
    vit_full_blocks: tuple[int, ...]
    vocab: int  # Rows of the embedding: more than there are tokens, as in the published models.
    bpe_vocab: int = 2048
    min_pixels: int = 3136
    max_pixels: int = 100352

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def mrope_section(self) -> list[int]:
        """Frequencies for time, height and width: 16, 24, 24 at head_dim 128."""
        eighth = self.head_dim // 16
        return [2 * eighth, 3 * eighth, 3 * eighth]


_VIT_REAL = dict(vit_hidden=1280, vit_heads=16, vit_depth=2, vit_full_blocks=(1,))

PRESETS = {
    # Heads of 16; two KV heads, so that TP 4 has to replicate them.
    "nano": Preset(
        hidden=64,
        heads=4,
        kv_heads=2,
        ffn=176,
        layers=2,
        vit_hidden=64,
        vit_heads=4,
        vit_ffn=116,
        vit_depth=4,
        vit_full_blocks=(1, 3),
        vocab=2176,
    ),
    "tiny": Preset(
        hidden=256,
        heads=8,
        kv_heads=4,
        ffn=704,
        layers=4,
        vit_hidden=160,
        vit_heads=4,
        vit_ffn=420,
        vit_depth=6,
        vit_full_blocks=(2, 5),
        vocab=2176,
    ),
    # The head sizes of the real models, 128 and 80, in small layers.
    "hd128": Preset(
        hidden=1024,
        heads=8,
        kv_heads=4,
        ffn=1536,
        layers=2,
        vit_hidden=320,
        vit_heads=4,
        vit_ffn=852,
        vit_depth=4,
        vit_full_blocks=(1, 3),
        vocab=2304,
    ),
    # True layers of the 7B and of the 72B, few of them.
    "realdims": Preset(
        hidden=3584,
        heads=28,
        kv_heads=4,
        ffn=18944,
        layers=2,
        vit_ffn=3420,
        vocab=152064,
        **_VIT_REAL,
    ),
    "realdims72": Preset(
        hidden=8192,
        heads=64,
        kv_heads=8,
        ffn=29568,
        layers=1,
        vit_ffn=3456,
        vocab=152064,
        **_VIT_REAL,
    ),
}
