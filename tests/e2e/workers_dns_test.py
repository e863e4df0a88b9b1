"""Workers that are all found behind one name (--workers-dns): the cluster comes up once the name lists enough, and goes on when
one is replaced at another address. Needs root, for an /etc/hosts of the coordinator's own; exits with 77 (skipped) without."""
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BINARIES = os.environ.get("LONGHAND_BINARIES", os.path.join(ROOT, "build", "release", "bin"))
NANO = os.path.join(ROOT, "tests", "data", "nano")
PATIENCE_S = 120
WITH_OWN_HOSTS = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"']


class WorkersDns(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.hosts = os.path.join(folder.name, "hosts")
        self.output = open(os.path.join(folder.name, "output"), "w+", encoding="utf-8")
        self.addCleanup(self.output.close)

    def start(self, command):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.output, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        return process

    def worker(self, number, port=None):
        """At 127.0.0.NUMBER, all at one port: the first chooses it."""
        while True:
            asked = port or random.randrange(20000, 30000)
            process = self.start([os.path.join(BINARIES, "longhand-worker"), "--listen", f"127.0.0.{number}:{asked}",
                                  "--metrics-address", "127.0.0.1:0", "--threads", "1"])
            if process.stdout.readline():
                return process, asked
            self.assertIsNone(port, f"127.0.0.{number}:{port} is taken: {self.log()}")

    def log(self):
        self.output.seek(0)
        return self.output.read()

    def list_workers(self, *numbers):
        with open(self.hosts, "w", encoding="utf-8") as file:  # The same file: it is mounted.
            file.writelines(f"127.0.0.{number} workers.test\n" for number in numbers)

    def wait_until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"{what}: {self.log()}")
            time.sleep(.05)

    def status(self, grpc):
        done = subprocess.run([os.path.join(BINARIES, "longhand"), "status", "--endpoint", grpc, "--json"], capture_output=True,
                              text=True, timeout=PATIENCE_S, check=True)
        return json.loads(done.stdout)

    def begin(self, grpc):
        return self.start([os.path.join(BINARIES, "longhand"), "generate", "--endpoint", grpc, "--json", "--temperature", "0",
                           "--ignore-eos", "--max-tokens", "2000", "--prompt", "Story"])

    def end(self, asked):
        out, _ = asked.communicate(timeout=PATIENCE_S)
        self.assertEqual(asked.returncode, 0, self.log())
        return json.loads(out.splitlines()[-1])["token_ids"]

    def test_the_cluster_follows_the_name(self):
        _, port = self.worker(2)
        lost, _ = self.worker(3, port)
        self.list_workers(2)
        coordinator = self.start([*WITH_OWN_HOSTS, self.hosts, os.path.join(BINARIES, "longhand-coordinator"), "--model", NANO,
                                  "--tensor-parallel-size", "2", "--workers-dns", f"workers.test:{port}", "--journal", "none",
                                  *(word for each in ("http", "grpc", "metrics") for word in (f"--{each}-address", "127.0.0.1:0"))])
        grpc = json.loads(coordinator.stdout.readline())["grpc"]
        self.wait_until(lambda: "1 addresses are listed; 2 workers are needed" in json.dumps(self.status(grpc)), "it does not say so")
        self.list_workers(2, 3)
        self.wait_until(lambda: self.status(grpc)["ready"], "it does not come up")
        undisturbed = self.end(self.begin(grpc))
        asked = self.begin(grpc)
        self.wait_until(lambda: self.status(grpc)["groups"][0]["running_requests"] > 0, "the answer does not run")
        lost.kill()
        self.worker(4, port)
        self.list_workers(2, 4)
        self.assertEqual(self.end(asked), undisturbed)
        self.assertIn(f"127.0.0.4:{port}", json.dumps(self.status(grpc)))


if __name__ == "__main__":
    if subprocess.run([*WITH_OWN_HOSTS, "/etc/hosts", "true"], capture_output=True, check=False).returncode != 0:
        print("no mount can be made: skipped")
        sys.exit(77)
    unittest.main()
