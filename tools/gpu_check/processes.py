"""Runs a program and keeps what it said, also when it hangs or dies."""
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import sysconfig
import tempfile


@dataclasses.dataclass
class Finished:
    status: int | None  # None: it was stopped at its time limit
    stdout: str
    stderr: str

    @property
    def crashed(self):
        return self.status is None or self.status < 0

    def how(self):
        if self.status is None:
            return "did not end in time"
        if self.status < 0:
            return f"ended by {signal.Signals(-self.status).name}"
        return f"exit status {self.status}"


def run(command, timeout_s: float, env: dict | None = None) -> Finished:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   env={**os.environ, **(env or {})}, start_new_session=True)
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
        return Finished(status, *texts)


def tail(text: str, lines: int = 6) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


@dataclasses.dataclass
class Bundle:
    """What scripts/gpu_bundle packed, unpacked."""
    folder: pathlib.Path

    def program(self, name):
        return self.folder / "bin" / name

    @property
    def env(self):
        """For the programs that need shared objects of ours; others must not see them."""
        return {"LD_LIBRARY_PATH": str(self.folder / "lib")}

    @property
    def cuda_env(self):
        """For those that need cuBLASLt, which Python's packages may have."""
        found = {path.parent for folder in {*sysconfig.get_paths().values(), *sys.path} if folder
                 for path in pathlib.Path(folder).glob("nvidia/*/lib/libcublasLt.so.1[23]")}
        own = os.environ.get("LD_LIBRARY_PATH")
        return {"LD_LIBRARY_PATH": ":".join([*sorted(map(str, found)), str(self.folder / "lib"), *([own] if own else [])])}
