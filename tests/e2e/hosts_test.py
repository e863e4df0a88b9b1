"""Ranks on two hosts, which share nothing but the network: the tokens are those of one rank. Needs root and iproute2, for
network namespaces; exits with 77 (skipped) where they cannot be made."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BINARIES = os.environ.get("LONGHAND_BINARIES", os.path.join(ROOT, "build", "release", "bin"))
NANO = os.path.join(ROOT, "tests", "data", "nano")
PATIENCE_S = 60
FLAGS = ["--dtype", "float32", "--journal", "none"]


class Cluster:
    def __init__(self, command, flags):
        self._folder = tempfile.TemporaryDirectory()
        ready = os.path.join(self._folder.name, "ready.json")
        self._log = open(os.path.join(self._folder.name, "log"), "w+", encoding="utf-8")
        self._process = subprocess.Popen([*command, "--model", NANO, "--ready-file", ready, *flags],
                                         stdout=self._log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + PATIENCE_S
        while not os.path.exists(ready):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                log = self._log.read()
                self.stop()
                raise AssertionError(f"the cluster did not start: {log}")
            time.sleep(.05)
        with open(ready, encoding="utf-8") as file:
            self.ready = json.load(file)

    def tokens(self, prompt):
        done = subprocess.run([os.path.join(BINARIES, "longhand"), "generate", "--endpoint", self.ready["grpc"], "--json",
                               "--temperature", "0", "--max-tokens", "24", "--prompt", prompt],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return json.loads(done.stdout.splitlines()[-1])["token_ids"]

    def stop(self):
        self._process.terminate()
        code = self._process.wait(PATIENCE_S)
        self._log.close()
        self._folder.cleanup()
        return code


def interfaces():
    return {name for name in os.listdir("/sys/class/net") if re.fullmatch(r"lh\d+(\.\d+)?", name)}


class Hosts(unittest.TestCase):
    def test_two_hosts_write_what_one_rank_writes_and_leave_nothing(self):
        before = interfaces()
        prompts = ["Write a story about the sea.", "写一篇文章。"]
        one = Cluster([os.path.join(BINARIES, "longhand"), "serve"],
                      ["--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", *FLAGS])
        self.addCleanup(one.stop)
        expected = [one.tokens(prompt) for prompt in prompts]
        for device in ("cpu", "emulated"):
            with self.subTest(device=device):
                hosts = Cluster([os.path.join(ROOT, "deploy", "local", "hosts")],
                                ["--hosts", "2", "--device", device, "--", *FLAGS])
                try:
                    self.assertEqual(len(set(hosts.ready["hosts"])), 2)
                    self.assertEqual([hosts.tokens(prompt) for prompt in prompts], expected)
                finally:
                    self.assertEqual(hosts.stop(), 143)
        self.assertEqual(interfaces(), before)


if __name__ == "__main__":
    probe = f"lhprobe{os.getpid()}"
    able = shutil.which("ip") and subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
    if not able or able.returncode != 0:
        print("skipped: network namespaces need root and iproute2")
        sys.exit(77)
    subprocess.run(["ip", "netns", "delete", probe], check=True)
    unittest.main()
