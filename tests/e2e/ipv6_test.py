"""Every address an IPv6 one: `longhand serve`, and a coordinator with workers that it dials and that meet at its rendezvous.
Exits with 77 (skipped) where there is no [::1]."""
import json
import socket
import subprocess
import sys
import unittest

from http_cluster import NANO, PATIENCE_S, Cluster, Connection, Reporting, program

ANY = "[::1]:0"


def generate(address):
    done = subprocess.run([program("longhand"), "generate", "--endpoint", address, "--prompt", "Hello", "--temperature", "0",
                           "--max-tokens", "12", "--json"], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return json.loads(done.stdout.splitlines()[-1])["token_ids"]


class IPv6(unittest.TestCase):
    def test_serve_listens_there_and_is_found(self):
        cluster = Cluster("--tp", "2", "--http-address", ANY, "--grpc-address", ANY, "--metrics-address", ANY,
                          "--worker-metrics-address", ANY)
        self.addCleanup(cluster.stop)
        ready = cluster.ready()
        addresses = [ready["http"], ready["grpc"], ready["metrics"], *ready["worker_metrics"]]
        self.assertTrue(all(address.startswith("[::1]:") and not address.endswith(":0") for address in addresses), addresses)
        self.assertEqual(len(set(addresses)), 5)
        for address, path in [(ready["http"], "/v1/models"), *((address, "/metrics") for address in addresses[2:])]:
            with Connection("::1", address.rsplit(":", 1)[1]) as connection:
                self.assertEqual(connection.ask("GET", path).status, 200, address)
        self.assertEqual(len(generate(ready["grpc"])), 12)
        bench = subprocess.run([program("longhand"), "bench", "serve", "--base-url", f"http://{ready['http']}", "--num-prompts", "2",
                                "--max-tokens", "4", "--json"], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        self.assertEqual(json.loads(bench.stdout.splitlines()[-1])["completed"], 2)
        # The port is taken, and said to be.
        again = subprocess.run([program("longhand"), "serve", "--model", NANO, "--http-address", ready["http"]],
                               capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(again.returncode, 1)
        self.assertIn(f"cannot bind {ready['http']}", again.stderr)

    def test_workers_that_are_dialled_meet_each_other(self):
        workers = [Reporting("longhand-worker", "--listen", ANY, "--metrics-address", ANY) for _ in range(2)]
        for worker in workers:
            self.addCleanup(worker.stop)
        addresses = [worker.report("listen")["listen"] for worker in workers]
        coordinator = Reporting("longhand-coordinator", "--model", NANO, "--tp", "2", "--workers", ",".join(addresses), "--transport", "gloo",
                                "--rendezvous-address", ANY, "--http-address", ANY, "--grpc-address", ANY, "--metrics-address", ANY)
        self.addCleanup(coordinator.stop)
        endpoint = coordinator.report("grpc")["grpc"]
        self.assertTrue(coordinator.report("ready")["ready"])
        self.assertEqual(len(generate(endpoint)), 12)

    def test_an_address_without_brackets_is_refused_with_its_right_form(self):
        for name, flag in (("longhand-worker", "--listen"), ("longhand-worker", "--metrics-address"), ("longhand-coordinator", "--workers"),
                           ("longhand-coordinator", "--rendezvous-address"), ("longhand-coordinator", "--http-address")):
            done = subprocess.run([program(name), flag, "fd00::7:7001"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            self.assertEqual(done.returncode, 2, flag)
            self.assertIn("as in [::1]:8001", done.stderr, flag)


if __name__ == "__main__":
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        print(f"skipped: there is no [::1]: {error}")
        sys.exit(77)
    unittest.main()
