#!/usr/bin/env python3
"""What it costs to stream a token: processor time of the coordinator beside servers that do nothing but stream (bare_streams).

    python3 bench/stream_cost.py [--streams 64] [--tokens 500] [--rounds 5] [--json FILE]

A round asks a cluster of two ranks for the same answers three times: streamed over HTTP, streamed over gRPC, and whole (each comes
at its end). What the coordinator spends more than for the whole answers is the cost of streaming. Then the bare servers send as
many events to as many streams at the same pace. Time is read from /proc, so other work on the machine changes it little.
The last line is one JSON object: microseconds a token, and bare beside ours (1 is as cheap), medians over the rounds.
"""
import argparse
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import time
import urllib.request

from served import BINARIES, ROOT, cpu_seconds, served


def bench(arguments, *target):
    """A client that is the same for every server."""
    subprocess.run([BINARIES / "longhand", "bench", "serve", *target, "--num-prompts", str(arguments.streams), "--max-concurrency",
                    str(arguments.streams), "--max-tokens", str(arguments.tokens), "--ignore-eos", "--prompt-words", "8"],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def whole(arguments, url):
    def ask(number):
        body = json.dumps({"messages": [{"role": "user", "content": f"Story {number}"}], "ignore_eos": True, "max_tokens": arguments.tokens})
        request = urllib.request.Request(url + "/v1/chat/completions", body.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            answer.read()
    with concurrent.futures.ThreadPoolExecutor(arguments.streams) as pool:
        list(pool.map(ask, range(arguments.streams)))


def measured(arguments, pid, ask):
    """Microseconds of processor time a token, and of wall time a token of each stream."""
    began, before = time.monotonic(), cpu_seconds(pid)
    ask()
    return ((cpu_seconds(pid) - before) / (arguments.streams * arguments.tokens) * 1e6,
            (time.monotonic() - began) / arguments.tokens * 1e6)


def ours(arguments):
    with served(arguments.model, "--max-num-seqs", arguments.streams) as told:
        pid, url = told["pids"]["coordinator"], f"http://{told['http']}"
        return {"whole": measured(arguments, pid, lambda: whole(arguments, url)),
                "sse": measured(arguments, pid, lambda: bench(arguments, "--base-url", url, "--model", "nano")),
                "grpc": measured(arguments, pid, lambda: bench(arguments, "--endpoint", told["grpc"]))}


def bare(arguments, kind, interval_us):
    server = subprocess.Popen([BINARIES / "bare_streams", "--kind", kind, "--interval-us", str(round(interval_us))],
                              stdout=subprocess.PIPE, text=True)
    try:
        address = f"127.0.0.1:{int(server.stdout.readline())}"
        target = ("--base-url", f"http://{address}", "--model", "nano") if kind == "sse" else ("--endpoint", address)
        return measured(arguments, server.pid, lambda: bench(arguments, *target))
    finally:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=500, help="of each stream")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=str(ROOT / "tests/data/nano"))
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rounds = []
    for number in range(arguments.rounds):
        spent = ours(arguments)
        figures = {"whole_us": spent["whole"][0], "pace_us": spent["sse"][1]}
        for kind in ("sse", "grpc"):
            figures[f"{kind}_us"] = spent[kind][0] - spent["whole"][0]
            figures[f"bare_{kind}_us"] = bare(arguments, kind, spent[kind][1])[0]
            figures[f"{kind}_ratio"] = figures[f"bare_{kind}_us"] / figures[f"{kind}_us"]
        rounds.append(figures)
        print(f"round {number + 1}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)
    result = {name: round(statistics.median(figures[name] for figures in rounds), 3) for name in rounds[0]}
    print(json.dumps(result))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"rounds": rounds, **result}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
