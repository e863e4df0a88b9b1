"""Compares whole answers of real processes with the reference: seeds, layouts, TP and chunk sizes.

    parity_grid.py --binaries build/release/bin --checkpoint tests/data/nano --recording tests/data/recording
    parity_grid.py --binaries build/release/bin --make nano,tiny,hd128 --work /tmp/grid

The first form compares with what is recorded and needs the standard library alone. The second makes fresh
checkpoints and recordings first (kept in --work), and needs the packages of requirements.txt.
"""

import argparse
import dataclasses
import itertools
import pathlib
import subprocess
import sys
import time

from local_cluster import ClusterError, LocalCluster
from recorded import NOISE, Recorded

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Subject:
    name: str
    checkpoint: pathlib.Path
    recording: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Fresh:
    """A checkpoint to make, and the TP sizes that its heads allow."""

    options: tuple[str, ...]
    tp_sizes: tuple[int, ...] = (1, 2, 4)
    new_tokens: int = 64


def _fresh(preset: str, seed: int, *more: str, **fields) -> Fresh:
    return Fresh(("--preset", preset, "--seed", str(seed), *more), **fields)


# Each layout, dtype and kind of head occurs; seeds are not those of tests/data.
FRESH = {
    "nano": {
        "nano-published": _fresh("nano", 101),
        "nano-tuned": _fresh("nano", 102, "--layout", "tuned", "--shards", "2"),
        "nano-mixed-tied": _fresh("nano", 103, "--layout", "mixed", "--tie"),
        "nano-nested-f32": _fresh("nano", 104, "--layout", "nested", "--dtype", "float32", "--shards", "3"),
    },
    "tiny": {
        "tiny-tuned": _fresh("tiny", 105, "--layout", "tuned"),
        "tiny-nested": _fresh("tiny", 106, "--layout", "nested"),
    },
    "hd128": {"hd128-published": _fresh("hd128", 107, "--shards", "2")},
    "realdims": {"realdims": _fresh("realdims", 108, "--shards", "4", tp_sizes=(1, 2), new_tokens=16)},
    "realdims72": {
        "realdims72": _fresh(
            "realdims72", 109, "--vocab-size", "8192", "--shards", "4", tp_sizes=(1, 2), new_tokens=16
        )
    },
}


