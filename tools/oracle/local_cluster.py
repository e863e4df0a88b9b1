"""A cluster of real processes on this machine, driven by the command line as a user would."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time


class ClusterError(Exception):
    pass


class LocalCluster:
    """`longhand serve` in a folder of its own; use as a context manager."""

    def __init__(
        self,
        binaries: pathlib.Path,
        checkpoint: pathlib.Path,
        options: dict[str, object],
        start_timeout_s: float = 300,
    ):
        self._longhand = binaries / "longhand"
        self._timeout_s = start_timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="longhand-parity-")
        self.folder = pathlib.Path(self._folder.name)
        self._ready_file = self.folder / "ready.json"
        addresses = {"http-address": "127.0.0.1:0", "grpc-address": "127.0.0.1:0", "metrics-address": "127.0.0.1:0"}
        flags = {"model": checkpoint.resolve(), "ready-file": self._ready_file} | addresses | options
        self._command = [str(self._longhand), "serve"]
        for name, value in flags.items():
            self._command += [f"--{name}", str(value)]

    def __enter__(self) -> "LocalCluster":
        self.log = open(self.folder / "serve.log", "wb")
        self._process = subprocess.Popen(self._command, stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + self._timeout_s
        while not self._ready_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise ClusterError(f"{' '.join(self._command)} is not ready:\n{self.log_tail}")
            time.sleep(0.05)
        self.ready = json.loads(self._ready_file.read_text())
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.log.close()
        self.log_tail = (self.folder / "serve.log").read_text(errors="replace")[-4000:]
        self._folder.cleanup()

    def start_generate(self, name: str, messages: list[dict], **flags: object) -> "Generation":
        """Starts `longhand generate`; several may run at once."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(messages), encoding="utf-8")
        command = [
            str(self._longhand),
            "generate",
            "--endpoint",
            self.ready["grpc"],
            "--json",
            "--messages",
            str(path),
        ]
        for flag, value in flags.items():
            flag = "--" + flag.replace("_", "-")
            command += [flag] if value is True else [flag, str(value)]
        return Generation(name, command)


class Generation:
    def __init__(self, name: str, command: list[str]):
        self.name = name
        self._command = command
        environment = os.environ | {"LC_ALL": "C.UTF-8"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )

    def result(self, timeout_s: float = 600) -> dict:
        """The object that --json ends with."""
        out, err = self._process.communicate(timeout=timeout_s)
        if self._process.returncode != 0:
            raise ClusterError(
                f"{self.name}: exit {self._process.returncode}: {err.decode(errors='replace')}"
            )
        return json.loads(out.decode().strip().split("\n")[-1])
