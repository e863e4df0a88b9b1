"""Parts conformance and sanitize: every operation in a process of its own, so that one fault hides no other operation."""
import concurrent.futures
import json
import pathlib
import re
import shutil
import tempfile
import time

from processes import run, tail
from report import Goal

MAX_RESTARTS = 6
PART_S = {"cuda": 440, "emulated": 3600}
OPERATION_TIMEOUT_S = {"cuda": 90, "emulated": 1200}
SANITIZER_TIMEOUT_S = 150
SANITIZER_CASES = 10  # of an operation
# (operation, text in the names, cases), begun first, as they take longest: attention's where wgmma may do it, and so many
# of Linear that every kind of product is among them.
SANITIZED_FIRST = [("PagedAttention", " of 128, block 16, bfloat16, KV bfloat16", 12), ("Linear", "", 80)]
WGMMA_KERNELS = {"PagedDecodeGroups", "PrefillGroups", "VisionGroups", "LinearWgmma", "LinearWgmmaFp8", "LinearWgmmaInt4"}


def operations(bundle):
    listed = run([bundle.program("conformance"), "--list"], 30)
    if listed.status != 0:
        raise RuntimeError(f"conformance --list: {listed.how()}: {tail(listed.stderr)}")
    return [line.split()[0] for line in listed.stdout.splitlines()]


def last_case(stdout):
    """(index, name) of the case that was begun last, or None."""
    begun = re.findall(r"^case (\d+) (.*)$", stdout, re.MULTILINE)
    return (int(begun[-1][0]), begun[-1][1]) if begun else None


def run_operation(bundle, backend, op, deadline, timeout_s=None):
    """The records of one operation. A case that ends the process becomes a record, and the next process begins behind it."""
    records, first = [], 0
    for _ in range(MAX_RESTARTS):
        left = min(timeout_s or OPERATION_TIMEOUT_S[backend], deadline - time.monotonic())
        if left < 1:
            records.append({"op": op, "case": f"from {first} on", "status": "fail", "message": "not run: no time was left"})
            return records
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "records.json")
            done = run([bundle.program("conformance"), "--backend", backend, "--op", op, "--threads", 2, "--progress",
                        "--first", first, "--json", file], left)
            if file.exists():
                records += json.loads(file.read_text(encoding="utf-8") or "[]")
        if done.status in (0, 1):
            return records
        case = last_case(done.stdout)
        records.append({"op": op, "case": case[1] if case else "start", "status": "fail",
                        "message": f"{done.how()}: {tail(done.stderr)}"})
        if case is None:
            return records
        first = case[0] + 1
    records.append({"op": op, "case": f"from {first} on", "status": "fail", "message": "not run: too many crashes"})
    return records


def count(records, status):
    return sum(record["status"] == status for record in records)


def conformance(report, bundle, backend):
    names = operations(bundle)
    deadline = time.monotonic() + PART_S[backend]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = {pool.submit(run_operation, bundle, backend, op, deadline): op for op in names}
        for result in concurrent.futures.as_completed(results):
            op, records = results[result], result.result()
            kept = [record for record in records if record["status"] == "fail"]
            report.add({"op": op, "pass": count(records, "pass"), "fail": len(kept),
                        "unsupported": count(records, "unsupported"), "failing": kept,
                        "lacking": sorted({r.get("message", "") for r in records if r["status"] == "unsupported"})})
            print(f"{op:16} {report.records[-1]['pass']:5} pass {len(kept):5} fail "
                  f"{report.records[-1]['unsupported']:5} unsupported", flush=True)
            for record in kept[:8]:
                print(f"  FAIL {record['case']}: error {record.get('error')}, tolerance {record.get('tolerance')} "
                      f"{record.get('message', '')}", flush=True)
    for entry in sorted(report.records, key=lambda entry: entry["op"]):
        total = entry["pass"] + entry["fail"]
        report.goal(Goal(f"conformance {entry['op']}", "all pass", f"{entry['pass']} of {total}",
                         entry["pass"] / total if total else None, entry["fail"] == 0 if total else None))