def make(name: str, fresh: Fresh, work: pathlib.Path, python: str) -> Subject:
    """Makes checkpoint and recording where --work does not hold them yet."""
    subject = Subject(name, work / name / "checkpoint", work / name / "recording")
    seed = fresh.options[fresh.options.index("--seed") + 1]
    if not (subject.recording / "recording.json").exists():
        print(f"{name}: making the checkpoint and its recording", flush=True)
        subprocess.run(
            [python, HERE / "make_checkpoint.py", *fresh.options, "--out", subject.checkpoint],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        subprocess.run(
            [
                python,
                HERE / "record.py",
                subject.checkpoint,
                "--out",
                subject.recording,
                "--seed",
                seed,
                "--new-tokens",
                str(fresh.new_tokens),
                "--no-bfloat16",
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    return subject


def num_equal(a: list, b: list) -> int:
    """How many elements are the same before the first difference."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


class Comparison:
    """Answers of one cluster against one recording."""

    def __init__(self, recorded: Recorded, cluster: LocalCluster, cases: list[str]):
        self._recorded = recorded
        self._cluster = cluster
        self._cases = cases
        self._num_new = recorded.notes["about"]["new_tokens"]
        self.num_compared = 0
        self.faults: list[str] = []

    def _start(self, case: str, repetition_penalty: float):
        return self._cluster.start_generate(
            case,
            self._recorded.messages(case),
            temperature=0,
            max_tokens=self._num_new,
            ignore_eos=True,
            repetition_penalty=repetition_penalty,
            logprobs=0,
        )

    def _check(self, how: str, case: str, result: dict, penalty: str = "") -> None:
        self.num_compared += 1
        prompt_ids = self._recorded.values(f"case/{case}/input_ids")
        if result["prompt_token_ids"] != prompt_ids:
            first = num_equal(result["prompt_token_ids"], prompt_ids)
            self.faults.append(f"{how} {case}: the prompt's ids differ from token {first} on")
        expected = self._recorded.values(f"case/{case}/greedy_ids{penalty}")
        actual = result["token_ids"]
        num_certain = self._recorded.num_certain(f"case/{case}/greedy_margin{penalty}")
        same = num_equal(actual, expected)
        if len(actual) != len(expected):
            self.faults.append(f"{how} {case}: {len(actual)} tokens, asked for {len(expected)}")
        elif same < num_certain:
            self.faults.append(f"{how} {case}: token {same} is {actual[same]}, recorded {expected[same]}")
        elif not penalty:
            self._check_logprobs(how, case, result["logprobs"][:same])

    def _check_logprobs(self, how: str, case: str, logprobs: list[dict]) -> None:
        recorded = self._recorded.values(f"case/{case}/greedy_logprobs")
        for i, (actual, expected) in enumerate(zip(logprobs, recorded, strict=False)):
            if not abs(actual["logprob"] - expected) <= NOISE:
                self.faults.append(
                    f"{how} {case}: log-probability {i} is {actual['logprob']}, recorded {expected}"
                )
                return

    def alone(self) -> None:
        for case in self._cases:
            self._check("alone", case, self._start(case, 1.0).result())
            self._check("penalty 1.05", case, self._start(case, 1.05).result(), "_rep1.05")

    def together(self) -> None:
        """Eight at once: a ragged batch, in whatever order they arrive."""
        for first in range(0, len(self._cases), 8):
            running = [self._start(case, 1.0) for case in self._cases[first : first + 8]]
            for generation in running:
                self._check("in a batch", generation.name, generation.result())


def run_setting(subject: Subject, args: argparse.Namespace, tp_size: int, chunk: int) -> list[str]:
    """Starts a cluster, compares every case, prints one line."""
    recorded = Recorded(subject.recording)
    cases = [c for c in args.cases.split(",") if c] or recorded.case_names()
    setting = f"{subject.name} TP {tp_size} chunk {chunk} {args.device}"
    options = {
        "tensor-parallel-size": tp_size,
        "max-num-batched-tokens": chunk,
        "max-num-seqs": min(8, chunk),
        "dtype": "float32",
        "threads": 1,
        "device": args.device,
        "max-model-len": args.max_model_len,
    }
    began = time.monotonic()
    try:
        with LocalCluster(args.binaries, subject.checkpoint, options) as cluster:
            comparison = Comparison(recorded, cluster, cases)
            comparison.alone()
            comparison.together()
    except ClusterError as error:
        print(f"FAIL {setting}: {error}", flush=True)
        return [setting]
    seconds = time.monotonic() - began
    verdict = "FAIL" if comparison.faults else "ok  "
    print(f"{verdict} {setting}: {comparison.num_compared} answers in {seconds:.0f} s", flush=True)
    for fault in comparison.faults:
        print(f"     {fault}", flush=True)
    return [setting] if comparison.faults else []


def subjects(args: argparse.Namespace) -> list[tuple[Subject, tuple[int, ...]]]:
    if args.recording:
        return [(Subject(args.checkpoint.name, args.checkpoint, args.recording), (1, 2, 4))]
    return [
        (make(name, fresh, args.work, args.python), fresh.tp_sizes)
        for group in args.make.split(",")
        for name, fresh in FRESH[group].items()
    ]


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("--recording", type=pathlib.Path)
    parser.add_argument("--make", default="nano", help=f"of {','.join(FRESH)}")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/longhand-parity"))
    parser.add_argument("--python", default=sys.executable, help="one that has the packages")
    parser.add_argument("--tp", type=numbers, default=[1, 2, 4])
    parser.add_argument("--chunks", type=numbers, default=[16, 64, 2048], help="tokens a step")
    parser.add_argument("--cases", default="", help="comma-separated; all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-model-len", type=int, default=2048)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    failed, count = [], 0
    for subject, tp_sizes in subjects(args):
        for tp_size, chunk in itertools.product([tp for tp in args.tp if tp in tp_sizes], args.chunks):
            failed += run_setting(subject, args, tp_size, chunk)
            count += 1
    print(f"{count} settings, {len(failed)} failed" + "".join(f"\n  {setting}" for setting in failed))
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
