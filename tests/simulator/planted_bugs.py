#!/usr/bin/env python3
"""Plants bugs in the scheduler, one at a time, and expects the simulator to find each.

A bug is a line of the product's source, changed. The changed file is compiled and linked in front of the library, so
the product itself has no hook for it. When the line is no longer there, this test fails: plant the bug in the new code.
"""
import argparse
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ENGINE = "coordinator/engine"
# What it does, the file, the line as it is, the line as it would be.
BUGS = [
    ("blocks of a finished sequence are free while steps in flight name them", "scheduler.cc",
     "  sequence.phase = SequencePhase::kFinished;\n",
     "  sequence.phase = SequencePhase::kFinished;\n"
     "  block_pool_.Free(sequence.block_table);\n  sequence.block_table.clear();\n"),
    ("a finished sequence keeps what it was promised", "scheduler.cc",
     "    std::erase(running_, &sequence);\n    CancelUntaken(sequence);", "    std::erase(running_, &sequence);"),
    ("a tenant is not charged for what it is given", "waiting_queue.cc",
     "Charge(tenant, sequence.num_charged_tokens);", ""),
    ("an answer is preempted again", "scheduler_promises.cc",
     "if (sequence->standing.was_preempted) continue;", ""),
    ("a preempted sequence returns though an older one could not come to its end", "scheduler_promises.cc",
     "if (NumWholeBlocks(sequence) + num_held > shape_.num_blocks) return false;", ""),
    ("swapped blocks come back in another order", "scheduler_swap.cc",
     "plan->swaps_in.push_back({swapped.block_ids[i], ",
     "plan->swaps_in.push_back({swapped.block_ids[swapped.block_ids.size() - 1 - i], "),
    ("host blocks of an answer that is over are kept", "scheduler.cc",
     "  host_blocks_.Free(sequence.swapped.block_ids);\n", ""),
    ("a block is taken for something else, and the prefix cache still finds it", "block_pool.cc",
     "    cache_.Forget(block_id);\n", ""),
    ("streams wait for as many prompt tokens as a step can hold", "scheduler.cc",
     "if (work.has_streams) budget = std::min(budget, config_.max_num_prefill_tokens);", ""),
]


def find(bug, arguments, directory):
    """Compiles and runs one bug. What the simulator said last, or None when it found nothing."""
    _, name, old, new = bug
    source = (arguments.root / ENGINE / name).read_text()
    if source.count(old) != 1:
        sys.exit(f"planted_bugs: {ENGINE}/{name} holds the line {source.count(old)} times, not once:\n{old}")
    changed = directory / name
    changed.write_text(source.replace(old, new))
    program = directory / "simulator"
    sanitize = [f"-fsanitize={arguments.sanitize}"] if arguments.sanitize else []
    compiler = shlex.split(arguments.compiler)
    # By its name alone, so that a compiler's cache knows it again.
    subprocess.run([*compiler, "-std=c++20", "-O1", f"-I{arguments.root}", *sanitize, "-c", name, "-o", "changed.o"],
                   cwd=directory, check=True)
    subprocess.run([compiler[-1], *sanitize, "changed.o", *arguments.objects, "-lpthread", "-o", str(program)],
                   cwd=directory, check=True)
    ran = subprocess.run([str(program), "--seeds", str(arguments.seeds)], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ran.returncode == 0:
        return None
    said = re.findall(r"seed \d+ FAILED: .*|seed \d+:(?=\S| ?$)|.*(?:CHECK|check).*", ran.stdout)
    return " ".join(said[-2:]).strip() or f"exit code {ran.returncode}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--compiler", required=True, help="and what it is called by")
    parser.add_argument("--sanitize", default="")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("objects", nargs="+", help="the simulator's, and libraries")
    arguments = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as directory:
        for bug in BUGS:
            said = find(bug, arguments, pathlib.Path(directory))
            missed += said is None
            print(f"{'MISSED' if said is None else 'found '}  {bug[0]}\n        {said or ''}", flush=True)
    print(f"{len(BUGS) - missed} of {len(BUGS)} planted bugs found")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
