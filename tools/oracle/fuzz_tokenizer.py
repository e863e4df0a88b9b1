"""Compares the built tokenizer with Hugging Face `tokenizers` on fresh random cases. Slow, for hand and --full.

    python fuzz_tokenizer.py CHECKPOINT --probe BUILD/tests/tokenizer_probe [--longhand BUILD/bin/longhand]
                             [--seed 1] [--count 20000] [--chats 2000]

Encodes through `longhand tokenize` where --longhand is given, else through the probe; streams of tokens and chats go
through the probe. Prints the first differences and a count for each kind; exit 1 on any.
"""

import argparse
import base64
import json
import pathlib
import subprocess
import sys
import time

import chat_cases
import tokenizer_cases


def ask(command: list[str], questions: list[dict]) -> list[dict]:
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    begin = time.monotonic()
    done = subprocess.run(command, input=lines, capture_output=True, text=True, encoding="utf-8", check=False)
    seconds = time.monotonic() - begin
    # Not splitlines(), which also cuts at U+0085 and its like.
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    if done.returncode or len(answers) != len(questions):
        raise SystemExit(f"{command} gave {len(answers)} answers to {len(questions)} lines: {done.stderr[-2000:]}")
    print(f"{' '.join(command[:2])}: {len(questions)} lines in {seconds:.2f} s")
    return answers


def compare(kind: str, questions: list[dict], answers: list[dict], expected: list[dict]) -> int:
    wrong = [n for n, (a, e) in enumerate(zip(answers, expected, strict=True)) if a != e]
    for n in wrong[:3]:
        print(f"{kind}: {questions[n]}\n  expected {expected[n]}\n  found    {answers[n]}", file=sys.stderr)
    print(f"{kind}: {len(questions)} cases, {len(wrong)} wrong")
    return len(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--probe", required=True)
    parser.add_argument("--longhand")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--chats", type=int, default=2000)
    args = parser.parse_args()
    folder = str(args.checkpoint)
    encode = [args.longhand, "tokenize", "--model", folder] if args.longhand else [args.probe, "encode", folder]

    reference = tokenizer_cases.Reference((args.checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    cases = list(tokenizer_cases.cases(reference, args.seed, args.count))
    texts = [case for case in cases if case["kind"] == "encode"]
    streams = [case for case in cases if case["kind"] == "decode"]
    damaged = [case for case in cases if case["kind"] == "bytes"]
    chats = list(chat_cases.cases(args.checkpoint, reference, args.seed, args.chats))

    def check(kind: str, command: list[str], questions: list[dict], expected: list[dict]) -> int:
        return compare(kind, questions, ask(command, questions), expected)

    texts_in = [{"text": case["text"]} for case in texts]
    wrong = check("encode", encode, texts_in, [{"ids": case["ids"]} for case in texts])
    wrong += check("plain", [args.probe, "plain", folder], texts_in, [{"ids": case["plain_ids"]} for case in texts])
    # JSON cannot hold the bytes themselves.
    replaced = [{"text": base64.b64decode(case["base64"]).decode("utf-8", "replace")} for case in damaged]
    wrong += check("damaged", encode, replaced, [{"ids": case["ids"]} for case in damaged])
    wrong += check("decode", [args.probe, "decode", folder], [{"ids": case["ids"]} for case in streams],
                   [{key: case[key] for key in ("text", "shown", "deltas")} for case in streams])  # fmt: skip
    wrong += check("chat", [args.probe, "chat", folder],
                   [{key: case[key] for key in ("messages", "add_vision_id")} for case in chats],
                   [{"rendered": case["rendered"], "ids": case["safe_ids"]} for case in chats])  # fmt: skip
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
