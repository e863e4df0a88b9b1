#!/usr/bin/env python3
"""What a KV cache costs that is a quarter of what its streams need: throughput beside the run that fits, in pairs.

    python3 bench/kv_oversubscription.py [--pairs 5] [--streams 16] [--tokens 400] [--written 0.25] [--factor 4]
                                         [--swap-space 0] [--model DIR] [--json FILE]

The same requests run on two clusters of two ranks: one whose cache holds all of them whole, and one with 1/factor of that.
With --written, max_tokens stays and answers end by themselves, after that share of it on average (half as much to half as
much again, by a stop string that each has of its own). Where all write to their end, no more than 1/factor of the streams
can run at once; where they write less, the server has to find that out.
The smaller one is made to expect short answers (50 of one token came before), so that it admits too many and has to preempt;
--swap-space is its room for what is preempted.
Both texts must be equal. A figure is tokens a second of wall time, and CPU time a token, which says the same on a machine
that does other things too. The two runs of a pair follow each other, in an order that alternates. The last line is one JSON
object.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import time

from served import BINARIES, ROOT, cpu_seconds, served

BLOCK = 16


def generate(endpoint, prompt, seed, tokens, stop="no such text"):
    return subprocess.Popen([BINARIES / "longhand", "generate", "--endpoint", endpoint, "--prompt", prompt, "--seed", str(seed), "--ignore-eos",
                             f"--stop={stop}", "--max-tokens", str(tokens), "--json"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def find_stops(arguments, answers):
    """A string of each answer that is in it first where the answer is to end."""
    stops = []
    for i, answer in enumerate(answers):
        share = arguments.written * (0.5 + i / max(1, len(answers) - 1))
        text = answer["text"]
        at = int(len(text) * min(share, 0.95))
        while text.find(text[at:at + 12]) < at:
            at += 1
        stops.append(text[at:at + 12])
    return stops


def run(arguments, cache_bytes, swap_space, stops):
    """Tokens a second, CPU microseconds a token, preemptions, blocks swapped out, all answers."""
    with served(arguments.model, "--max-num-seqs", arguments.streams, "--max-model-len", arguments.context, "--kv-cache-memory-bytes", cache_bytes,
                "--swap-space", swap_space, "--journal", "none") as told:
        pids = [told["pids"]["coordinator"], *told["pids"]["workers"]]
        for seed in range(50):
            generate(told["grpc"], "Hi", seed, 1).communicate()
        before = [cpu_seconds(pid) for pid in pids]
        started = time.monotonic()
        clients = [generate(told["grpc"], f"Story {i}", i, arguments.tokens, *stops[i:i + 1]) for i in range(arguments.streams)]
        answers = [json.loads(client.communicate()[0]) for client in clients]
        seconds = time.monotonic() - started
        spent = sum(cpu_seconds(pid) - was for pid, was in zip(pids, before))
        status = json.loads(subprocess.check_output([BINARIES / "longhand", "status", "--endpoint", told["grpc"], "--json"]))
    tokens = sum(len(answer["token_ids"]) for answer in answers)
    return (tokens / seconds, spent / tokens * 1e6, int(status["preemptions"]), int(status.get("kv_blocks_swapped_out", 0)),
            [(answer["token_ids"], answer["text"]) for answer in answers], answers)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=400, help="of each stream")
    parser.add_argument("--written", type=float, default=1, help="share of --tokens that answers have on average")
    parser.add_argument("--factor", type=float, default=4)
    parser.add_argument("--swap-space", default="0", help="of the smaller cluster, as --swap-space of longhand serve")
    parser.add_argument("--model", default=str(ROOT / "tests/data/nano"))
    parser.add_argument("--json")
    arguments = parser.parse_args()
    arguments.context = -(-(arguments.tokens + 64) // BLOCK) * BLOCK
    plan = json.loads(subprocess.check_output(
        [BINARIES / "longhand", "serve", "--model", arguments.model, "--tp", "2", "--max-model-len", str(arguments.context), "--dry-run", "--json"],
        stderr=subprocess.DEVNULL).splitlines()[-1])
    whole = arguments.streams * arguments.context * plan["ranks"][0]["kv_bytes_per_token"]
    ratios, cpu_ratios, preemptions, swapped = [], [], [], []
    stops = []
    if arguments.written < 1:
        stops = find_stops(arguments, run(arguments, whole, "0", [])[5])
    for n in range(arguments.pairs):
        kinds = [("fits", whole, "0"), ("short", int(whole / arguments.factor), arguments.swap_space)]
        found = {kind: run(arguments, size, swap, stops) for kind, size, swap in (kinds if n % 2 == 0 else kinds[::-1])}
        if found["fits"][4] != found["short"][4]:
            raise SystemExit("kv_oversubscription: the texts differ")
        ratios.append(found["short"][0] / found["fits"][0])
        cpu_ratios.append(found["fits"][1] / found["short"][1])
        preemptions.append(found["short"][2])
        swapped.append(found["short"][3])
        print(f"pair {n + 1}: {found['fits'][0]:.0f} -> {found['short'][0]:.0f} tokens/s ({ratios[-1]:.2f}), "
              f"{found['fits'][1]:.0f} -> {found['short'][1]:.0f} us of CPU a token, {preemptions[-1]} preemptions, {swapped[-1]} blocks swapped", flush=True)
    report = {"model": pathlib.Path(arguments.model).name, "streams": arguments.streams, "tokens": arguments.tokens,
              "written": arguments.written, "factor": arguments.factor, "swap_space": arguments.swap_space,
              "pairs": len(ratios), "throughput_ratio": statistics.median(ratios),
              "throughput_ratios": ratios, "cpu_ratio": statistics.median(cpu_ratios), "preemptions": preemptions,
              "blocks_swapped": swapped,
              "texts_equal": True}
    print(json.dumps(report))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
