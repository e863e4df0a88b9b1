"""Writes tokenizer cases, JSON lines, with the answers of Hugging Face `tokenizers`.

    python tokenizer_cases.py CHECKPOINT --seed 1 --count 20000 --out cases.jsonl
    python tokenizer_cases.py --refresh ../../tests/data/tokenizer   # the tokenizer and cases that unit tests read

Lines: {"kind": "encode", "class", "text", "ids", "plain_ids"}: ids with control tokens parsed, and without;
{"kind": "bytes", "base64", "ids"}: not valid UTF-8, encoded after Python's errors="replace";
{"kind": "decode", "ids", "text", "shown", "deltas"}: all tokens, without special ones, and what a stream of the latter
emits after each token and at the end.
"""

import argparse
import base64
import codecs
import json
import pathlib
from collections.abc import Iterator

from tokenizers import Tokenizer

import chat_cases
import fuzz_texts
import seeding
import toy_tokenizer


class Reference:
    def __init__(self, tokenizer_json: str):
        self.full = Tokenizer.from_str(tokenizer_json)
        self.plain = Tokenizer.from_str(json.dumps(json.loads(tokenizer_json) | {"added_tokens": []}))
        self.added = self.full.get_added_tokens_decoder()
        byte_of = self._alphabet()
        self.bytes_of = {
            number: self.added[number].content.encode()
            if number in self.added
            else bytes(byte_of[c] for c in token)
            for token, number in self.full.get_vocab().items()
        }

    @staticmethod
    def _alphabet() -> dict[str, int]:
        """GPT-2's spelling of bytes: printable ones as themselves, the others from U+0100 on."""
        printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
        others = [byte for byte in range(256) if byte not in printable]
        return {chr(byte): byte for byte in printable} | {
            chr(0x100 + n): byte for n, byte in enumerate(others)
        }

    def stream(self, ids: list[int]) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        shown = [b"" if i in self.added and self.added[i].special else self.bytes_of[i] for i in ids]
        return [decoder.decode(piece) for piece in shown] + [decoder.decode(b"", final=True)]


def cases(reference: Reference, seed: int, count: int) -> Iterator[dict]:
    random = seeding.generator(seed, "tokenizer cases")
    writer = fuzz_texts.Writer(random)
    kinds = list(writer.kinds)
    known = sorted(reference.bytes_of)
    short = [number for number in known if len(reference.bytes_of[number]) == 1]
    for n in range(count):
        if n % 6 == 5:
            pool = short if random.random() < 0.4 else known  # single bytes seldom make whole characters
            ids = [int(writer.pick(pool)) for _ in range(writer.count(40))]
            deltas = reference.stream(ids)
            shown = reference.full.decode(ids, skip_special_tokens=True)
            if "".join(deltas) != shown:
                raise SystemExit(f"the stream of {ids} is {deltas}, the whole is {shown!r}")
            text = reference.full.decode(ids, skip_special_tokens=False)
            yield {"kind": "decode", "ids": ids, "text": text, "shown": shown, "deltas": deltas}
        elif n % 12 == 4:
            raw = writer.damaged()
            ids = reference.full.encode(raw.decode("utf-8", "replace")).ids
            yield {"kind": "bytes", "base64": base64.b64encode(raw).decode(), "ids": ids}
        else:
            kind = kinds[n % len(kinds)]
            text = writer.kinds[kind]()
            ids, plain_ids = reference.full.encode(text).ids, reference.plain.encode(text).ids
            yield {"kind": "encode", "class": kind, "text": text, "ids": ids, "plain_ids": plain_ids}


def write_lines(path: pathlib.Path, lines: Iterator[dict]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def refresh(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    toy_tokenizer.write(folder, seed=3, vocab_size=1024)
    reference = Reference((folder / "tokenizer.json").read_text(encoding="utf-8"))
    write_lines(folder / "cases.jsonl", cases(reference, seed=3, count=300))
    write_lines(folder / "chats.jsonl", chat_cases.cases(folder, reference, seed=3, count=40))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--refresh", type=pathlib.Path, metavar="FOLDER")
    args = parser.parse_args()
    if args.refresh:
        refresh(args.refresh)
        return
    if not args.checkpoint or not args.out:
        parser.error("name a checkpoint and --out, or --refresh")
    reference = Reference((args.checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    write_lines(args.out, cases(reference, args.seed, args.count))


if __name__ == "__main__":
    main()
