"""Has a running cluster write long documents about worlds it has never seen, and says how good they are.

    python3 demo/check_documents.py --endpoint 127.0.0.1:8001 --seed 7 --count 6 --totals 2000,5000,10000 --json

Run from the repository's root, with the bundled model served. Needs only Python's standard library: pictures are drawn
here, and every document goes through `build/release/bin/longhand write --json`. Prints one object of shares:
  documents_within_10pct    documents within 10% of the length asked for
  sections_within_10pct     sections within 10% of their count in the plan
  plans_ok                  plans that parse, count on from 1 and add up within 5%
  facts_right               documents with a picture whose first section states every fact of it and no other
  repeated_20_word_windows  windows of 20 words that occurred before in the same document
  sentences_repeated        sentences that did
  S_l                       the length score of LongWriter-V's evaluation, 0 to 100
A document whose plan cannot be read counts as wrong; any other failure ends the check.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check  # noqa: E402
import figures  # noqa: E402
import picture  # noqa: E402
import tasks  # noqa: E402

TIMEOUT_S = 3600  # of one document
NO_PLAN = "the plan cannot be read"  # how the client says so


class Client:
    """Documents through the command line client."""

    def __init__(self, binary, endpoint, temperature, folder):
        self._command = [binary, "write", "--endpoint", endpoint, "--json", "--temperature", str(temperature),
                         "--repetition-penalty", "1"]
        self._folder = folder

    def write(self, wish, world, seed):
        """(plan, [section texts]), both empty where no plan could be read."""
        command = self._command + ["--seed", str(seed), "--prompt", wish]
        if world:
            path = os.path.join(self._folder, f"{world.seed}.png")
            picture.write_png(world, path)
            command += ["--image", path]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=TIMEOUT_S, check=False)
        if done.returncode == 1 and NO_PLAN in done.stderr.strip().splitlines()[-1]:
            return "", []
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:2])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        made = check.last_object(done.stdout)
        return made["plan"], [section["response"] for section in made["sections"]]


def wishes(seed, count, totals):
    """[(language, total, world or None, instruction)] of held-back documents; lengths, languages and pictures alternate."""
    rng = random.Random(f"check documents {seed}")
    for i in range(count):
        lang, total = ("en", "zh")[i % 2], totals[i % len(totals)]
        world = figures.held_back(seed, 20_000 + i) if i % 4 < 2 else None
        theme = None if world else tasks.random_theme(lang, rng, others=False)
        yield lang, total, world, tasks.instruction(total, lang, rng, world, theme)


def check_documents(write, seed, count, totals, report):
    """Figures of documents. `write(wish, world, seed)` is the model."""
    documents = []
    for i, (lang, total, world, wish) in enumerate(wishes(seed, count, totals)):
        document = figures.Document(total, world, *write(wish, world, seed * 1000 + i))
        documents.append(document)
        report(f"{i + 1}/{count} {lang}: {document.num_words} of {total} words in {len(document.sections)} sections, "
               f"{figures.repeated_windows(document.text):.4f} of 20-word windows repeated")
    return figures.judge(documents)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, metavar="H:P", help="gRPC address of the cluster")
    parser.add_argument("--seed", type=int, default=1, help="which held-back worlds, and the draws")
    parser.add_argument("--count", type=int, default=6, help="documents")
    parser.add_argument("--totals", default="2000,5000,10000", help="lengths in words, by turns")
    parser.add_argument("--temperature", type=float, default=.6, help="0 is greedy")
    parser.add_argument("--json", action="store_true", help="nothing but the object on standard output")
    parser.add_argument("--binary", default="build/release/bin/longhand", help="the command line client")
    args = parser.parse_args()
    if args.count < 1 or args.seed < 0:
        parser.error("--count must be at least 1, --seed at least 0")
    try:
        totals = [int(total) for total in args.totals.split(",")]
    except ValueError:
        parser.error(f"--totals must be numbers and commas, not {args.totals}")
    if min(totals) < 200:  # AgentWrite's shortest section
        parser.error(f"--totals must each be at least 200, not {min(totals)}")
    with tempfile.TemporaryDirectory() as folder:
        client = Client(args.binary, args.endpoint, args.temperature, folder)
        stream = sys.stderr if args.json else sys.stdout
        try:
            result = check_documents(client.write, args.seed, args.count, totals,
                                     lambda line: print(line, file=stream, flush=True))
        except (RuntimeError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            print(f"check_documents: {error}", file=sys.stderr)
            return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
