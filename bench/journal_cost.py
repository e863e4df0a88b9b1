#!/usr/bin/env python3
"""What the journal costs: CPU time a token of a cluster of two ranks with many streams, with and without it, in pairs.

    python3 bench/journal_cost.py [--pairs 15] [--streams 64] [--tokens 200] [--model DIR] [--sync process|disk] [--json FILE]

CPU time (user and system) of the coordinator and its workers is read from /proc while the same requests run; it says the
same on a machine that does other things too, as wall time does not. The two runs of a pair follow each other, in an order
that alternates. The last line is one JSON object: the cost in percent of all CPU time, its mean over the pairs and the
interval that holds it with 95% (Student's t).
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess

from served import BINARIES, ROOT, cpu_seconds, served

# Two-sided 95% quantiles of Student's t, by degrees of freedom; 1.96 beyond.
T95 = [0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
       2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042]


def run(arguments, *journal):
    """CPU microseconds a token: (coordinator, all)."""
    with served(arguments.model, "--max-num-seqs", arguments.streams, "--journal-sync", arguments.sync, *journal) as told:
        pids = [told["pids"]["coordinator"], *told["pids"]["workers"]]
        before = [cpu_seconds(pid) for pid in pids]
        clients = [subprocess.Popen([BINARIES / "longhand", "generate", "--endpoint", told["grpc"], "--prompt", f"Story {i}", "--seed", str(i),
                                     "--ignore-eos", "--max-tokens", str(arguments.tokens)],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for i in range(arguments.streams)]
        if any(client.wait() != 0 for client in clients):
            raise SystemExit("journal_cost: a request failed")
        spent = [cpu_seconds(pid) - was for pid, was in zip(pids, before)]
    tokens = arguments.streams * arguments.tokens
    return spent[0] / tokens * 1e6, sum(spent) / tokens * 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=200, help="of each stream")
    parser.add_argument("--model", default=str(ROOT / "tests/data/nano"))
    parser.add_argument("--sync", default="process", choices=["process", "disk"])
    parser.add_argument("--json")
    arguments = parser.parse_args()
    pairs = []
    while len(pairs) < arguments.pairs:
        n = len(pairs)
        try:
            kinds = [("none", ("--journal", "none")), ("journal", ())]
            spent = {kind: run(arguments, *journal) for kind, journal in (kinds if n % 2 == 0 else kinds[::-1])}
        except FileNotFoundError:
            print(f"pair {n + 1}: a process was replaced meanwhile; the pair is measured again", flush=True)
            continue
        pairs.append(spent)
        (c0, a0), (c1, a1) = spent["none"], spent["journal"]
        print(f"pair {len(pairs)}: coordinator {c0:.1f} -> {c1:.1f} us a token, all {a0:.1f} -> {a1:.1f} us", flush=True)
    costs = [100 * (pair["journal"][1] / pair["none"][1] - 1) for pair in pairs]
    mean = statistics.fmean(costs)
    half = 0.0
    if len(costs) > 1:
        quantile = T95[len(costs) - 1] if len(costs) <= len(T95) else 1.96
        half = quantile * statistics.stdev(costs) / math.sqrt(len(costs))
    report = {"model": pathlib.Path(arguments.model).name, "streams": arguments.streams, "sync": arguments.sync, "pairs": len(pairs),
              "coordinator_us_a_token": {kind: statistics.fmean(pair[kind][0] for pair in pairs) for kind in ("none", "journal")},
              "all_us_a_token": {kind: statistics.fmean(pair[kind][1] for pair in pairs) for kind in ("none", "journal")},
              "cost_percent": mean, "interval_95": [mean - half, mean + half]}
    print(json.dumps(report))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
