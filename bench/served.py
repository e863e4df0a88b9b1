"""A cluster of two ranks for a benchmark in Python, and what its processes have used."""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = ROOT / "build/release/bin"
TICK = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(model, *flags):
    """What its ready file says. The journal is in a folder that goes with it, unless `flags` name another."""
    with tempfile.TemporaryDirectory() as folder:
        ready = pathlib.Path(folder) / "ready.json"
        if "--journal" not in flags:
            flags = (*flags, "--journal", pathlib.Path(folder) / "journal")
        server = subprocess.Popen(
            [BINARIES / "longhand", "serve", "--model", model, "--tp", "2", "--threads", "1", "--ready-file", ready,
             *(part for name in ("http", "grpc", "metrics") for part in (f"--{name}-address", "127.0.0.1:0")), *map(str, flags)],
            stderr=subprocess.DEVNULL)
        try:
            while not ready.exists():
                if server.poll() is not None:
                    raise SystemExit("the server ended")
                time.sleep(.02)
            yield json.loads(ready.read_text())
        finally:
            server.terminate()
            server.wait()


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK
