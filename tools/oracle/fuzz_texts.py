"""Random texts that are hard on a tokenizer: scripts, white space, combining marks, spelt-out control tokens."""

import unicodedata

import numpy as np

import toy_tokenizer

CONTROL = toy_tokenizer.CONTROL_TOKENS + toy_tokenizer.PLAIN_ADDED_TOKENS

WHITE_SPACE = [
    " ", "  ", "    ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\t\n", "\v", "\f", "\x1c", "\x85", "\xa0",
    "\u1680", "\u2003", "\u2028", "\u2029", "\u202f", "\u3000", "\u200b", "\u200d", "\ufeff", "\u180e",
]  # fmt: skip
# "'s" matches whatever its case; U+017F folds to s, U+212A (kelvin) to k.
APOSTROPHES = [
    "'s", "'S", "'\u017f", "'t", "'re", "'RE", "'rE", "'ve", "'VE", "'m", "'ll", "'lL", "'d", "''s", "'q",
    "\u2019s", "'s's", "'\u212a", "' s",
]  # fmt: skip
NUMBERS = [
    "0",
    "9",
    "42",
    "2025",
    "1,000",
    "3.14",
    "-7",
    "1e9",
    "٣",
    "४",
    "½",
    "²",
    "Ⅷ",
    "㊿",
    "二",
    "９",
    "𝟘",
]
SEQUENCES = [  # several code points, one picture
    "👨\u200d👩\u200d👧", "🤦🏽\u200d♂\ufe0f", "🏳\ufe0f\u200d🌈", "👍🏿", "🇫🇷🇯🇵", "#\ufe0f\u20e3", "❤\ufe0f", "☺",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]  # fmt: skip
RECOMPOSED = [  # texts that NFC changes, or must leave alone
    "e\u0301", "a\u0323\u0302", "a\u0302\u0323", "\u212b", "\u2126", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0958",
    "\u0928\u093c", "\u304b\u3099", "\ufb1d", "\U0002f800", "\u0344", "\u2adc", "\u1e9b\u0323", "\U0001d15e", "\uf900",
    "o\u0308\u0304", "\u0f73", "\u0cca", "\U0001109a",
]  # fmt: skip
WORDS = (
    "a the of report River bridge 5,000 words don't WORD naïve Straße İzmir ﬂow Ωhm coöperate élan 你好 图片 文章 写作 "
    "世界 ありがとう 한국어 привет שלום مرحبا नमस्ते ไทย ქართული"
).split()
CODE = [
    "def f(x):\n", "    return x\n", "\tif (a) {\r\n", "}\n\n", "// ", "#include <a>", "x_1 = y[0]", "!=", "->", "/*",
    "*/", "'''", '"\\n"', "<div>", "</p>", "&amp;", "{{ x }}", "{% y %}", "$HOME", "\\", "`", "~~~",
]  # fmt: skip


class Writer:
    def __init__(self, random: np.random.Generator):
        self.random = random
        self.kinds = {
            "row": self.row, "any": self.any_characters, "white_space": self.white_space, "numbers": self.numbers,
            "apostrophes": self.apostrophes, "marks": self.marks, "sequences": self.sequences,
            "recomposed": self.recomposed, "control": self.control, "code": self.code, "prose": self.prose,
            "run": self.run, "mixture": self.mixture,
        }  # fmt: skip

    def pick(self, choices):
        return choices[int(self.random.integers(len(choices)))]

    def count(self, most: int) -> int:
        return int(self.random.integers(1, most + 1))

    def join(self, choices, most: int, separator: str = "") -> str:
        return separator.join(self.pick(choices) for _ in range(self.count(most)))

    def character(self) -> str:
        """Mostly from the planes in use, sometimes any code point; never a surrogate."""
        while True:
            code = int(self.random.integers(self.pick([0x3400] * 5 + [0x30000] * 4 + [0x110000])))
            if not 0xD800 <= code < 0xE000:
                return chr(code)

    def row(self) -> str:
        """Neighbours: most scripts fill a few rows of 128 code points."""
        base = ord(self.character()) & ~127
        letters = [chr(base + n) for n in range(128)]
        assigned = [c for c in letters if unicodedata.category(c) != "Cn"] or letters
        return "".join(
            self.pick(assigned) + (" " if self.random.random() < 0.15 else "") for _ in range(self.count(30))
        )

    def any_characters(self) -> str:
        return "".join(self.character() for _ in range(self.count(20)))

    def white_space(self) -> str:
        return self.join(WHITE_SPACE * 3 + WORDS + NUMBERS + [".", "!"], 30)

    def numbers(self) -> str:
        return self.join(NUMBERS + [" ", ".", ","], 20)

    def apostrophes(self) -> str:
        return "".join(
            self.pick([*WORDS, "I", "HE"]) + self.pick(APOSTROPHES) + self.pick(["", " ", "\n", "s"])
            for _ in range(self.count(8))
        )

    def marks(self) -> str:
        marks = [
            chr(c)
            for c in (*range(0x300, 0x370), 0x5B0, 0x64B, 0x93C, 0x94D, 0xE38, 0xF71, 0x1AB0, 0x20D0, 0x3099)
        ]
        return "".join(self.pick(WORDS)[:1] + self.join(marks, 3) for _ in range(self.count(12)))

    def sequences(self) -> str:
        return self.join([*SEQUENCES, " ", "a", "。"], 12)

    def recomposed(self) -> str:
        return self.join([*RECOMPOSED, " ", "x"], 16)

    def control(self) -> str:
        near = [t[:-1] for t in CONTROL[:3]] + [
            "|>",
            "<|",
            "<| im_end |>",
            "<|IM_END|>",
            "<<|im_end|>>",
            "e\u0301",
        ]
        return self.join(CONTROL + near + WORDS + WHITE_SPACE[:8], 16)

    def code(self) -> str:
        return self.join(CODE, 16)

    def prose(self) -> str:
        return self.join(WORDS, 30, " ") + self.pick([".", "!", "。", "\n", "  ", ""])

    def run(self) -> str:
        unit = self.pick(
            [" ", "\n", "\r\n", "a", "A", "=", "7", "文", "é", "🙂", "\t ", "?!", "e\u0301", "\u0301"]
        )
        return unit * self.count(400)

    def mixture(self) -> str:
        plain = [kind for name, kind in self.kinds.items() if name not in ("mixture", "run")]
        return "".join(self.pick(plain)()[: self.count(12)] for _ in range(self.count(6)))

    def damaged(self) -> bytes:
        """Bytes that are not quite UTF-8: some replaced, some cut out."""
        raw = bytearray(self.mixture().encode() or b"x")
        for _ in range(self.count(4)):
            at = int(self.random.integers(len(raw)))
            if self.random.random() < 0.3 and len(raw) > 1:
                del raw[at]
            else:
                raw[at] = self.pick(
                    [0x80, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF]
                )
        return bytes(raw)
