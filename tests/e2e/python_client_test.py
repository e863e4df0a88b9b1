"""client/python, built and installed as its README says, against a cluster that is killed under its streams. Needs PyPI
once; exits with 77 (skipped) without it."""
import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

import environment

environment.enter("python-client")

import grpc  # noqa: E402
from http_cluster import ROOT, Cluster  # noqa: E402

FOLDER = tempfile.TemporaryDirectory()
PHOTOGRAPH = pathlib.Path(ROOT, "tests", "data", "recording", "images", "photograph.jpg")


def install():
    """Of a copy: building leaves files in the source."""
    for part in ("proto", os.path.join("client", "python")):
        shutil.copytree(os.path.join(ROOT, part), os.path.join(FOLDER.name, part))
    site = os.path.join(FOLDER.name, "site")
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps", "--no-index",
                    "--no-build-isolation", "--target", site, os.path.join(FOLDER.name, "client", "python")], check=True)
    sys.path.insert(0, site)


install()
import longhand  # noqa: E402
from longhand.resumption import Resumption  # noqa: E402
from longhand.v1 import generation_pb2 as pb  # noqa: E402

LONG = {"temperature": 0.8, "seed": 7, "ignore_eos": True}


class Rules(unittest.TestCase):
    """Of making a call again, by a clock of the test's."""

    def setUp(self):
        self.now = 0.0
        self.resumption = Resumption(pb.GenerateRequest(request_id="a"), 2.0, lambda: self.now)

    def broken(self, code=grpc.StatusCode.UNAVAILABLE):
        return self.resumption.pause_after(longhand.Error(code, "x"))

    def test_generate_until_an_event_has_come_then_attach(self):
        self.assertIsInstance(self.resumption.open(), pb.GenerateRequest)
        self.broken()
        self.assertIsInstance(self.resumption.open(), pb.GenerateRequest)
        self.resumption.saw(pb.GenerateEvent(seq=41))
        self.assertEqual(self.resumption.open(), pb.AttachRequest(request_id="a", **{"from": 42}))

    def test_pauses_double_until_patience_ends(self):
        pauses = []
        with self.assertRaises(longhand.Error):
            while True:
                pauses.append(self.broken())
                self.now += pauses[-1]
        self.assertEqual(pauses, [.05, .1, .2, .4, .8])

    def test_an_event_renews_patience(self):
        for _ in range(20):
            self.assertEqual(self.broken(), .05)
            self.resumption.saw(pb.GenerateEvent(seq=1))
            self.now += 1

    def test_a_refusal_is_not_repeated(self):
        with self.assertRaises(longhand.Error):
            self.broken(grpc.StatusCode.INVALID_ARGUMENT)


class Requests(unittest.TestCase):
    def test_what_is_wrong_is_said_before_it_is_sent(self):
        from longhand.requests import generate_request
        for wrong, words in (({}, "one of prompt"), ({"prompt": "a", "text": "b"}, "prompt, text"),
                             ({"prompt": "a", "temprature": 1}, "unknown: temprature"),
                             ({"messages": [], "images": [b"x"]}, "stand in their content")):
            with self.subTest(wrong), self.assertRaisesRegex(TypeError, words):
                generate_request(**wrong)


