"""Asks a running cluster about worlds it has never seen, and says how often it is right.

    python3 demo/check.py --endpoint 127.0.0.1:8001 --seed 7 --count 12 --json

Run from the repository's root, with the bundled model served. Needs only Python's standard library: pictures are drawn
here, and every request goes through `build/release/bin/longhand generate --json`. Prints one object of shares:
  facts_right           descriptions that state every fact of their picture and no other
  length_within_10pct   texts of 50 to 800 words that are within 10% of the length asked for
  plans_ok              plans of 500 to 10,000 words that parse, count on from 1 and add up within 5%
  swapped_image_changes pairs of pictures for which one and the same question gets two answers
"""
import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import picture  # noqa: E402
import tasks  # noqa: E402
import world as world_lib  # noqa: E402

HELD_BACK = 1 << 32  # Training uses seeds below 2**31.
_SECTION = re.compile(r"^Section (\d+) - Main Point: (.+) - Word Count: (\d+)$")


def read_plan(text):
    """[(number, main point, word count)] of the lines of a plan, or [] if one of them is not a section."""
    rows = [_SECTION.match(line) for line in text.strip().splitlines()]
    return [(int(row[1]), row[2], int(row[3])) for row in rows] if rows and all(rows) else []


def plan_is_right(text, total):
    rows = read_plan(text)
    in_order = [number for number, _, _ in rows] == list(range(1, len(rows) + 1))
    return bool(rows) and in_order and abs(sum(words for _, _, words in rows) - total) <= .05 * total


def length_is_right(text, wanted):
    return abs(world_lib.count_words(text) - wanted) <= .1 * wanted


def last_object(output):
    """The JSON object that ends `output`; what comes before it is for people."""
    decoder = json.JSONDecoder()
    for at in (match.start() for match in re.finditer(r"^\{", output, re.MULTILINE)):
        try:
            found, end = decoder.raw_decode(output, at)
        except json.JSONDecodeError:
            continue
        if not output[end:].strip():
            return found
    raise ValueError(f"no JSON object at the end of the output: {output[-200:]!r}")


class Client:
    """Requests through the command line client; always the same seed, so that a check can be repeated."""

    def __init__(self, binary, endpoint, folder, temperature):
        self._binary, self._endpoint, self._folder, self._temperature = binary, endpoint, folder, temperature

    def _image(self, world):
        path = os.path.join(self._folder, f"{world.seed}.png")
        if not os.path.exists(path):
            picture.write_png(world, path)
        return path

    def ask(self, prompt, worlds, max_tokens):
        command = [self._binary, "generate", "--endpoint", self._endpoint, "--json", "--seed", "1",
                   "--temperature", str(self._temperature), "--repetition-penalty", "1",
                   "--max-tokens", str(max_tokens), "--prompt", prompt]
        for world in worlds:
            command += ["--image", self._image(world)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:2])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return last_object(done.stdout)["text"]


def requests(seed, count):
    """`count` rounds of held-back requests; languages and pictures alternate."""
    rng = random.Random(f"check {seed}")
    for i in range(count):
        lang = ("en", "zh")[i % 2]
        first, second = (world_lib.make_world(HELD_BACK + (seed * 1_000_003 + 2 * i + k) % HELD_BACK) for k in (0, 1))
        words = 50 * rng.randint(1, 16)
        total = 500 * rng.randint(1, 20)
        yield {"describe": tasks.describe(first, lang, rng), "other": second,
               "text": tasks.one_shot(words, lang, rng, first if i % 4 < 2 else None),
               "plan": tasks.plan(total, lang, rng, second if i % 4 >= 2 else None)}


def check(ask, seed, count, report):
    """Shares of right answers. `ask(prompt, worlds, max_tokens)` is the model."""
    right = {"facts_right": 0, "length_within_10pct": 0, "plans_ok": 0, "swapped_image_changes": 0}
    for i, request in enumerate(requests(seed, count)):
        describe, text, plan = request["describe"], request["text"], request["plan"]
        seen = ask(describe.prompt, describe.worlds, 200)
        swapped = ask(describe.prompt, [request["other"]], 200)
        written = ask(text.prompt, text.worlds, 3 * text.num_words + 200)
        outline = ask(plan.prompt, plan.worlds, 1200)
        results = {
            "facts_right": world_lib.read_facts(seen) == world_lib.facts(describe.worlds[0]),
            "length_within_10pct": length_is_right(written, text.num_words),
            "plans_ok": plan_is_right(outline, plan.num_words),
            "swapped_image_changes": world_lib.read_facts(seen) != world_lib.read_facts(swapped)}
        for name, good in results.items():
            right[name] += good
        report(f"{i + 1}/{count} {describe.lang}: " + ", ".join(f"{name} {'yes' if good else 'NO'}" for name, good in
                                                              results.items()) +
               f" ({world_lib.count_words(written)} of {text.num_words} words)")
    return {name: round(number / count, 4) for name, number in right.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, metavar="H:P", help="gRPC address of the cluster")
    parser.add_argument("--seed", type=int, default=1, help="which held-back worlds")
    parser.add_argument("--count", type=int, default=12, help="rounds of four requests and a swapped picture")
    parser.add_argument("--temperature", type=float, default=0., help="0 is greedy")
    parser.add_argument("--json", action="store_true", help="nothing but the object on standard output")
    parser.add_argument("--binary", default="build/release/bin/longhand", help="the command line client")
    args = parser.parse_args()
    if args.count < 1:
        parser.error(f"--count must be at least 1, not {args.count}")
    with tempfile.TemporaryDirectory() as folder:
        client = Client(args.binary, args.endpoint, folder, args.temperature)
        stream = sys.stderr if args.json else sys.stdout
        try:
            shares = check(client.ask, args.seed, args.count, lambda line: print(line, file=stream, flush=True))
        except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            print(f"check: {error}", file=sys.stderr)
            return 1
    print(json.dumps(shares))
    return 0


if __name__ == "__main__":
    sys.exit(main())
