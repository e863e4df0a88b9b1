"""Part comm: NCCL of this machine, Python's packages included, through our communicator, and the kernels by which ranks
read each other's memory: with one rank, and with two that share a GPU where there is no other."""
import ctypes
import pathlib
import sys
import sysconfig

from kernels import lines_of_json
from processes import run, tail
from report import Goal

TIMEOUT_S = 90  # of each of four programs
SHARED_GPU_NCCL = 23000  # the first NCCL that lets ranks share a GPU


def nccl_libraries():
    """(version, path) of what a Python's package or the loader has, the newest first."""
    folders = {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"], *sys.path}
    found = {str(path) for folder in folders for path in pathlib.Path(folder or ".").glob("nvidia/nccl/lib/libnccl.so.2")}
    libraries = []
    for library in [*sorted(found), "libnccl.so.2"]:
        version = ctypes.c_int()
        try:
            ctypes.CDLL(library).ncclGetVersion(ctypes.byref(version))
        except (OSError, AttributeError):
            continue
        libraries.append((version.value, library))
    return sorted(libraries, reverse=True)


def check(report, name, command, env, **about):
    """Runs a program whose lines are steps, into the report. The steps; or, where it cannot be done here, why not."""
    done = run(command, TIMEOUT_S, env)
    if done.status == 3:
        return None, tail(done.stderr, 1)[:160]
    records = [{**record, **about} for record in lines_of_json(done.stdout)]
    report.records.extend(records)
    report.save()
    for record in records:
        time = f"{record['us']:9.1f} us" if record.get("us") else f"{record.get('ms', 0):9.3f} ms"
        print(f"{record['case']:66} {record['status']} {time} {record.get('message', '')}", flush=True)
    if done.status not in (0, 1):
        report.add({"op": name, "case": "after these", "status": "fail", "message": f"{done.how()}: {tail(done.stderr)}"})
    if done.status != 0:
        print(tail(done.stdout[-2000:] + done.stderr, 12), flush=True)
    passed = sum(record["status"] == "pass" for record in records)
    report.goal(Goal(name, "every step", f"{passed} of {len(records)}" + (f"; {records[0]['case']}" if records else ""),
                     passed / len(records) if records else None, done.status == 0))
    return records, ""


def nccl(report, bundle):
    env = {**bundle.env, "NCCL_DEBUG": "WARN", "NCCL_SOCKET_IFNAME": "lo"}
    name = "NCCL, one rank: form, collectives, abort, form again"
    libraries = nccl_libraries()
    if not libraries:
        report.unavailable(name, "there is no libnccl.so.2")
        return
    version, library = libraries[0]
    command = [bundle.program("nccl_check"), "--library", library]
    steps, why = check(report, name, command, env, library=library)
    if steps is None:
        report.unavailable(name, why)
        return
    name = "NCCL and kernels over it, two ranks"
    if version < SHARED_GPU_NCCL:
        report.unavailable(name, f"{steps[0]['case']} does not let ranks share a GPU; 2.30 does")
        return
    steps, why = check(report, name, [*command, "--ranks", 2], {**env, "NCCL_MULTI_RANK_GPU_ENABLE": "1"}, library=library)
    if steps is None:
        report.unavailable(name, why)


def peers(report, bundle, backend):
    for ranks, name in ((1, "kernels that read their peers, one rank"), (2, "kernels that read their peers, two processes")):
        steps, why = check(report, name, [bundle.program("peer_check"), "--device", backend, "--ranks", ranks], bundle.env)
        if steps is None:
            report.unavailable(name, why)


def comm(report, bundle, backend):
    peers(report, bundle, backend)
    if backend == "cuda":
        nccl(report, bundle)
    else:
        report.unavailable("NCCL", "it has no emulation")