class Served(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".keys", delete=False, dir=FOLDER.name) as keys:
            keys.write("tester:sk-test\n")
        cls.cluster = Cluster("--tp", "2", "--journal", os.path.join(FOLDER.name, "journal"), "--api-key-file", keys.name)
        cls.addClassCleanup(cls.cluster.stop)
        cls.endpoint = cls.cluster.ready()["grpc"]
        cls.client = longhand.Client(cls.endpoint, api_key="sk-test")
        cls.addClassCleanup(cls.client.close)

    def kill_at(self, stream, *places):
        """Reads the stream; the coordinator is killed when it has read so many events."""
        for count, _ in enumerate(stream, 1):
            if count in places:
                self.cluster.kill_coordinator()
        return stream.answer

    def test_text_and_picture(self):
        answer = self.client.generate("What is this?", images=[PHOTOGRAPH], temperature=0, max_tokens=12, ignore_eos=True,
                                      returns={"token_ids": True}).read()
        self.assertEqual(len(answer.token_ids[0]), 12)
        self.assertEqual((answer.finish_reasons, answer.finish_details), ({0: "length"}, {0: "max_tokens"}))
        self.assertGreater(answer.usage.prompt_tokens, 12)
        parts = self.client.generate(messages=[{"role": "user", "content": [PHOTOGRAPH, "What is this?"]}], temperature=0,
                                     max_tokens=12, ignore_eos=True).read()
        self.assertEqual(parts.text, answer.text)

    def test_several_choices(self):
        answer = self.client.generate("Hello", n=3, max_tokens=8, **LONG).read()
        self.assertEqual(sorted(answer.texts), [0, 1, 2])
        self.assertEqual(answer.usage.completion_tokens, 24)

    def test_the_scores_of_a_prompt(self):
        answer = self.client.generate(text="The river is wide.", max_tokens=0, returns={"prompt_logprobs": True, "top_prompt_logprobs": 2}).read()
        self.assertEqual((answer.text, answer.finish_reasons[0], answer.usage.completion_tokens), ("", "length", 0))
        self.assertEqual(len(answer.prompt_logprobs), answer.usage.prompt_tokens - 1)
        self.assertTrue(all(len(logprob.top) == 2 and logprob.logprob < 0 for logprob in answer.prompt_logprobs))

    def test_tokens_and_status(self):
        ids = self.client.tokenize("Hello world")
        self.assertEqual(self.client.detokenize(ids), "Hello world")
        self.assertTrue(self.client.status().ready)

    def test_a_stream_survives_the_coordinator(self):
        calm = self.client.generate("Write.", max_tokens=600, **LONG).read()
        stirred = self.kill_at(self.client.generate("Write.", max_tokens=600, **LONG), 20, 150)
        self.assertEqual(stirred.text, calm.text)
        self.assertEqual(stirred.usage.completion_tokens, 600)

    def test_a_document_survives_the_coordinator(self):
        def write():
            return self.client.write_document("Write.", plan="Section 1 - Noise - Word Count: 5\nSection 2 - Noise - Word Count: 5",
                                              temperature=1, seed=5, max_tokens=300)
        calm = write().read()
        stirred = self.kill_at(write(), 20, 400)
        self.assertEqual(stirred.text, calm.text)
        self.assertEqual(stirred.finish_details, {0: "document_written"})

    def test_a_stream_survives_its_reader(self):
        calm = self.client.generate("Again.", max_tokens=200, **LONG).read()
        stream = self.client.generate("Again.", max_tokens=200, keep_running=True, **LONG)
        head = "".join(next(stream).text for _ in range(10))
        stream.close()
        self.assertEqual(list(stream), [])
        self.assertEqual(head + self.client.attach(stream.request_id, 11).read().text, calm.text)

    def test_cancel_from_another_thread(self):
        stream = self.client.generate("Long.", max_tokens=3000, **LONG)
        next(stream)
        threading.Timer(.1, self.client.cancel, [stream.request_id]).start()
        with self.assertRaises(longhand.Error) as raised:
            stream.read()
        self.assertEqual(raised.exception.code, grpc.StatusCode.CANCELLED)

    def test_asyncio(self):
        calm = self.client.generate("Async.", max_tokens=400, **LONG).read()

        async def ask():
            async with longhand.AsyncClient(self.endpoint, api_key="sk-test") as client:
                self.assertTrue((await client.status()).ready)
                self.assertEqual(await client.detokenize(await client.tokenize("Hi")), "Hi")
                stream, other = (client.generate("Async.", max_tokens=400, **LONG) for _ in range(2))
                beside = asyncio.create_task(other.read())
                count = 0
                async for _ in stream:
                    count += 1
                    if count == 20:
                        self.cluster.kill_coordinator()
                closed = client.generate("Async.", max_tokens=3000, **LONG)
                reading = asyncio.create_task(closed.read())
                while not closed.answer.texts:
                    await asyncio.sleep(.01)
                closed.close()
                await reading
                return stream.answer, await beside
        for answer in asyncio.run(ask()):
            self.assertEqual(answer.text, calm.text)

    def test_errors(self):
        for fields, code in (({"max_tokens": 10**9}, "INVALID_ARGUMENT"), ({"model": "other"}, "NOT_FOUND")):
            with self.subTest(fields), self.assertRaises(longhand.Error) as raised:
                self.client.generate("Hi", **fields).read()
            self.assertEqual(raised.exception.code.name, code)
            self.assertTrue(raised.exception.message)
        with self.assertRaises(longhand.Error) as raised:
            self.client.attach("nobody").read()
        self.assertEqual(raised.exception.code.name, "NOT_FOUND")
        with longhand.Client(self.endpoint, api_key="wrong") as stranger, self.assertRaises(longhand.Error) as raised:
            stranger.tokenize("Hi")
        self.assertEqual(raised.exception.code.name, "UNAUTHENTICATED")

    def test_the_example(self):
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        done = subprocess.run([sys.executable, os.path.join(ROOT, "docs", "examples", "generate.py"), cluster.ready()["grpc"], PHOTOGRAPH,
                               "What is this?"], env={**os.environ, "PYTHONPATH": sys.path[0]}, capture_output=True, text=True, check=True)
        self.assertRegex(done.stdout, r"\n\d+ tokens, (eos|max_tokens)\n$")

    def test_nobody_there_is_an_error_at_once(self):
        with longhand.Client("127.0.0.1:1") as nobody, self.assertRaisesRegex(longhand.Error, "127.0.0.1:1 cannot be reached"):
            nobody.generate("Hi")

        async def ask():
            async with longhand.AsyncClient("127.0.0.1:1") as nobody:
                await nobody.generate("Hi").read()
        with self.assertRaisesRegex(longhand.Error, "127.0.0.1:1 cannot be reached"):
            asyncio.run(ask())


if __name__ == "__main__":
    unittest.main(verbosity=2)
