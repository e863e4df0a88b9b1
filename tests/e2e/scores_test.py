"""What the tokens of prompts were worth: the numbers of transformers, however they are asked for and whoever dies; and several prompts in one request."""
import base64
import json
import os
import signal
import unittest

from http_cluster import ROOT, Cluster, request

RECORDING = os.path.join(ROOT, "tests", "data", "recording")
with open(os.path.join(RECORDING, "scores.json"), encoding="utf-8") as file:
    CASES = json.load(file)["cases"]
NOISE = 1e-3  # of fp32


def messages_of(case):
    """Pictures as data URLs."""
    with open(os.path.join(RECORDING, "recording.json"), encoding="utf-8") as file:
        messages = json.load(file)["cases"][case]["messages"]
    for part in (part for message in messages if isinstance(message["content"], list) for part in message["content"]):
        if part["type"] == "image_url":
            with open(os.path.join(RECORDING, "images", part["image_url"]["url"]), "rb") as file:
                part["image_url"]["url"] = "data:image/jpeg;base64," + base64.b64encode(file.read()).decode()
    return messages


def chunks_of(body):
    """Of a stream, with or without ids."""
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]", lines[-1]
    return [json.loads(line) for line in lines[:-1]]


def joined(chunks):
    """What the chunks of each choice add up to."""
    choices = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        whole = choices.setdefault(choice["index"], {"text": "", "token_logprobs": [], "top_logprobs": [], "text_offset": [], "finish_reason": None})
        whole["text"] += choice["text"]
        for name, values in (choice["logprobs"] or {}).items():
            if name in whole:
                whole[name] += values
        whole["finish_reason"] = choice["finish_reason"] or whole["finish_reason"]
    return choices


class OfOneCluster(unittest.TestCase):
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("--dtype", "float32", "--max-num-batched-tokens", "64", "--max-model-len", "2048", *cls.flags)
        cls.addClassCleanup(cls.cluster.stop)

    def complete(self, status=200, **fields):
        answer = self.cluster.ask("POST", "/v1/completions", {"temperature": 0, "ignore_eos": True, **fields})
        self.assertEqual(answer.status, status, answer.body)
        return answer.json()

    def echo(self, prompt, max_tokens=0, **more):
        return self.complete(prompt=prompt, echo=True, max_tokens=max_tokens, **more)


class Numbers(OfOneCluster):
    def expect_recorded(self, case, scores):
        self.assertEqual(len(scores), len(case["token_ids"]))
        self.assertIsNone(scores[0])
        for i, place in enumerate(scores[1:]):
            own = place[str(case["token_ids"][i + 1])]
            self.assertAlmostEqual(own["logprob"], case["logprobs"][i], delta=NOISE)
            best = sorted((entry for entry in place.values() if entry["rank"]), key=lambda entry: entry["rank"])
            self.assertEqual([entry["rank"] for entry in best], [1, 2, 3, 4, 5])
            for entry, expected in zip(best, case["top_logprobs"][i], strict=True):
                self.assertAlmostEqual(entry["logprob"], expected, delta=NOISE)
            certain = [token_id for j, token_id in enumerate(case["top_ids"][i][:4])
                       if case["top_logprobs"][i][j] - case["top_logprobs"][i][j + 1] > NOISE]
            for token_id in certain[:-1]:
                self.assertIn(str(token_id), place)

    def test_they_are_those_of_transformers(self):
        for name in ("text_short", "text_long"):
            with self.subTest(case=name):
                answer = self.echo(CASES[name]["token_ids"], logprobs=5, prompt_logprobs=5)
                choice = answer["choices"][0]
                self.expect_recorded(CASES[name], choice["prompt_logprobs"])
                self.assertEqual(choice["logprobs"]["token_logprobs"][1:],
                                 [place[str(token_id)]["logprob"] for token_id, place in
                                  zip(CASES[name]["token_ids"][1:], choice["prompt_logprobs"][1:], strict=True)])
                self.assertEqual(answer["usage"]["completion_tokens"], 0)

    def test_they_are_so_behind_a_picture(self):
        answer = self.cluster.chat(messages=messages_of("photograph"), max_tokens=1, temperature=0, prompt_logprobs=5, return_token_ids=True).json()
        self.assertEqual(answer["prompt_token_ids"], CASES["photograph"]["token_ids"])
        self.expect_recorded(CASES["photograph"], answer["prompt_logprobs"])


