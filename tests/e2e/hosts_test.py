"""Ranks on several hosts, which share nothing but the network: the tokens are those of one rank, and those of an undisturbed
run where hosts are cut off and come back. Needs root and iproute2, for network namespaces; exits with 77 (skipped) where
nothing can be run in them."""
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

    def begin(self, prompt, max_tokens):
        return subprocess.Popen([os.path.join(BINARIES, "longhand"), "generate", "--endpoint", self.ready["grpc"], "--json",
                                 "--temperature", "0", "--ignore-eos", "--max-tokens", str(max_tokens), "--prompt", prompt],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def end(asked):
        out, err = asked.communicate(timeout=PATIENCE_S)
        if asked.returncode != 0:
            raise AssertionError(f"an answer ended with {asked.returncode}: {err}")
        return json.loads(out.splitlines()[-1])["token_ids"]

    def tokens(self, prompt, max_tokens=24):
        return self.end(self.begin(prompt, max_tokens))

    def status(self):
        done = subprocess.run([os.path.join(BINARIES, "longhand"), "status", "--endpoint", self.ready["grpc"], "--json"],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return json.loads(done.stdout)

    def wait_until(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition(status := self.status()):
            if time.monotonic() > deadline:
                self._log.seek(0)
                raise AssertionError(f"it does not come: {status}\n{self._log.read()}")
            time.sleep(.05)

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

    def test_of_four_hosts_in_two_groups_one_is_cut_off_and_healed_and_no_token_is_another(self):
        before = interfaces()
        cluster = Cluster([os.path.join(ROOT, "deploy", "local", "hosts")], ["--hosts", "4", "--groups", "2", "--", *FLAGS])
        try:
            prompts = [f"Story {i}" for i in range(4)]
            asked = [cluster.begin(prompt, 200) for prompt in prompts]
            expected = [cluster.end(each) for each in asked]
            for cut_off in (3, 0):  # The last rank of the second group, the first of the first.
                with self.subTest(host=cut_off):
                    group = cut_off // 2
                    asked = [cluster.begin(prompt, 200) for prompt in prompts]
                    cluster.wait_until(lambda now: all(each["running_requests"] > 0 for each in now["groups"]))
                    link = cluster.ready["links"][cut_off]
                    subprocess.run(["ip", "link", "set", link, "down"], check=True)
                    cluster.wait_until(lambda now: now["ready"] and not now["groups"][group]["ready"])
                    # Its requests go on with the other group's, without it.
                    cluster.wait_until(lambda now: now["groups"][group]["waiting_requests"] == 0)
                    self.assertEqual([cluster.end(each) for each in asked], expected)
                    asked = [cluster.begin(prompt, 200) for prompt in prompts]
                    subprocess.run(["ip", "link", "set", link, "up"], check=True)
                    cluster.wait_until(lambda now: all(each["ready"] for each in now["groups"]))
                    self.assertEqual([cluster.end(each) for each in asked], expected)
        finally:
            self.assertEqual(cluster.stop(), 143)
        self.assertEqual(interfaces(), before)


def can_make_hosts():
    """In a chroot that is no mount a namespace can be made, and nothing can be run in it."""
    if shutil.which("ip") is None:
        return False
    probe = f"lhprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode != 0:
        return False
    try:
        return subprocess.run(["ip", "netns", "exec", probe, "true"], capture_output=True, check=False).returncode == 0
    finally:
        subprocess.run(["ip", "netns", "delete", probe], check=True)


if __name__ == "__main__":
    if not can_make_hosts():
        print("skipped: network namespaces need root, iproute2 and a root that is a mount")
        sys.exit(77)
    unittest.main()
