"""A thousand hostile pictures and bodies, and hundreds of documents and word targets, from a seed that is printed
(`hostile_test.py SEED`): each is refused with a sentence or answered, none with a 5xx, the coordinator's memory stays bounded and it
is the same process at the end. And clients that are slow."""
import itertools
import pathlib
import random
import sys
import time
import unittest

from hostile_inputs import endless, endless_words
from http_cluster import Cluster, Connection, greedy

SEED = int(sys.argv.pop()) if len(sys.argv) > 1 and sys.argv[-1].isdigit() else time.time_ns() % 10**9
COUNT = 1000
# Four bodies are prepared at once: the largest picture that is allowed, and a body that unpacks to it, for each.
MAX_GROWTH_BYTES = 1 << 30


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("--max-model-len", "4096")
        cls.addClassCleanup(cls.cluster.stop)
        cls.pid = cls.cluster.ready()["pids"]["coordinator"]

    def resident_bytes(self, what="VmRSS"):
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))

    def assert_it_is_well(self):
        self.assertEqual(self.cluster.chat(**greedy("Hello", 3)).status, 200)
        self.assertEqual(self.cluster.ready()["pids"]["coordinator"], self.pid)

    def test_a_thousand_pictures_and_bodies(self):
        self.assert_it_is_well()
        before = self.resident_bytes()
        refused = 0
        connection = self.cluster.connect()
        for number, (what, body, must_be_refused) in enumerate(itertools.islice(endless(random.Random(SEED)), COUNT)):
            with self.subTest(what, number=number):
                connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                                b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                answer = connection.answer()
                if answer.headers.get("connection") == "close":
                    connection.close()
                    connection = self.cluster.connect()
                self.assertIn(answer.status, (400, 413) if must_be_refused else (200, 400), answer.body[:300])
                if answer.status != 200:
                    refused += 1
                    self.assertGreater(len(answer.json()["error"]["message"]), 10)
        connection.close()
        print(f"{refused} of {COUNT} refused; peak {(self.resident_bytes('VmHWM') - before) >> 20} MiB, kept {(self.resident_bytes() - before) >> 20} MiB")
        self.assertLess(self.resident_bytes("VmHWM") - before, MAX_GROWTH_BYTES)
        self.assert_it_is_well()

    # 409: the model wrote nothing, or no outline.
    def test_hundreds_of_documents_and_targets(self):
        refused = 0
        for number, (path, what, body, must_be_refused) in enumerate(itertools.islice(endless_words(random.Random(SEED)), COUNT // 2)):
            with self.subTest(what, number=number), self.cluster.connect() as connection:
                connection.send(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
                    path.encode(), len(body), body))
                answer = connection.answer()
                self.assertIn(answer.status, (400, 404, 413) if must_be_refused else (200, 400, 409), answer.body[:300])
                self.assertNotIn(b"server_error", answer.body)
                if answer.status != 200:
                    refused += 1
                    self.assertGreater(len(answer.json()["error"]["message"]), 10)
        print(f"{refused} of {COUNT // 2} refused")
        self.assert_it_is_well()

    def test_a_text_to_tokenise_is_bounded(self):
        answer = self.cluster.ask("POST", "/tokenize", {"prompt": "The sea. " * (512 << 10)})
        self.assertEqual((answer.status, answer.json()["error"]["param"]), (400, "prompt"))
        self.assertIn("the text has 4718592 bytes; at most 4194304", answer.json()["error"]["message"])
        self.assertEqual(self.cluster.ask("POST", "/tokenize", {"prompt": "The sea. " * 4096}).status, 200)

    def test_two_thousand_slow_heads(self):
        before = self.resident_bytes()
        slow = [Connection(self.cluster.host, self.cluster.port) for _ in range(2000)]
        for connection in slow:
            connection.send(b"GET /livez HTTP/1.1\r\nHost: local")
        self.assert_it_is_well()
        self.assertLess((self.resident_bytes() - before) / len(slow), 32 << 10)
        for connection in slow[::2]:
            connection.send(b"host\r\n\r\n")
        for connection in slow[::2]:
            self.assertEqual(connection.answer().status, 200)
        for connection in slow[1::2]:
            self.assertEqual(connection.answer().status, 408)
        for connection in slow:
            connection.close()
        self.assert_it_is_well()


if __name__ == "__main__":
    print(f"seed {SEED}", flush=True)
    unittest.main(verbosity=2)
