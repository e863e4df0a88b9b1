"""Streams over HTTP: the same bytes however often they are cut, and whoever dies or is told to stop."""
import os
import random
import re
import signal
import threading
import unittest

from http_cluster import Cluster, greedy, request


class Streams(unittest.TestCase):
    """A stream is the same bytes however often it is cut, and whoever dies. Of several answers each is the same, but after a
    restart their events may take turns otherwise, so one is asked for here."""

    def test_a_stream_that_is_cut_a_hundred_times_is_the_same_bytes(self):
        cluster = Cluster("--tp", "2", "--max-model-len", "4096")
        self.addCleanup(cluster.stop)
        fields = greedy("Write much.", 1200, stream=True, stream_options={"include_usage": True}, logprobs=True,
                        on_disconnect="continue", logit_bias={str(7 + 3 * i): i % 11 - 5 for i in range(300)})
        whole = cluster.chat(**fields, request_id="undisturbed").body
        seed = random.randrange(1 << 32)
        print("seed", seed)
        rng = random.Random(seed)
        expected = re.sub(rb'"created":\d+', b"", whole.replace(b"undisturbed", b"cut"))
        seen = self.read_some(cluster, rng, request("POST", "/v1/chat/completions", {**fields, "request_id": "cut"}))
        for i in range(100):
            last = re.findall(rb"id: (\d+)\n", seen)[-1].decode() if b"id: " in seen else "0"
            ask = [request("GET", f"/v1/streams/cut?from={int(last) + 1}"), request("GET", "/v1/streams/cut", Last_Event_ID=last),
                   request("POST", "/v1/chat/completions", {**fields, "request_id": "cut"}, Last_Event_ID=last)][i % 3]
            seen += self.read_some(cluster, rng, ask)
            if i in (20, 60):
                cluster.kill_coordinator()
                cluster.wait_until(lambda: self.is_up(cluster), "it is not back")
        last = re.findall(rb"id: (\d+)\n", seen)[-1].decode()
        seen += cluster.ask("GET", f"/v1/streams/cut?from={int(last) + 1}").body
        self.assertEqual(re.sub(rb'"created":\d+', b"", seen), expected)
        again = cluster.ask("GET", "/v1/streams/cut").body
        self.assertEqual(again, seen)

    @staticmethod
    def is_up(cluster):
        try:
            return cluster.ask("GET", "/readyz").status == 200
        except (OSError, EOFError):
            return False

    @staticmethod
    def read_some(cluster, rng, ask):
        """Whole events out of a random number of bytes."""
        data = b""
        with cluster.connect() as connection:
            connection.send(ask)
            status, _ = connection.head()
            assert status == 200, status
            wanted = rng.randrange(1, 12000)
            while len(data) < wanted and (chunk := connection.chunk()):
                data += chunk
        data = data[:rng.randrange(len(data) + 1)]
        whole = data[:data.rfind(b"\n\n") + 2] if b"\n\n" in data else b""
        return b"".join(re.findall(rb"id: \d+\ndata: [^\n]*\n\n", whole))

    def test_where_a_stream_can_be_followed_from(self):
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        answer = cluster.chat(**greedy("Hello", 10, stream=True, request_id="short"))
        events = answer.events()
        self.assertEqual(len(events), 11)
        for start in range(1, 13):
            self.assertEqual([event.block for event in cluster.ask("GET", f"/v1/streams/short?from={start}").events()],
                             [event.block for event in events[start - 1:]])
        for start in ("13", "x", "-1"):
            self.assertEqual(cluster.ask("GET", f"/v1/streams/short?from={start}").status, 400)
        self.assertEqual(cluster.ask("GET", "/v1/streams/unknown").status, 404)
        self.assertEqual(cluster.chat(**greedy("Hello", 11, stream=True, request_id="short")).status, 409)
        self.assertEqual(cluster.chat(**greedy("Hello", 10, request_id="short")).json()["choices"][0]["message"]["content"],
                         "".join(event.json()["choices"][0]["delta"]["content"] for event in events[:-1]))

    def test_what_a_server_says_that_is_stopping(self):
        cluster = Cluster("--shutdown-timeout", "60")
        running = cluster.connect()
        running.post("/v1/chat/completions", greedy("Hello", 100000, stream=True, request_id="long"))
        running.until(b"id: 1\n")
        os.kill(cluster.pid, signal.SIGTERM)  # Nobody has asked for its health yet.
        cluster.wait_until(lambda: cluster.chat(**greedy("Hello", 3)).status == 503, "it takes requests")
        self.assertEqual(cluster.ask("GET", "/readyz").json()["phase"], "draining")
        self.assertEqual(cluster.ask("GET", "/livez").status, 200)
        self.assertEqual(cluster.ask("GET", "/startupz").status, 200)
        refusal = cluster.chat(**greedy("Hello", 3))
        self.assertEqual((refusal.status, refusal.headers["retry-after"]), (503, "1"))
        follower = cluster.connect()
        follower.send(request("GET", "/v1/streams/long?from=1"))
        self.assertTrue(follower.until(b"id: 1\n"))
        os.kill(cluster.pid, signal.SIGTERM)  # At once.
        running.rest()
        cluster.stop()

    def test_sigterm_lets_a_stream_end_and_idle_connections_go(self):
        cluster = Cluster()
        idle = cluster.connect()
        self.assertEqual(idle.ask("GET", "/livez").status, 200)
        running = cluster.connect()
        running.post("/v1/chat/completions", greedy("Hello", 200, stream=True))
        running.until(b"id: 1\n")
        code = []
        stopper = threading.Thread(target=lambda: code.append(cluster.stop()))
        stopper.start()
        self.assertTrue(running.until(b"[DONE]"))
        self.assertEqual(idle.rest(), b"")
        stopper.join()
        self.assertEqual(code, [0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
