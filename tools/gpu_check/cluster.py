"""Part cluster: `longhand serve` and the tokens it answers, greedy, beside those of --device cpu.

    cluster.py --record FILE --bin DIR --model DIR     what --device cpu answers; scripts/gpu_bundle packs it
"""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import urllib.request

from comm import SHARED_GPU_NCCL, nccl_libraries
from processes import run, tail
from report import Goal

NUM_TOKENS = 32
PROMPTS = ["Describe a picture.", "Write about the sea, and about a ship that never came home.",
           "One two three four five six seven eight nine ten. " * 12]
START_TIMEOUT_S = 60
PART_S = 270         # no cluster is started later
ANSWER_TIMEOUT_S = 40


class Cluster:
    """`longhand serve` on ports of its own choice; a context manager."""

    def __init__(self, longhand, model, device, dtype, env, ranks=1):
        self._longhand, self._env = longhand, env
        self._folder = tempfile.TemporaryDirectory(prefix="longhand-gpu-check-")
        folder = pathlib.Path(self._folder.name)
        self._ready, self._log = folder / "ready.json", folder / "log"
        self._command = [str(longhand), "serve", "--model", str(model), "--device", device, "--dtype", dtype,
                         "--tensor-parallel-size", str(ranks), "--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0",
                         "--kv-cache-memory-bytes", "64mb", "--ready-file", str(self._ready)]

    def __enter__(self):
        began = time.monotonic()
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             env={**os.environ, **self._env}, start_new_session=True)
        while not self._ready.exists():
            if self._process.poll() is not None or time.monotonic() - began > START_TIMEOUT_S:
                text = self.log()
                self.__exit__()
                raise RuntimeError(f"longhand serve was not ready: {tail(text, 12)}")
            time.sleep(0.05)
        self.start_seconds = time.monotonic() - began
        self.ready = json.loads(self._ready.read_text())
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._folder.cleanup()

    def log(self):
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def metrics(self):
        texts = {}
        for name, address in [("coordinator", self.ready["metrics"]), ("worker", self.ready["worker_metrics"][0])]:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                texts[name] = answer.read().decode()
        return texts

    def answer(self, prompt):
        done = run([self._longhand, "generate", "--endpoint", self.ready["grpc"], "--prompt", prompt, "--temperature", 0,
                    "--repetition-penalty", 1, "--max-tokens", NUM_TOKENS, "--ignore-eos", "--logprobs", 2, "--json"],
                   ANSWER_TIMEOUT_S, self._env)
        if done.status != 0:
            raise RuntimeError(f"longhand generate: {done.how()}: {tail(done.stderr)}")
        answer = json.loads(done.stdout)
        return {"prompt": prompt, "token_ids": answer["token_ids"],
                # How sure each choice was: the two best logits' distance.
                "gaps": [round(step["top"][0]["logprob"] - step["top"][1]["logprob"], 6) for step in answer["logprobs"]],
                "logprobs": [round(step["logprob"], 6) for step in answer["logprobs"]]}


def answers(cluster):
    return [cluster.answer(prompt) for prompt in PROMPTS]


def compare(expected, actual):
    """Where two answers part, what the choice hung on there, and how far log-probabilities before it differ."""
    pairs = list(zip(expected["token_ids"], actual["token_ids"]))
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    same = len(pairs) if first is None else first
    error = max((abs(a - b) for a, b in zip(expected["logprobs"][:same], actual["logprobs"][:same])), default=0.0)
    return {"tokens": len(pairs), "equal_tokens": same, "first_divergence": first,
            "expected_gap_there": None if first is None else expected["gaps"][first], "largest_logprob_error": round(error, 6)}


def shared_gpu(device, env):
    """The environment in which two ranks may share a GPU, or why none does."""
    if device != "cuda":
        return env, ""
    for version, library in nccl_libraries():
        if version >= SHARED_GPU_NCCL:
            folders = [str(pathlib.Path(library).parent)] if "/" in library else []
            return {**env, "NCCL_MULTI_RANK_GPU_ENABLE": "1", "NCCL_SOCKET_IFNAME": "lo",
                    "LD_LIBRARY_PATH": ":".join([env["LD_LIBRARY_PATH"], *folders])}, ""
    return None, "no NCCL here lets ranks share a GPU; 2.30 does"


def cluster(report, bundle, device):
    deadline = time.monotonic() + PART_S
    recorded = json.loads((bundle.folder / "greedy.json").read_text(encoding="utf-8"))
    for dtype, ranks in (("float32", 1), ("bfloat16", 1), ("float32", 2)):
        what = f"cluster, --device {device} --dtype {dtype}" + (f", {ranks} ranks" if ranks > 1 else "")
        env, why = (bundle.env, "") if ranks == 1 else shared_gpu(device, bundle.env)
        if env is None or time.monotonic() > deadline:
            report.unavailable(what, why or "no time was left")
            continue
        try:
            with Cluster(bundle.program("longhand"), bundle.folder / "nano", device, dtype, env, ranks) as running:
                actual = answers(running)
                metrics = running.metrics()
                seconds = running.start_seconds
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            report.add({"dtype": dtype, "ranks": ranks, "status": "fail", "message": str(error)})
            report.goal(Goal(what, "answers", tail(str(error), 1)[:100], None, False))
            continue
        compared = [compare(*pair) for pair in zip(recorded[dtype], actual)]
        report.add({"dtype": dtype, "ranks": ranks, "ready_seconds": round(seconds, 2), "compared": compared, "answers": actual,
                    "metrics": metrics})
        equal = sum(one["equal_tokens"] for one in compared)
        total = sum(one["tokens"] for one in compared)
        error = max(one["largest_logprob_error"] for one in compared)
        measured = f"{equal} of {total} before a divergence, logprobs within {error:.2g}"
        gaps = [one["expected_gap_there"] for one in compared if one["first_divergence"] is not None]
        if gaps:
            measured += f"; gaps there {', '.join(f'{gap:.3g}' for gap in gaps)}"
        # float32 is the same arithmetic in another order. bf16 activations round each layer, which the CPU's do not: a
        # divergence is honest where the CPU's choice hung on no more than both candidates may be off.
        passed = equal == total if dtype == "float32" else all(gap <= 2 * error for gap in gaps)
        report.goal(Goal(what, "the CPU's tokens" + ("" if dtype == "float32" else " but near ties"), measured,
                         equal / total, passed))
        print(f"{what}: ready in {seconds:.1f} s; {measured}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    options = parser.parse_args()
    recorded = {}
    for dtype in ("float32", "bfloat16"):
        with Cluster(options.bin / "longhand", options.model, "cpu", dtype, {}) as running:
            recorded[dtype] = answers(running)
    options.record.write_text(json.dumps(recorded) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