class NumbersOfTwoRanks(Numbers):
    flags = ("--tp", "2")


class Echo(OfOneCluster):
    PROMPT = "The river is wide, and the bridge 桥 is old. " * 9

    def test_the_answer_begins_with_the_prompt(self):
        alone = self.complete(prompt=self.PROMPT, max_tokens=5, logprobs=2)
        for n in (1, 2):
            whole = self.echo(self.PROMPT, 5, logprobs=2, n=n)
            num_tokens = whole["usage"]["prompt_tokens"]
            self.assertEqual(whole["usage"]["completion_tokens"], 5 * n)
            for choice in whole["choices"]:
                self.assertEqual(choice["text"], self.PROMPT + alone["choices"][0]["text"])
                self.assertNotIn("prompt_token_ids", choice)
                lists = choice["logprobs"]
                self.assertEqual({len(values) for values in lists.values()}, {num_tokens + 5})
                self.assertEqual((lists["token_logprobs"][0], lists["top_logprobs"][0]), (None, None))
                self.assertEqual(lists["token_logprobs"][num_tokens:], alone["choices"][0]["logprobs"]["token_logprobs"])
                self.assertEqual(lists["text_offset"][num_tokens], len(self.PROMPT))
                for offset, token in zip(lists["text_offset"], lists["tokens"]):
                    if "\ufffd" not in token and offset < len(self.PROMPT):
                        self.assertEqual(self.PROMPT[offset:offset + len(token)], token)
            streamed = self.cluster.ask("POST", "/v1/completions", {"prompt": self.PROMPT, "echo": True, "max_tokens": 5, "logprobs": 2, "n": n,
                                                                    "temperature": 0, "ignore_eos": True, "stream": True})
            chunks = chunks_of(streamed.body)
            self.assertGreater(len(chunks), 2 + 5 * n)  # The prompt took several steps.
            for index, choice in joined(chunks).items():
                expected = whole["choices"][index]
                self.assertEqual((choice["text"], choice["finish_reason"]), (expected["text"], "length"))
                for name in ("token_logprobs", "top_logprobs", "text_offset"):
                    self.assertEqual(choice[name], expected["logprobs"][name])

    def test_nothing_need_be_written(self):
        scored = self.echo(self.PROMPT, logprobs=0)
        choice = scored["choices"][0]
        self.assertEqual((choice["text"], choice["finish_reason"], scored["usage"]["completion_tokens"]), (self.PROMPT, "length", 0))
        self.assertEqual(scored["usage"]["total_tokens"], scored["usage"]["prompt_tokens"])
        self.assertEqual(choice["logprobs"]["token_logprobs"], self.echo(self.PROMPT, 5, logprobs=0)["choices"][0]["logprobs"]["token_logprobs"][:-5])
        bare = self.echo(self.PROMPT)["choices"][0]
        self.assertEqual((bare["text"], bare["logprobs"]), (self.PROMPT, None))
        streamed = self.cluster.ask("POST", "/v1/completions", {"prompt": self.PROMPT, "echo": True, "max_tokens": 0, "n": 2, "stream": True})
        self.assertEqual([choice["text"] for choice in joined(chunks_of(streamed.body)).values()], [self.PROMPT] * 2)

    def test_clients_can_tell_what_was_likeliest(self):
        """lm-evaluation-harness asks so whether an answer is the greedy one."""
        written = self.complete(prompt=self.PROMPT, max_tokens=8, return_token_ids=True, prompt_token_ids=True)["choices"][0]
        ids = written["prompt_token_ids"] + written["token_ids"]
        lists = self.echo(ids, 1, logprobs=1)["choices"][0]["logprobs"]
        for logprob, top in zip(lists["token_logprobs"][-9:-1], lists["top_logprobs"][-9:-1]):
            self.assertEqual(logprob, max(top.values()))
        self.assertTrue(any(logprob != max(top.values()) for logprob, top in zip(lists["token_logprobs"][1:-9], lists["top_logprobs"][1:-9])))

    def test_the_shortest_and_the_longest_prompt(self):
        self.assertEqual(self.echo([5], logprobs=3)["choices"][0]["logprobs"]["token_logprobs"], [None])
        longest = self.echo([5] * 2048, logprobs=0)
        self.assertEqual(len(longest["choices"][0]["logprobs"]["token_logprobs"]), 2048)
        self.assertEqual(longest["longhand"]["finish_detail"], "context_full")

    def test_numbers_do_not_depend_on_the_cache(self):
        first = self.echo(self.PROMPT, logprobs=1)["choices"][0]["logprobs"]
        self.assertEqual(self.echo(self.PROMPT, logprobs=1)["choices"][0]["logprobs"], first)
        self.complete(prompt=self.PROMPT + " On", max_tokens=1)
        self.assertEqual(self.echo(self.PROMPT, logprobs=1)["choices"][0]["logprobs"], first)

    def test_what_is_too_much_is_refused(self):
        error = self.complete(400, prompt=[5] * 2000, n=16, echo=True, max_tokens=0, logprobs=20)["error"]
        self.assertIn("asks for 672000 log-probabilities of prompt tokens", error["message"])
        self.assertIn("at most 262144", error["message"])
        error = self.complete(400, prompt=[[5] * 2000] * 16, echo=True, max_tokens=0, logprobs=20)["error"]
        self.assertIn("asks for 672000 log-probabilities", error["message"])

    def test_a_stream_can_be_come_back_to(self):
        fields = {"prompt": self.PROMPT, "echo": True, "max_tokens": 3, "logprobs": 2, "temperature": 0, "ignore_eos": True, "stream": True,
                  "request_id": "back"}
        whole = self.cluster.ask("POST", "/v1/completions", fields).body
        self.assertGreater(len(chunks_of(whole)), 4)
        for last in range(1, 5):
            rest = self.cluster.ask("GET", f"/v1/streams/back?from={last + 1}").body
            self.assertEqual(rest, whole[whole.index(b"id: %d\n" % (last + 1)):])


