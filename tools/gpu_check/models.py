"""Part models: model_bench with the real shapes, and the goals that can be judged from it."""
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from report import Goal

PART_S = 440         # what has not begun by then is reported as not measured
STARTED_LAST_S = 40  # what a run may take beyond its budget
LEAST_S = 15         # a model is not begun for less
EMULATED_S = 3600    # instead of both, where nothing is measured


@dataclasses.dataclass(frozen=True)
class Run:
    """One start of model_bench: making the model takes seconds to half a minute, and what is measured the rest."""
    shape: str
    quantization: str = "none"
    budget_s: float = 60
    options: tuple = ()

    def name(self):
        return " ".join(["model_bench", self.shape, self.quantization, *self.options[:1]])


RUNS = {
    "cuda": [Run("7b", budget_s=70),
             Run("72b-tp8", budget_s=60),
             Run("7b", "fp8", 35, ("--cells", "1x1024,16x4096,64x8192", "--prefill", "8192", "--images", "0")),
             Run("72b-tp8", "fp8", 35, ("--cells", "1x1024,16x4096,64x8192", "--prefill", "8192", "--images", "0")),
             Run("72b", "fp8", 60, ("--cells", "1x1024,1x8192,16x1024", "--prefill", "2048", "--images", "1")),
             Run("7b", budget_s=40, options=("--compare-graphs", "--cells", "1x1024,16x4096,64x2048", "--steps", "6",
                                             "--prefill", "0", "--images", "0")),
             Run("7b", budget_s=40, options=("--compare-batches", "--cells", "64x1024", "--prefill", "2048,8192",
                                             "--images", "0")),
             Run("7b", budget_s=30, options=("--no-deterministic", "--cells", "1x1024", "--prefill", "2048,8192", "--images", "0")),
             Run("7b", "awq", 30, ("--cells", "1x1024,16x4096", "--prefill", "2048", "--images", "0"))],
    "emulated": [Run("tiny", budget_s=20), Run("tiny-tp2", budget_s=20),
                 Run("tiny", "fp8", 20, ("--cells", "1x40", "--prefill", "20", "--images", "0")),
                 Run("tiny", budget_s=20, options=("--no-deterministic", "--cells", "1x40", "--prefill", "20", "--images", "0")),
                 Run("tiny-tp2", budget_s=20, options=("--compare-graphs", "--cells", "3x300", "--prefill", "0", "--images", "0")),
                 Run("tiny", budget_s=20, options=("--compare-batches", "--cells", "7x40", "--prefill", "20", "--images", "0"))],
}

# The share of the read bandwidth measured in the same run.
DECODE_GOALS = [("G8 7B, batch 1, context 1k", "7b", "none", 1, 1024, 0.85),
                ("G9 7B, batch 64, context 8k", "7b", "none", 64, 8192, 0.80),
                ("G10 72B rank of TP 8 alone, batch 1", "72b-tp8", "none", 1, 1024, 0.85),
                ("G10 72B rank of TP 8 alone, fp8, batch 1", "72b-tp8", "fp8", 1, 1024, 0.78),
                ("G11 72B in fp8, one GPU, batch 1, context 1k", "72b", "fp8", 1, 1024, 0.85)]


def measure(report, bundle, backend, run, budget_s, patience_s):
    """Each line is in the report as soon as it is said."""
    command = [str(bundle.program("model_bench")), "--device", backend, "--shape", run.shape, "--quantization",
               run.quantization, "--budget-s", str(budget_s)]
    if backend == "emulated":
        command += ["--steps", "2", "--repetitions", "1"] + ([] if "--images" in run.options else ["--images", "1"])
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command + list(run.options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=errors, text=True, env={**os.environ, **bundle.cuda_env})
        limit = threading.Timer(budget_s + patience_s, process.kill)
        limit.start()
        for line in process.stdout:
            if line.startswith("{"):
                report.add(json.loads(line))
                print(summary(report.records[-1]), flush=True)
        status = process.wait()
        limit.cancel()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")
    if status == 0:
        return
    # A card that is too small has not failed.
    no_room = "bytes of memory and may take" in said or "out of memory" in said
    first = (said.strip().splitlines() or [""])[0]
    how = "did not end in time" if status == -signal.SIGKILL else f"exit status {status}: {first[:160]}"
    report.goal(Goal(run.name(), "runs to its end", how, None, None if no_room else False))


def summary(record):
    skip = ("kind", "shape", "backend", "device", "ops", "first_tokens")
    return f"{record['shape']} {record['kind']:8}" + "".join(
        f"  {name} {value:.5g}" if isinstance(value, (int, float)) else f"  {name} {value}"
        for name, value in record.items() if name not in skip)


def models(report, bundle, backend):
    part_s, patience_s = (PART_S, STARTED_LAST_S) if backend == "cuda" else (EMULATED_S, EMULATED_S)
    deadline = time.monotonic() + part_s
    for run in RUNS[backend]:
        budget_s = min(run.budget_s, deadline - STARTED_LAST_S - time.monotonic())
        if budget_s < LEAST_S:
            report.unavailable(run.name(), "no time was left")
            continue
        measure(report, bundle, backend, run, round(budget_s), patience_s)
    judge(report)


