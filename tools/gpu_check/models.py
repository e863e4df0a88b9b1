"""Part models: model_bench with the real shapes, and the goals that can be judged from it."""
import json
import subprocess
import tempfile
import threading

from processes import tail
from report import Goal

# A model is made in seconds and measured in seconds; what has not begun by the budget is reported as skipped.
SHAPES = {"cuda": [("7b", 90), ("72b-tp8", 90)], "emulated": [("tiny", 20), ("tiny-tp2", 20)]}
STARTED_LAST_S = 40

# The share of the read bandwidth measured in the same run.
DECODE_GOALS = [("G8 7B, batch 1, context 1k", "7b", 1, 1024, 0.85),
                ("G9 7B, batch 64, context 8k", "7b", 64, 8192, 0.80),
                ("G10 72B rank of TP 8 alone, batch 1", "72b-tp8", 1, 1024, 0.85)]


def measure(report, bundle, backend, shape, budget_s):
    """Each line is in the report as soon as it is said."""
    command = [str(bundle.program("model_bench")), "--device", backend, "--shape", shape, "--budget-s", str(budget_s)]
    if backend == "emulated":
        command += ["--steps", "2", "--repetitions", "1", "--images", "1"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
        limit = threading.Timer(budget_s + STARTED_LAST_S, process.kill)
        limit.start()
        for line in process.stdout:
            if line.startswith("{"):
                report.add(json.loads(line))
                print(summary(report.records[-1]), flush=True)
        status = process.wait()
        limit.cancel()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")
    if status != 0:
        report.goal(Goal(f"model_bench {shape}", "runs to its end", f"exit status {status}: {tail(said, 1)[:120]}", None, False))


def summary(record):
    skip = ("kind", "shape", "backend", "device", "ops", "first_tokens")
    return f"{record['shape']} {record['kind']:8}" + "".join(
        f"  {name} {value:.5g}" if isinstance(value, (int, float)) else f"  {name} {value}"
        for name, value in record.items() if name not in skip)


def models(report, bundle, backend):
    for shape, budget_s in SHAPES[backend]:
        measure(report, bundle, backend, shape, budget_s)
    judge(report)


def judge(report):
    for name, shape, batch, context, wanted in DECODE_GOALS:
        found = [r for r in report.records if r["kind"] == "decode" and (r["shape"], r["batch"], r["context"]) ==
                 (shape, batch, context) and "share_of_read" in r]
        if not found:
            report.unavailable(name, "not measured")
            continue
        share = found[0]["share_of_read"]
        report.goal(Goal(name, f">= {wanted:.0%} of the read roof",
                         f"{share:.1%}: {found[0]['ms_a_step']:.3g} ms, {found[0]['tokens_per_second']:.4g} tokens/s; "
                         f"device {found[0]['device_share_of_read']:.1%}", share / wanted, share >= wanted))
    images = [r for r in report.records if r["kind"] == "images" and r["shape"] == "7b" and r["count"] == 1]
    if images:
        ms = images[0]["wall_ms"]
        report.goal(Goal("G12 image of 1M pixels", "<= 20 ms", f"{ms:.3g} ms, {images[0]['tflop_per_second']:.3g} TFLOP/s",
                         20 / ms, ms <= 20))
    prefill = [r for r in report.records if r["kind"] == "prefill" and r["shape"] == "7b" and r["tokens"] == 8192]
    if prefill:
        ms = prefill[0]["wall_ms"]
        report.goal(Goal("G13 prefill of 8k, 7B", "<= 235 ms (an H200's goal)",
                         f"{ms:.4g} ms, {prefill[0]['tflop_per_second']:.3g} TFLOP/s", 235 / ms, ms <= 235))