class SeveralPrompts(OfOneCluster):
    PROMPTS = ["The river", "A bridge of stone and wood", "Rain"]

    def test_each_has_the_answers_that_it_has_alone(self):
        fields = {"max_tokens": 6, "logprobs": 1, "n": 2, "temperature": 1, "seed": 5}
        alone = [self.complete(prompt=prompt, **fields) for prompt in self.PROMPTS]
        together = self.complete(prompt=self.PROMPTS, **fields)
        self.assertEqual([choice["index"] for choice in together["choices"]], list(range(6)))
        for i, one in enumerate(alone):
            for choice, expected in zip(together["choices"][2 * i:], one["choices"]):
                self.assertEqual({**choice, "index": expected["index"]}, expected)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            self.assertEqual(together["usage"][name], sum(one["usage"][name] for one in alone))
        streamed = self.cluster.ask("POST", "/v1/completions", {"prompt": self.PROMPTS, "ignore_eos": True, "stream": True,
                                                                "stream_options": {"include_usage": True}, **fields})
        self.assertNotIn(b"id: ", streamed.body)
        chunks = chunks_of(streamed.body)
        self.assertEqual(chunks[-1]["choices"], [])
        self.assertEqual(chunks[-1]["usage"]["total_tokens"], together["usage"]["total_tokens"])
        self.assertEqual({chunk["id"] for chunk in chunks}, {chunks[0]["id"]})
        for index, choice in joined(chunks).items():
            expected = together["choices"][index]
            self.assertEqual((choice["text"], choice["token_logprobs"]), (expected["text"], expected["logprobs"]["token_logprobs"]))

    def test_token_ids_and_scores(self):
        ids = [self.cluster.ask("POST", "/tokenize", {"prompt": prompt}).json()["tokens"] for prompt in self.PROMPTS]
        together = self.echo(ids, logprobs=1)
        for choice, prompt in zip(together["choices"], self.PROMPTS, strict=True):
            alone = self.echo(prompt, logprobs=1)["choices"][0]
            self.assertEqual((choice["text"], choice["logprobs"]), (alone["text"], alone["logprobs"]))

    def test_one_that_is_wrong_refuses_all(self):
        self.assertIn("prompt 1: token id 0 of the prompt is 1073741824", self.complete(400, prompt=[[5], [1 << 30]])["error"]["message"])
        self.assertIn("prompt 2: ", self.complete(400, prompt=["a", "b", ""])["error"]["message"])
        self.assertIn("300 prompts and n is 1; together at most 256", self.complete(400, prompt=["a"] * 300)["error"]["message"])
        for field, value in (("request_id", "mine"), ("on_disconnect", "continue")):
            error = self.complete(400, prompt=["a", "b"], **{field: value})["error"]
            self.assertEqual(error["param"], field)
            self.assertIn("nobody can come back", error["message"])
        again = self.cluster.ask("POST", "/v1/completions", {"prompt": ["a", "b"]}, Last_Event_ID="3")
        self.assertIn("nobody can come back", again.json()["error"]["message"])

    def test_all_end_with_the_connection(self):
        for num_before, stream in enumerate((True, False)):
            with self.cluster.connect() as connection:
                connection.send(request("POST", "/v1/completions", {"prompt": self.PROMPTS, "max_tokens": 1900, "n": 8, "ignore_eos": True,
                                                                    "stream": stream}))
                self.cluster.wait_until(lambda: self.cluster.metric("longhand_requests_running") == 24, "the answers do not run")
            self.cluster.wait_until(lambda: self.cluster.metric("longhand_requests_running") == 0, "they go on")
            num_ended = 3 * (num_before + 1)
            self.cluster.wait_until(lambda: self.cluster.log().count("finish=cancelled") >= num_ended, "the log does not say so")
            self.assertEqual(self.cluster.log().count("finish=cancelled"), num_ended)


