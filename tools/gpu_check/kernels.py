"""Part kernels: kernel_bench, then the same shapes through torch, and the goals that can be judged from both."""
import json
import math
import pathlib
import statistics
import sys
import tempfile

from processes import run, tail
from report import Goal

GROUPS = ["roof", "decode", "linear", "prefill", "vision", "small", "sample"]  # a process each: one fault hides no other group
GROUP_TIMEOUT_S = 60
PEERS_TIMEOUT_S = 90


def lines_of_json(text):
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def kernels(report, bundle, extra=()):
    for group in GROUPS:
        done = run([bundle.program("kernel_bench"), "--group", group, *extra], GROUP_TIMEOUT_S)
        report.records.extend(lines_of_json(done.stdout))
        report.save()
        if done.status not in (0, 1):
            why = f"{done.how()}: {tail(done.stderr, 1)}"
            report.add({"op": "kernel_bench", "case": group, "status": "unavailable" if done.status == 3 else "fail",
                        "message": why})
            report.goal(Goal(f"kernel_bench --group {group}", "runs to its end", why[:100], None,
                             None if done.status == 3 else False))
    with tempfile.TemporaryDirectory() as folder:
        cases = pathlib.Path(folder, "cases.json")
        cases.write_text(json.dumps([r for r in report.records if r.get("shape")]), encoding="utf-8")
        peers = run([sys.executable, pathlib.Path(__file__).with_name("torch_peers.py"), cases], PEERS_TIMEOUT_S)
    report.data["peers"] = list(lines_of_json(peers.stdout))
    report.save()
    if peers.status != 0:
        report.unavailable("torch", f"{peers.how()}: {tail(peers.stderr, 1)[:100]}")
    judge(report)
    print_cases(report)


def read_roof(report):
    """Bytes per ns of the longest read, or None."""
    return next((r["bytes"] / r["ns"] for r in report.records if r["op"] == "roof" and r.get("ns")), None)


def peers_of(report):
    return {(p["op"], p["case"]): p for p in report.data.get("peers", []) if p.get("ns")}


def timed(report, op):
    return [r for r in report.records if r["op"] == op and r.get("ns")]


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


def judge_peer(report, name, wanted, records, peers):
    """Our speed over torch's, the worst case."""
    pairs = {r["case"]: peers[r["op"], r["case"]]["ns"] / r["ns"] for r in records if (r["op"], r["case"]) in peers}
    if not pairs:
        report.unavailable(name, "torch timed none of the cases")
        return
    worst = min(pairs, key=pairs.get)
    report.goal(Goal(name, f"every case >= {wanted:.2f} of torch's speed",
                     f"worst {pairs[worst]:.3f} ({worst}), mean {geometric_mean(pairs.values()):.3f} of {len(pairs)}",
                     pairs[worst] / wanted, pairs[worst] >= wanted))


def judge(report):
    roof, peers = read_roof(report), peers_of(report)
    failed = [r for r in report.records if r.get("status") == "fail"]
    report.goal(Goal("kernels run", "no failure", f"{len(failed)} failed", None, not failed))
    if roof is not None:
        report.data["read_gb_per_s"] = round(roof, 1)
    decode = [r for r in timed(report, "PagedAttention") if r["case"].startswith("decode")]
    prefill = [r for r in timed(report, "PagedAttention") if r["case"].startswith("prefill")]
    judge_share(report, "G1 decode attention, >= 256 MB", 0.90, [r for r in decode if r["bytes"] >= 256e6], roof)
    judge_share(report, "G2 decode attention, 32 to 256 MB", 0.75, [r for r in decode if 32e6 <= r["bytes"] < 256e6], roof)
    report.unavailable("G2 decode attention, < 32 MB", "FlashInfer and FA3 are not here; times are in the file")
    judge_peer(report, "G5 prefill attention beside torch SDPA (not FA3)", 1.0, prefill, peers)
    linear = timed(report, "Linear")
    for low, high in ((1, 1), (2, 8), (16, 64)):
        judge_peer(report, f"G6 Linear, {low} to {high} rows, beside cuBLAS", 1.0,
                   [r for r in linear if low <= r["shape"]["rows"] <= high], peers)
    judge_peer(report, "Linear, more rows, beside cuBLAS", 1.0, [r for r in linear if r["shape"]["rows"] > 64], peers)
    judge_share(report, "G6 Linear, 1 row, >= 64 MB", 0.88,
                [r for r in linear if r["shape"]["rows"] == 1 and r["bytes"] >= 64e6], roof)
    judge_peer(report, "VisionAttention beside torch SDPA", 1.0, timed(report, "VisionAttention"), peers)
    judge_peer(report, "RmsNorm beside torch", 1.0, timed(report, "RmsNorm"), peers)


def print_cases(report):
    roof, peers = read_roof(report), peers_of(report)
    for record in report.records:
        if not record.get("ns"):
            print(f"{record['op']:15} {record['case']:62} {record['status']} {record.get('message', '')}")
            continue
        line = f"{record['op']:15} {record['case']:62} {record['ns'] / 1e3:9.1f} us"
        if record["bytes"]:
            line += f" {record['bytes'] / record['ns']:7.0f} GB/s"
            line += f" {record['bytes'] / record['ns'] / roof:6.1%}" if roof else ""
        if record.get("flops"):
            line += f" {record['flops'] / record['ns'] / 1e3:6.1f} TFLOP/s"
        peer = peers.get((record["op"], record["case"]))
        if peer:
            line += f"  torch {peer['ns'] / 1e3:9.1f} us, ours {peer['ns'] / record['ns']:.2f}x"
        print(line)
    for peer in report.data.get("peers", []):
        if peer["op"] == "roof":
            rate = peer["flops"] / 1e3 if peer.get("flops") else peer["bytes"]
            print(f"torch           {peer['case']:62} {peer['ns'] / 1e3:9.1f} us "
                  f"{rate / peer['ns']:.0f} {'TFLOP/s' if peer.get('flops') else 'GB/s'}")
    sys.stdout.flush()