def records_of(report, kind, shape="7b", quantization="none", deterministic=1, **wanted):
    return [r for r in report.records if r["kind"] == kind and r["shape"] == shape
            and r.get("quantization", "none") == quantization and r.get("deterministic", 1) == deterministic
            and all(r.get(key) == value for key, value in wanted.items())]


def gemm_rate(report):
    """TFLOP/s of the largest product in bf16, as part kernels found it with torch; None where that has not run here."""
    try:
        kernels = json.loads(report.path.with_name("kernels.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    rates = [p["flops"] / p["ns"] / 1e3 for p in kernels.get("peers", []) if p["op"] == "roof" and p.get("flops") and p.get("ns")]
    return max(rates, default=None)


def judge(report):
    for name, shape, quantization, batch, context, wanted in DECODE_GOALS:
        found = [r for r in records_of(report, "decode", shape, quantization, batch=batch, context=context)
                 if "share_of_read" in r]
        if not found:
            report.unavailable(name, "not measured")
            continue
        share = found[0]["share_of_read"]
        report.goal(Goal(name, f">= {wanted:.0%} of the read roof",
                         f"{share:.1%}: {found[0]['ms_a_step']:.3g} ms, {found[0]['tokens_per_second']:.4g} tokens/s; "
                         f"device {found[0]['device_share_of_read']:.1%}", share / wanted, share >= wanted))
    judge_vision(report)
    judge_prefill(report)
    judge_graphs(report)
    judge_bits(report)


def judge_rate(report, name, wanted, record):
    rate = gemm_rate(report)
    if record is None or rate is None:
        report.unavailable(name, "not measured" if record is None else "part kernels has no rate of torch's matmul here")
        return
    share = record["tflop_per_second"] / rate
    report.goal(Goal(name, f">= {wanted:.0%} of torch's matmul", f"{share:.1%}: {record['tflop_per_second']:.4g} of {rate:.4g} TFLOP/s",
                     share / wanted, share >= wanted))


def judge_vision(report):
    images = records_of(report, "images", count=1)
    if images:
        ms = images[0]["wall_ms"]
        report.goal(Goal("G12 image of 1M pixels", "<= 20 ms", f"{ms:.3g} ms, {images[0]['tflop_per_second']:.3g} TFLOP/s",
                         20 / ms, ms <= 20))
    else:
        report.unavailable("G12 image of 1M pixels", "not measured")
    judge_rate(report, "G12 16 images", 0.55, next(iter(records_of(report, "images", count=16)), None))


def judge_prefill(report):
    prefill = next(iter(records_of(report, "prefill", tokens=8192)), None)
    if prefill:
        ms = prefill["wall_ms"]
        report.goal(Goal("G13 prefill of 8k, 7B", "<= 235 ms (an H200's goal)",
                         f"{ms:.4g} ms, {prefill['tflop_per_second']:.3g} TFLOP/s", 235 / ms, ms <= 235))
    judge_rate(report, "G13 prefill of 8k, 7B, beside the matmul", 0.65, prefill)


def judge_graphs(report):
    decode = [r for r in records_of(report, "decode") if r.get("graphs") and "idle_p99_us" in r]
    name = "G14 the device's wait between replayed steps, p99"
    if decode:
        gaps = {f"{r['batch']} x {r['context']}": r["idle_p99_us"] for r in decode}
        worst = max(gaps, key=gaps.get)
        # A step without a gap has beaten the goal by more than can be told.
        report.goal(Goal(name, "<= 20 us", f"worst {gaps[worst]:.0f} us ({worst}) of {len(gaps)}",
                         20 / max(gaps[worst], 0.1), gaps[worst] <= 20))
    else:
        report.unavailable(name, "not measured")
    judge_equal(report, "G14 replayed steps bit-equal to eager ones", ["graphs"])


def judge_bits(report):
    judge_equal(report, "G15 the same bits in batches of 1, 7 and 64, and recomputed", ["batches", "recomputed"])
    judge_slowdown(report)


def judge_slowdown(report):
    name = "G15 slowdown of being deterministic, prefill of 8k, 7B"
    ours, other = (next(iter(records_of(report, "prefill", deterministic=on, tokens=8192)), None) for on in (1, 0))
    if ours is None or other is None:
        report.unavailable(name, "not measured")
        return
    slowdown = ours["wall_ms"] / other["wall_ms"]
    report.goal(Goal(name, "<= 1.15", f"{slowdown:.3f}: {ours['wall_ms']:.4g} beside {other['wall_ms']:.4g} ms", 1.15 / slowdown,
                     slowdown <= 1.15))


def judge_equal(report, name, kinds):
    found = [r for kind in kinds for r in records_of(report, kind)]
    if {r["kind"] for r in found} != set(kinds):
        report.unavailable(name, "not measured")
        return
    different = sum(r["other_logits"] + r.get("other_tokens", 0) for r in found)
    report.goal(Goal(name, "no bit differs", f"{different} logits or tokens differ in {len(found)} comparisons", None, different == 0))
