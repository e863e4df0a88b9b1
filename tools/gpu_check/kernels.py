"""Part kernels: kernel_bench, then the same shapes through torch, cuDNN, FlashInfer and FlashAttention-3 where they are there, and
the goals that can be judged from both."""
import json
import math
import pathlib
import statistics
import sys
import tempfile
import time

from processes import run, tail
from report import Goal

# A process each: one fault hides no other group.
GROUPS = ["roof", "decode", "linear", "linear-quantized", "linear-varying", "decode-8bit", "prefill", "small", "vision", "sample", "cascade", "copy"]
GROUP_TIMEOUT_S = 60
PART_TIMEOUT_S = 450  # the peers have what the groups leave


def lines_of_json(text):
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def run_groups(report, bundle, extra, deadline):
    for group in GROUPS:
        left = deadline - time.monotonic()
        if left < 5:
            report.unavailable(f"kernel_bench --group {group}", "no time was left")
            continue
        done = run([bundle.program("kernel_bench"), "--group", group, *extra], min(GROUP_TIMEOUT_S, left), bundle.cuda_env)
        report.records.extend(lines_of_json(done.stdout))
        report.save()
        if done.status not in (0, 1):
            why = f"{done.how()}: {tail(done.stderr, 1)}"
            report.add({"op": "kernel_bench", "case": group, "status": "unavailable" if done.status == 3 else "fail",
                        "message": why})
            report.goal(Goal(f"kernel_bench --group {group}", "runs to its end", why[:100], None,
                             None if done.status == 3 else False))


def run_peers(report, timeout_s):
    with tempfile.TemporaryDirectory() as folder:
        cases = pathlib.Path(folder, "cases.json")
        cases.write_text(json.dumps([r for r in report.records if r.get("shape")]), encoding="utf-8")
        peers = run([sys.executable, pathlib.Path(__file__).with_name("torch_peers.py"), cases], timeout_s)
    report.data["peers"] = list(lines_of_json(peers.stdout))
    report.save()
    if peers.status != 0:
        report.unavailable("torch", f"{peers.how()}: {tail(peers.stderr, 1)[:100]}")


def kernels(report, bundle, extra=()):
    deadline = time.monotonic() + PART_TIMEOUT_S
    run_groups(report, bundle, extra, deadline)
    run_peers(report, max(10, deadline - time.monotonic()))
    judge(report)
    print_cases(report)


def read_roof(report):
    """Bytes per ns of the longest read, or None."""
    return next((r["bytes"] / r["ns"] for r in report.records if r["op"] == "roof" and r.get("ns")), None)


def key_of(record):
    return record["op"], record["case"], record.get("variant", "")


def peers_of(report, name="torch"):
    return {key_of(p): p for p in report.data.get("peers", []) if p.get("ns") and p.get("peer") == name}


def timed(report, op, variant=""):
    return [r for r in report.records if r["op"] == op and r.get("ns") and r.get("variant", "") == variant]


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values))


def judge_share(report, name, wanted, records, roof):
    """The worst share of the read roof among records."""
    if not records or roof is None:
        report.unavailable(name, "no case was timed")
        return
    shares = {r["case"]: r["bytes"] / r["ns"] / roof for r in records}
    worst = min(shares, key=shares.get)
    mean = geometric_mean(shares.values())
    report.goal(Goal(name, f"every case >= {wanted:.0%} of the read roof",
                     f"worst {shares[worst]:.1%} ({worst}), mean {mean:.1%} of {len(shares)}", shares[worst] / wanted,
                     shares[worst] >= wanted))


def why_not(report, peer):
    """What a peer said that timed nothing."""
    said = [p["message"] for p in report.data.get("peers", []) if peer in (p.get("peer"), p.get("case")) and p.get("message")]
    return f"{peer} timed none of the cases" + (f": {said[0][:80]}" if said else "")


def judge_ratio(report, name, goal, wanted, ratios, without, mean_wanted=None):
    """The worst of `ratios`, by case, and their geometric mean where one is wanted."""
    if not ratios:
        report.unavailable(name, without)
        return
    worst, mean = min(ratios, key=ratios.get), geometric_mean(ratios.values())
    passed = ratios[worst] >= wanted and (mean_wanted is None or mean >= mean_wanted)
    report.goal(Goal(name, goal, f"worst {ratios[worst]:.3f} ({worst}), mean {mean:.3f} of {len(ratios)}",
                     min(ratios[worst] / wanted, mean / mean_wanted if mean_wanted else math.inf), passed))


def judge_peer(report, name, wanted, records, peer="torch", mean_wanted=None):
    """Our speed over a peer's, the worst case."""
    peers = peers_of(report, peer)
    ratios = {r["case"]: peers[key_of(r)]["ns"] / r["ns"] for r in records if key_of(r) in peers}
    goal = f"every case >= {wanted:.2f} of {peer}'s speed"
    if mean_wanted:
        goal += f", mean >= {mean_wanted:.2f}"
    judge_ratio(report, name, goal, wanted, ratios, why_not(report, peer), mean_wanted)


def judge_variant(report, name, wanted, op, variant, chosen):
    """Our speed over that of our own kernel with bf16 weights, or KV."""
    plain = {r["case"]: r for r in timed(report, op) if chosen(r)}
    ratios = {r["case"]: plain[r["case"]]["ns"] / r["ns"] for r in timed(report, op, variant) if r["case"] in plain}
    judge_ratio(report, name, f"every case >= {wanted} of our bf16 speed", wanted, ratios, "no case was timed both ways")


