"""OpenAI's own Python client, unchanged, against the gateway. Installs it once, from PyPI, into a virtual environment under
~/.cache/longhand; exits with 77 (skipped) where that cannot be done."""
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import unittest

import environment

environment.enter("openai-sdk")

import openai  # noqa: E402
from http_cluster import ROOT, Cluster, picture_url  # noqa: E402


class Sdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        keys = tempfile.NamedTemporaryFile("w", suffix=".keys")
        keys.write("tester:sk-test\n")
        keys.flush()
        cls.addClassCleanup(keys.close)
        cls.cluster = Cluster("--tp", "2", "--api-key-file", keys.name)
        cls.addClassCleanup(cls.cluster.stop)
        cls.client = cls.make_client("sk-test")

    @classmethod
    def make_client(cls, key):
        return openai.OpenAI(base_url=f"http://{cls.cluster.host}:{cls.cluster.port}/v1", api_key=key, max_retries=0)

    def create(self, content, max_tokens, **more):
        more.setdefault("extra_body", {})["ignore_eos"] = True
        return self.client.chat.completions.create(model="nano", messages=[{"role": "user", "content": content}],
                                                   max_tokens=max_tokens, **{"temperature": 0, **more})

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["nano"])
        self.assertEqual(self.client.models.retrieve("nano").owned_by, "longhand")

    def test_chat_and_stream(self):
        whole = self.create("Hello", 30)
        self.assertEqual(whole.usage.completion_tokens, 30)
        self.assertEqual(whole.choices[0].finish_reason, "length")
        chunks = list(self.create("Hello", 30, stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content for chunk in chunks[:-1])
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.total_tokens), ([], whole.usage.total_tokens))
        self.assertGreater(chunks[-1].usage.prompt_tokens_details.cached_tokens, 0)  # the same prompt again
        with self.client.chat.completions.stream(model="nano", messages=[{"role": "user", "content": "Hello"}], max_tokens=30,
                                                 temperature=0, extra_body={"ignore_eos": True}) as stream:
            text = "".join(event.delta for event in stream if event.type == "content.delta")
        self.assertEqual(text, whole.choices[0].message.content)

    def test_pictures(self):
        content = [{"type": "image_url", "image_url": {"url": picture_url()}}, {"type": "text", "text": "What is this?"}]
        self.assertGreater(self.create(content, 4).usage.prompt_tokens, 40)

    def test_logprobs_and_several_answers(self):
        answer = self.create("Hello", 5, n=3, logprobs=True, top_logprobs=2, temperature=1, seed=3)
        self.assertEqual(len(answer.choices), 3)
        for choice in answer.choices:
            self.assertEqual([len(token.top_logprobs) for token in choice.logprobs.content], [2] * 5)
        again = self.create("Hello", 5, n=3, logprobs=True, top_logprobs=2, temperature=1, seed=3)
        self.assertEqual(again.choices, answer.choices)

    def test_an_answer_of_a_schema(self):
        schema = {"type": "object", "properties": {"title": {"type": "string", "maxLength": 20}, "year": {"type": "integer"},
                                                   "kind": {"enum": ["story", "poem"]}},
                  "required": ["title", "year", "kind"], "additionalProperties": False}
        answer = self.client.chat.completions.create(
            model="nano", messages=[{"role": "user", "content": "Hello"}], max_tokens=300, temperature=1, seed=1,
            response_format={"type": "json_schema", "json_schema": {"name": "work", "strict": True, "schema": schema}})
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        work = json.loads(answer.choices[0].message.content)
        self.assertEqual(set(work), {"title", "year", "kind"})
        self.assertTrue(isinstance(work["title"], str) and isinstance(work["year"], int) and work["kind"] in ("story", "poem"), work)
        with self.assertRaises(openai.BadRequestError) as bad:
            self.create("Hello", 5, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "banana"}}})
        self.assertIn("banana", str(bad.exception))

    def test_text_completions(self):
        fields = dict(model="nano", prompt="Once", max_tokens=6, temperature=0, logprobs=1, extra_body={"ignore_eos": True})
        whole = self.client.completions.create(**fields)
        self.assertEqual(len(whole.choices[0].logprobs.tokens), 6)
        self.assertEqual("".join(chunk.choices[0].text for chunk in self.client.completions.create(stream=True, **fields)),
                         whole.choices[0].text)

    def test_extensions(self):
        answer = self.create("Hello", 5, extra_body={"return_token_ids": True, "request_id": "mine", "min_tokens": 2, "top_k": 5})
        self.assertEqual((answer.id, len(answer.choices[0].token_ids)), ("mine", 5))
        self.assertEqual(len(answer.prompt_token_ids), answer.usage.prompt_tokens)

    def test_errors_are_the_clients_own(self):
        with self.assertRaises(openai.AuthenticationError):
            self.make_client("wrong").models.list()
        with self.assertRaises(openai.NotFoundError) as missing:
            self.client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hi"}])
        self.assertEqual(missing.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as bad:
            self.create("Hello", 5, temperature=-1)
        self.assertEqual(bad.exception.param, "temperature")
        self.assertIn("temperature is -1", str(bad.exception))
        with self.assertRaises(openai.BadRequestError):
            self.create("Hello", 5, tools=[{"type": "function", "function": {"name": "f"}}])
        with self.assertRaises(openai.APITimeoutError):
            self.client.with_options(timeout=.01).chat.completions.create(
                model="nano", messages=[{"role": "user", "content": "Hi"}], max_tokens=2000, extra_body={"ignore_eos": True})

    def test_several_prompts_and_their_scores(self):
        scored = self.client.completions.create(model="nano", prompt=["The river", "Rain"], echo=True, logprobs=1, max_tokens=1, temperature=0)
        self.assertEqual([choice.index for choice in scored.choices], [0, 1])
        for choice, prompt in zip(scored.choices, ("The river", "Rain"), strict=True):
            self.assertTrue(choice.text.startswith(prompt))
            self.assertIsNone(choice.logprobs.token_logprobs[0])
            self.assertEqual(len(choice.logprobs.tokens), len(choice.logprobs.top_logprobs))
        chunks = list(self.client.completions.create(model="nano", prompt=["The river", "Rain"], max_tokens=5, stream=True))
        self.assertEqual({choice.index for chunk in chunks for choice in chunk.choices}, {0, 1})

    def test_the_async_client(self):
        async def ask():
            async with openai.AsyncOpenAI(base_url=self.client.base_url, api_key="sk-test") as client:
                stream = await client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "Hello"}],
                                                              max_tokens=5, stream=True)
                return [chunk async for chunk in stream]
        self.assertGreaterEqual(len(asyncio.run(ask())), 1)

    def test_the_example(self):
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        done = subprocess.run([sys.executable, os.path.join(ROOT, "docs", "examples", "chat.py"), f"http://{cluster.host}:{cluster.port}/v1",
                               os.path.join(ROOT, "tests", "data", "recording", "images", "photograph.jpg"), "What is this?"],
                              capture_output=True, text=True, check=True)
        self.assertTrue(done.stdout.strip())


if __name__ == "__main__":
    unittest.main(verbosity=2)