class Failover(unittest.TestCase):
    """A prompt of which a step computes little, so that there is time to kill in the midst of it."""
    FIELDS = {"prompt": [5 + i * i % 1900 for i in range(1800)], "echo": True, "max_tokens": 2, "logprobs": 3, "temperature": 0, "ignore_eos": True,
              "stream": True}

    def setUp(self):
        self.cluster = Cluster("--tp", "2", "--max-num-batched-tokens", "16")
        self.addCleanup(self.cluster.stop)
        self.expected = joined(chunks_of(self.cluster.ask("POST", "/v1/completions", self.FIELDS).body))

    def begin(self, connection, **more):
        """Up to the first part of the prompt."""
        connection.send(request("POST", "/v1/completions", {**self.FIELDS, **more}))
        self.assertEqual(connection.head()[0], 200)
        return connection.chunk()

    def test_a_lost_worker_changes_no_number(self):
        with self.cluster.connect() as connection:
            body = self.begin(connection)
            os.kill(self.cluster.ready()["pids"]["workers"][1], signal.SIGKILL)
            for chunk in iter(connection.chunk, b""):
                body += chunk
        self.assertEqual(joined(chunks_of(body)), self.expected)

    def test_a_lost_coordinator_changes_no_number(self):
        with self.cluster.connect() as connection:
            body = self.begin(connection, request_id="mine")
            self.cluster.kill_coordinator()
        body = body[:body.rfind(b"\n\n") + 2]
        last = int(body[body.rfind(b"id: ") + 4:].split(b"\n")[0])

        def rest():
            try:
                answer = self.cluster.ask("GET", f"/v1/streams/mine?from={last + 1}")
                return answer.body if answer.status == 200 and answer.body.endswith(b"[DONE]\n\n") else None
            except (OSError, EOFError):
                return None
        found = []
        self.cluster.wait_until(lambda: found.append(rest()) or found[-1], "the stream does not end")
        self.assertEqual(joined(chunks_of(body + found[-1])), self.expected)


del OfOneCluster
if __name__ == "__main__":
    unittest.main()