def sanitizer_program():
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer")


def sanitize_operation(bundle, backend, program, tool, op, named, cases, deadline):
    left = deadline - time.monotonic()
    about = {"op": op, "tool": tool, **({"of": named.strip()} if named else {})}
    if left < 5:
        return {**about, "status": "unavailable", "message": "no time was left"}
    done = run([program, "--tool", tool, "--error-exitcode", 9, "--print-limit", 5, bundle.program("conformance"),
                "--backend", backend, "--op", op, *(["--case", named] if named else []), "--max-cases", cases, "--threads", 2,
                "--progress", "--untimed"],
               min(left, SANITIZER_TIMEOUT_S))
    text = done.stdout + done.stderr
    errors = re.findall(r"ERROR SUMMARY: (\d+) error", text) + re.findall(r"RACECHECK SUMMARY: (\d+) hazard", text)
    record = {**about, "cases": len(re.findall(r"^case \d+ ", text, re.MULTILINE)),
              "errors": sum(map(int, errors)) if errors else None,
              "kernels": re.findall(r"^kernel (\S+)$", text, re.MULTILINE),
              "trials": re.findall(r"^wgmma has .*$", text, re.MULTILINE)}
    found = [line for line in text.splitlines() if line.startswith(("FAIL", "========= "))]
    if done.status == 0 and errors and record["errors"] == 0:
        return {**record, "status": "pass"}
    if done.status is None:
        return {**record, "status": "unavailable", "message": f"{done.how()}, in {last_case(text)}", "said": found[:12]}
    if not errors:
        return {**record, "status": "unavailable", "message": f"{done.how()}: {tail(text)}"}
    return {**record, "status": "fail", "message": done.how(), "said": found[:40], "last": last_case(text)}


def sanitize(report, bundle, backend, seconds):
    program = sanitizer_program()
    if program is None:
        report.unavailable("memcheck, racecheck", "compute-sanitizer is not on this machine")
        return
    names = operations(bundle)
    deadline = time.monotonic() + seconds
    whole = {op for op, named, _ in SANITIZED_FIRST if not named}
    jobs = [job for job in SANITIZED_FIRST if job[0] in names] + [(op, "", SANITIZER_CASES) for op in names if op not in whole]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = [pool.submit(sanitize_operation, bundle, backend, program, tool, *job, deadline)
                   for job in jobs for tool in ("memcheck", "racecheck")]
        for result in concurrent.futures.as_completed(results):
            record = result.result()
            report.add(record)
            print(f"{record['tool']:10} {record['op']:16} {record.get('cases', 0):4} cases {record['status']} "
                  f"{record.get('message', '')} {', '.join(record.get('kernels', []))}", flush=True)
            for line in record.get("said", [])[:10]:
                print(f"  {line}", flush=True)
    for tool in ("memcheck", "racecheck"):
        mine = [record for record in report.records if record["tool"] == tool]
        clean = count(mine, "pass")
        passed = False if count(mine, "fail") else True if clean == len(mine) else None
        report.goal(Goal(f"G16 {tool}", "clean, every operation", f"{clean} of {len(mine)} clean", clean / len(mine), passed))
        judge_kernels(report, tool, mine)


def judge_kernels(report, tool, records):
    """Whether wgmma's kernels were among those of clean runs; a device may have none."""
    launched = {kernel for record in records if record["status"] == "pass" for kernel in record["kernels"]}
    lacking = sorted(WGMMA_KERNELS - launched)
    report.goal(Goal(f"G16 {tool} of kernels by wgmma", f"clean, all {len(WGMMA_KERNELS)}",
                     f"{len(WGMMA_KERNELS) - len(lacking)}, and {len(launched - WGMMA_KERNELS)} others"
                     + (f"; not {', '.join(lacking)}" if lacking else ""),
                     1 - len(lacking) / len(WGMMA_KERNELS), None if lacking else True))
