"""Part comm: NCCL of this machine, Python's packages included, through our communicator with one rank."""
import pathlib
import sys
import sysconfig

from kernels import lines_of_json
from processes import run, tail
from report import Goal

TIMEOUT_S = 90


def nccl_libraries():
    """Candidates: a Python's package, then the loader's own."""
    folders = {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"], *sys.path}
    found = {path for folder in folders for path in pathlib.Path(folder or ".").glob("nvidia/nccl/lib/libnccl.so.2")}
    return [str(path) for path in sorted(found)] + ["libnccl.so.2"]


def comm(report, bundle):
    for library in nccl_libraries():
        done = run([bundle.program("nccl_check"), "--library", library], TIMEOUT_S,
                   {**bundle.env, "NCCL_DEBUG": "WARN", "NCCL_SOCKET_IFNAME": "lo"})
        if done.status != 3:
            break
    else:
        report.unavailable("NCCL, one rank", tail(done.stderr, 1)[:160])
        return
    report.records.extend({**record, "library": library} for record in lines_of_json(done.stdout))
    report.save()
    for record in report.records:
        print(f"{record['case']:52} {record['status']} {record.get('ms', 0):9.3f} ms {record.get('message', '')}", flush=True)
    if done.status not in (0, 1):
        report.add({"op": "nccl", "case": "after these", "status": "fail", "message": f"{done.how()}: {tail(done.stderr)}"})
    if done.status != 0:
        print(tail(done.stdout[-2000:] + done.stderr, 12), flush=True)
    passed = sum(record["status"] == "pass" for record in report.records)
    report.goal(Goal("NCCL, one rank: form, collectives, abort, form again", "every step",
                     f"{passed} of {len(report.records)}; {report.records[0]['case']}", passed / len(report.records),
                     done.status == 0))
