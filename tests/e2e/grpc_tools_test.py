"""Others' gRPC clients against ours, unchanged: grpcurl (list, describe, Generate, Attach) and ghz. Builds them once, from Go modules
that go.sum pins, under ~/.cache/longhand; exits with 77 (skipped) where that cannot be done."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from environment import CACHE, HERE
from http_cluster import Cluster

SOURCE = os.path.join(HERE, "grpc_tools")
HOME = os.path.join(CACHE, "grpc-tools")


def install():
    stamp, wanted = os.path.join(HOME, "installed"), ""
    for name in ("go.mod", "go.sum"):
        with open(os.path.join(SOURCE, name), "rb") as file:
            wanted += hashlib.sha256(file.read()).hexdigest()
    if os.path.exists(stamp) and open(stamp, encoding="utf-8").read() == wanted:
        return
    go = shutil.which("go")
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}
    if not go or subprocess.run([go, "build", "-trimpath", "-o", HOME + os.sep, "github.com/fullstorydev/grpcurl/cmd/grpcurl", "github.com/bojand/ghz/cmd/ghz"],
                                cwd=SOURCE, env=environment, check=False).returncode != 0:
        print("skipped: grpcurl and ghz cannot be built; Go 1.25 or later is needed")
        sys.exit(77)
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(wanted)


class Tools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.cluster = Cluster("--tp", "2", "--journal", os.path.join(folder.name, "journal"))
        cls.addClassCleanup(cls.cluster.stop)
        cls.address = cls.cluster.ready()["grpc"]

    def grpcurl(self, *arguments, **message):
        command = [os.path.join(HOME, "grpcurl"), "-plaintext", *(["-d", json.dumps(message)] if message else []), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def events(self, method, **message):
        done = self.grpcurl(self.address, f"longhand.v1.Generation/{method}", **message)
        self.assertEqual(done.returncode, 0, done.stderr)
        decoder, text, events = json.JSONDecoder(), done.stdout.strip(), []
        while text:
            event, end = decoder.raw_decode(text)
            events.append(event)
            text = text[end:].lstrip()
        return events

    def test_grpcurl_lists_and_describes(self):
        services = self.grpcurl(self.address, "list").stdout.split()
        self.assertLessEqual({"longhand.v1.Generation", "longhand.v1.Cluster", "grpc.health.v1.Health"}, set(services))
        described = self.grpcurl(self.address, "describe", "longhand.v1.Generation").stdout
        for method in ("Generate", "Attach", "Cancel", "Tokenize", "Detokenize"):
            self.assertIn(f"rpc {method} ", described)
        self.assertIn("repetition_penalty", self.grpcurl(self.address, "describe", "longhand.v1.Sampling").stdout)

    def test_grpcurl_generates_and_attaches(self):
        request = {"request_id": "by-grpcurl", "messages": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
                   "sampling": {"temperature": 0, "max_tokens": 12, "ignore_eos": True}}
        made = self.events("Generate", **request)
        self.assertEqual(made[-1]["usage"]["completion_tokens"], "12")
        self.assertEqual(self.events("Attach", request_id="by-grpcurl"), made)
        self.assertEqual(self.events("Attach", **{"request_id": "by-grpcurl", "from": 5}), made[4:])

    def test_grpcurl_shows_a_refusal(self):
        done = self.grpcurl(self.address, "longhand.v1.Generation/Generate", text="x", sampling={"temperature": -1})
        self.assertIn("Code: InvalidArgument", done.stderr)
        self.assertIn("temperature", done.stderr)

    def test_ghz(self):
        request = {"text": "Hello", "sampling": {"temperature": 0, "max_tokens": 8, "ignore_eos": True}}
        done = subprocess.run([os.path.join(HOME, "ghz"), "--insecure", "--call", "longhand.v1.Generation.Generate", "-d", json.dumps(request), "-n", "200",
                               "-c", "16", "-O", "json", self.address], capture_output=True, text=True, check=True)
        report = json.loads(done.stdout)
        self.assertEqual((report["count"], report["statusCodeDistribution"]), (200, {"OK": 200}))


if __name__ == "__main__":
    install()
    unittest.main(verbosity=2)
