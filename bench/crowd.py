#!/usr/bin/env python3
"""What a crowd of other clients costs the few that stream: thousands that are attached to an answer that has no room yet, or
thousands that send the head of a request a byte a second.

    python3 bench/crowd.py [--kind idle|slow] [--crowd 10000] [--active 20] [--seconds 15] [--rounds 3] [--json FILE]

A round runs the same active streams twice, without and with the crowd, and measures them for so many seconds from the same
moment on (--settle), since a step costs more the longer the texts are: the time between events of a stream (median, 99th
percentile), and the coordinator's resident memory. The last line is one JSON object: bytes a client of the crowd, and the
ratios with to without. The client's own work is on the same processors.
"""
import argparse
import json
import pathlib
import selectors
import socket
import statistics
import time

from served import ROOT, served


def resident_bytes(pid):
    line = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


class Clients:
    """Sockets that are read as bytes come."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._address = (host, int(port))
        self._selector = selectors.DefaultSelector()
        self.gaps = []
        self.crowd_bytes = 0
        self._slow, self._sent_at = [], 0

    def _open(self, request, kind):
        connection = socket.create_connection(self._address, 30)
        connection.sendall(request)
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, [kind, None])
        return connection

    def stream(self, number):
        body = json.dumps({"messages": [{"role": "user", "content": f"Story {number}"}], "temperature": 0, "ignore_eos": True,
                           "max_tokens": 100000, "stream": True, "request_id": f"active-{number}"}).encode()
        return self._open(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                          b"Content-Length: %d\r\n\r\n%s" % (len(body), body), "active")

    def attach(self, name):
        self._open(b"GET /v1/streams/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % name.encode(), "idle")

    def send_slowly(self):
        self._slow.append(self._open(b"GET / HTTP/1.1\r\nX-Slow: ", "slow"))

    def run(self, seconds, measured):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(min(left, 1)):
                self._read(key, measured)
            if self._slow and time.monotonic() - self._sent_at > 1:
                self._sent_at = time.monotonic()
                for connection in self._slow:
                    connection.send(b"x")

    def _read(self, key, measured):
        data = key.fileobj.recv(65536)
        kind, last = key.data
        if kind == "slow":  # refused: the next one takes its place
            self._slow.remove(key.fileobj)
            self._selector.unregister(key.fileobj)
            key.fileobj.close()
            self.crowd_bytes += len(data)
            return self.send_slowly()
        if not data:
            raise SystemExit(f"crowd: the server closed an {kind} stream")
        if kind == "idle":
            self.crowd_bytes += len(data)
        elif b"data: " in data:
            now = time.monotonic()
            if measured and last is not None:
                self.gaps.append(now - last)
            key.data[1] = now

    def close(self):
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


def measure(arguments, crowd):
    with served(arguments.model, "--max-num-seqs", arguments.active) as told:
        clients = Clients(told["http"])
        for number in range(arguments.active):
            clients.stream(number)
        began = time.monotonic()
        clients.run(2, measured=False)
        clients.stream(arguments.active)  # all places are taken: it waits
        clients.run(1, measured=False)
        memory = resident_bytes(told["pids"]["coordinator"])
        for count in range(crowd):
            clients.attach(f"active-{arguments.active}") if arguments.kind == "idle" else clients.send_slowly()
            if count % 100 == 0:
                clients.run(.01, measured=False)
        left = began + arguments.settle - time.monotonic()
        if left < 1:
            raise SystemExit(f"crowd: the crowd was not there after {arguments.settle} seconds; --settle more")
        clients.run(left, measured=False)
        memory = resident_bytes(told["pids"]["coordinator"]) - memory
        clients.run(arguments.seconds, measured=True)
        if arguments.kind == "idle" and clients.crowd_bytes < crowd * 100:
            raise SystemExit(f"crowd: {clients.crowd_bytes} bytes came on {crowd} idle streams: no heads, no pings")
        clients.close()
        return {"bytes": memory, "p50_ms": 1000 * statistics.median(clients.gaps), "p99_ms": 1000 * percentile(clients.gaps, .99)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["idle", "slow"], default="idle")
    parser.add_argument("--crowd", type=int, default=10000)
    parser.add_argument("--active", type=int, default=20)
    parser.add_argument("--settle", type=float, default=25, help="seconds until it is measured")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=str(ROOT / "tests/data/nano"))
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rounds = []
    for number in range(arguments.rounds):
        without, crowded = measure(arguments, 0), measure(arguments, arguments.crowd)
        rounds.append({"bytes_per_client": (crowded["bytes"] - without["bytes"]) / arguments.crowd,
                       "p50_ms": [without["p50_ms"], crowded["p50_ms"]], "p99_ms": [without["p99_ms"], crowded["p99_ms"]]})
        print(f"round {number + 1}: {json.dumps(rounds[-1])}", flush=True)
    result = {"kind": arguments.kind, "crowd": arguments.crowd, "active": arguments.active,
              "bytes_per_client": statistics.median(r["bytes_per_client"] for r in rounds)}
    for name in ("p50", "p99"):
        result[f"{name}_ratio"] = statistics.median(r[f"{name}_ms"][1] / r[f"{name}_ms"][0] for r in rounds)
    print(json.dumps(result))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"rounds": rounds, **result}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
