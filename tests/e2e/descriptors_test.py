"""A coordinator that may have 64 descriptors, and clients that take all they can get: those that are too many are refused, the
others stay served, and new ones are once there is room."""
import os
import resource
import socket
import subprocess
import tempfile
import time
import unittest

from http_cluster import NANO, PATIENCE_S, Cluster, Connection, Reporting, program

ANY = "127.0.0.1:0"
LIMIT = 64


def endpoint(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(.02)


class Descriptors(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        worker_socket = os.path.join(folder.name, "worker")
        worker = Reporting("longhand-worker", "--listen", f"unix:{worker_socket}", "--metrics-address", ANY, "--device", "cpu",
                           "--threads", "1")
        self.addCleanup(worker.stop)
        worker.report("listen")
        self.coordinator = Reporting(
            "longhand-coordinator", "--model", NANO, "--workers", f"unix:{worker_socket}", "--http-address", ANY, "--grpc-address",
            ANY, "--metrics-address", ANY, "--journal", os.path.join(folder.name, "journal"),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT)))
        self.addCleanup(self.coordinator.stop)
        self.at = self.coordinator.report("http")
        self.kept = Connection(*endpoint(self.at["http"]))
        self.addCleanup(self.kept.close)
        wait_until(lambda: self.kept.ask("GET", "/readyz").status == 200)

    def num_refused(self):
        page = Cluster.page(self.at["metrics"])
        return next(float(line.rsplit(" ", 1)[1]) for line in page.splitlines()
                    if line.startswith("longhand_connections_refused_total"))

    def generate(self):
        return subprocess.run([program("longhand"), "generate", "--endpoint", self.at["grpc"], "--prompt", "Hello", "--max-tokens",
                               "4"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def test_a_flood_leaves_the_others_alone_and_nothing_behind(self):
        for edge in ("grpc", "http", "grpc"):
            before = self.num_refused()
            flood = [socket.create_connection(endpoint(self.at[edge]), PATIENCE_S) for _ in range(LIMIT + 20)]
            wait_until(lambda: self.num_refused() >= before + 20)
            self.assertEqual(self.kept.ask("GET", "/readyz").status, 200)
            self.assertEqual(self.kept.ask("POST", "/v1/completions", {"prompt": "Hello", "max_tokens": 4}).status, 200)
            for connection in flood:
                connection.close()
            wait_until(lambda: self.generate().returncode == 0)
        self.assertIn("connections were refused: of 64 descriptors", self.coordinator.log())


if __name__ == "__main__":
    unittest.main()
