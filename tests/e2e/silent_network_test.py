"""A network that forgets a connection without a word to either end, as where a host is lost: the command line finds out, and the
text goes on, the same. It takes the half minute after which a ping without an answer is given up."""
import os
import socket
import subprocess
import threading
import unittest

from http_cluster import BINARIES, PATIENCE_S, Cluster


class Relay:
    """Carries connections to `address`, each until it is told to forget it."""

    def __init__(self, address):
        self._target = tuple(address.rsplit(":", 1))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = []  # events; one that is set: what comes is dropped, and nothing is closed
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            server, is_forgotten = socket.create_connection(self._target), threading.Event()
            self.connections.append(is_forgotten)
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(one, other, is_forgotten), daemon=True).start()

    @staticmethod
    def _carry(one, other, is_forgotten):
        try:
            while data := one.recv(65536):
                if not is_forgotten.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self._listener.close()


class SilentNetwork(unittest.TestCase):
    def test_a_stream_goes_on_over_another_connection(self):
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        relay = Relay(cluster.ready()["grpc"])
        self.addCleanup(relay.close)

        def generate(endpoint):
            return subprocess.Popen([os.path.join(BINARIES, "longhand"), "generate", "--endpoint", endpoint, "--prompt", "Same text?",
                                     "--seed", "1", "--ignore-eos", "--max-tokens", "5000"], stdout=subprocess.PIPE, bufsize=0)
        undisturbed, _ = generate(cluster.ready()["grpc"]).communicate(timeout=PATIENCE_S)
        client = generate(relay.address)
        begin = client.stdout.read(100)
        relay.connections[0].set()
        rest, _ = client.communicate(timeout=PATIENCE_S)
        self.assertEqual(client.returncode, 0)
        self.assertEqual(begin + rest, undisturbed)
        self.assertEqual(len(relay.connections), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