def judge(report):
    roof = read_roof(report)
    failed = [r for r in report.records if r.get("status") == "fail"]
    report.goal(Goal("kernels run", "no failure", f"{len(failed)} failed", None, not failed))
    if roof is not None:
        report.data["read_gb_per_s"] = round(roof, 1)
    judge_attention(report, roof)
    judge_linear(report, roof)
    judge_peer(report, "VisionAttention beside torch SDPA", 1.0, timed(report, "VisionAttention"))
    judge_peer(report, "VisionAttention beside cuDNN", 0.75, timed(report, "VisionAttention"), "cudnn")
    judge_peer(report, "RmsNorm beside torch", 1.0, timed(report, "RmsNorm"))


def judge_attention(report, roof):
    decode = [r for r in timed(report, "PagedAttention") if r["case"].startswith("decode")]
    prefill = [r for r in timed(report, "PagedAttention") if r["case"].startswith("prefill")]
    judge_share(report, "G1 decode attention, >= 256 MB", 0.90, [r for r in decode if r["bytes"] >= 256e6], roof)
    judge_share(report, "G2 decode attention, 32 to 256 MB", 0.75, [r for r in decode if 32e6 <= r["bytes"] < 256e6], roof)
    small = [r for r in decode if r["bytes"] < 32e6]
    judge_peer(report, "G2 decode attention, < 32 MB, beside FlashInfer", 1.0, small, "flashinfer")
    judge_peer(report, "G2 decode attention, < 32 MB, beside FA3", 1.0, small, "fa3")
    judge_peer(report, "G3 decode attention beside FlashInfer", 0.95, decode, "flashinfer", mean_wanted=1.05)
    for variant in ("int8", "fp8"):
        judge_variant(report, f"G4 decode attention, KV in {variant}, >= 256 MB in bf16", 1.7, "PagedAttention", variant,
                      lambda r: r["case"].startswith("decode") and r["bytes"] >= 256e6)
    judge_peer(report, "G5 prefill attention beside FA3", 0.75, prefill, "fa3")
    judge_peer(report, "prefill attention beside FlashInfer", 1.0, prefill, "flashinfer")
    judge_peer(report, "prefill attention beside cuDNN", 0.75, prefill, "cudnn")
    judge_peer(report, "prefill attention beside torch SDPA", 1.0, prefill)


def judge_linear(report, roof):
    linear = timed(report, "Linear")
    for low, high in ((1, 1), (2, 8), (16, 64)):
        judge_peer(report, f"G6 Linear, {low} to {high} rows, beside cuBLAS", 1.0,
                   [r for r in linear if low <= r["shape"]["rows"] <= high])
    judge_peer(report, "Linear, more rows, beside cuBLAS", 1.0, [r for r in linear if r["shape"]["rows"] > 64])
    judge_share(report, "G6 Linear, 1 row, >= 64 MB", 0.88,
                [r for r in linear if r["shape"]["rows"] == 1 and r["bytes"] >= 64e6], roof)
    judge_variant(report, "G7 Linear in fp8, 1 to 64 rows", 1.7, "Linear", "fp8", lambda r: r["shape"]["rows"] <= 64)
    judge_variant(report, "G7 Linear in int4, 1 to 16 rows", 2.8, "Linear", "int4", lambda r: r["shape"]["rows"] <= 16)
    judge_varying(report)
    judge_peer(report, "Linear in fp8, more rows, beside cuBLAS", 1.0,
               [r for r in timed(report, "Linear", "fp8") if r["shape"]["rows"] > 64])


def judge_varying(report):
    """What deterministic sums cost a prefill's products: our time over that of the way that is taken without."""
    ours = {r["case"]: r["ns"] for r in timed(report, "Linear")}
    slowdowns = {r["case"]: ours[r["case"]] / r["ns"] for r in timed(report, "Linear", "cublaslt") if r["case"] in ours}
    name = "G15 slowdown of being deterministic, Linear of 2048 rows"
    if not slowdowns:
        said = [r.get("message", "") for r in report.records if r.get("variant") == "cublaslt"]
        report.unavailable(name, said[0][:100] if said else "not timed")
        return
    worst = max(slowdowns, key=slowdowns.get)
    report.goal(Goal(name, "every case <= 1.15",
                     f"worst {slowdowns[worst]:.3f} ({worst}), mean {geometric_mean(slowdowns.values()):.3f} of {len(slowdowns)}",
                     1.15 / slowdowns[worst], slowdowns[worst] <= 1.15))


def print_cases(report):
    roof = read_roof(report)
    peers = {name: peers_of(report, name) for name in ("torch", "cudnn", "flashinfer", "fa3")}
    for record in report.records:
        case = f"{record['case']} {record.get('variant', '')}"
        if not record.get("ns"):
            print(f"{record['op']:15} {case:66} {record['status']} {record.get('message', '')}")
            continue
        line = f"{record['op']:15} {case:66} {record['ns'] / 1e3:9.1f} us"
        if record["bytes"]:
            line += f" {record['bytes'] / record['ns']:7.0f} GB/s"
            line += f" {record['bytes'] / record['ns'] / roof:6.1%}" if roof else ""
        if record.get("flops"):
            line += f" {record['flops'] / record['ns'] / 1e3:6.1f} TFLOP/s"
        for name, found in peers.items():
            peer = found.get(key_of(record))
            if peer:
                line += f"  {name} {peer['ns'] / 1e3:9.1f} us, ours {peer['ns'] / record['ns']:.2f}x"
        print(line)
    for peer in report.data.get("peers", []):
        if peer["op"] == "roof":
            rate = peer["flops"] / 1e3 if peer.get("flops") else peer["bytes"]
            print(f"torch           {peer['case']:66} {peer['ns'] / 1e3:9.1f} us "
                  f"{rate / peer['ns']:.0f} {'TFLOP/s' if peer.get('flops') else 'GB/s'}")
    sys.stdout.flush()
