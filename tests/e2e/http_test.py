"""The HTTP gateway of real processes, over raw sockets: what one server answers."""
import contextlib
import json
import math
import re
import time
import unittest

from http_cluster import Cluster, greedy, picture_url, request

PLAN = "Section 1 - Main Point: the mill - Word Count: 200\nSection 2 - Main Point: the town - Word Count: 300"


class Gateway(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("--tp", "2", "--max-model-len", "2048", "--max-request-bytes", "1MiB",
                              "--served-model-name", "nano/v1")

    @classmethod
    def tearDownClass(cls):
        code = cls.cluster.stop()
        assert code == 0, code

    def ask(self, *args, **headers):
        return self.cluster.ask(*args, **headers)

    def chat(self, *args, **fields):
        answer = self.cluster.chat(**greedy(*args, **fields))
        self.assertEqual(answer.status, 200, answer.body)
        return answer

    def refused(self, status, param=None, message="", path="/v1/chat/completions", **fields):
        answer = self.ask("POST", path, fields)
        self.assertEqual(answer.status, status, answer.body)
        error = answer.json()["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        self.assertEqual(error["param"], param, error)
        self.assertIn(message, error["message"])
        return error

    def test_probes_and_what_is_served(self):
        self.assertEqual(self.ask("GET", "/livez").json(), {"status": "ok"})
        for path in ("/readyz", "/startupz", "/health"):
            answer = self.ask("GET", path)
            self.assertEqual((answer.status, answer.json()["phase"], answer.json()["percent"]), (200, "ready", 100))
        self.assertRegex(self.ask("GET", "/version").json()["version"], r"^\d+\.\d+\.\d+")
        models = self.ask("GET", "/v1/models").json()
        self.assertEqual(models["object"], "list")
        model = models["data"][0]
        self.assertEqual((model["id"], model["object"], model["max_model_len"]), ("nano/v1", "model", 2048))
        self.assertEqual(self.ask("GET", "/v1/models/nano/v1").json(), model)
        self.assertEqual(self.ask("GET", "/v1/models/nano%2Fv1").json(), model)
        self.assertEqual(self.ask("GET", "/v1/models/gpt-4").status, 404)
        self.assertEqual(self.ask("GET", "/openapi.json").json()["openapi"], "3.1.0")

    def test_the_pages(self):
        page = self.ask("GET", "/")
        names = re.findall(rb'(?:src|href)="(page/[^"]+)"', page.body)
        self.assertIn(b"page/app.mjs", names)
        types = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "mjs": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
        for path in ["/", *("/" + name.decode() for name in names)]:
            with self.subTest(path=path):
                part = self.ask("GET", path)
                self.assertEqual((part.status, part.headers["content-type"]), (200, types[path.partition(".")[2] or "html"]))
                self.assertIn("script-src 'self';", part.headers["content-security-policy"])
                self.assertNotIn("unsafe", part.headers["content-security-policy"])
                self.assertEqual((part.headers["cache-control"], part.headers["x-content-type-options"]), ("no-cache", "nosniff"))
                with self.cluster.connect() as connection:  # Kept alive over an answer without a body.
                    same = connection.ask("GET", path, If_None_Match=part.headers["etag"])
                    self.assertEqual((same.status, same.body), (304, b""))
                    self.assertEqual(connection.ask("GET", "/livez").status, 200)
        self.assertEqual(self.ask("GET", "/page/nothing.mjs").status, 404)
        status = self.ask("GET", "/status")
        self.assertIn(b"nano/v1", status.body)
        self.assertIn("default-src 'none'", status.headers["content-security-policy"])
        now = self.ask("GET", "/status.json").json()
        self.assertEqual((now["model"], now["ready"], now["phase"], now["percent"], now["waiting"]), ("nano/v1", True, "ready", 100, 0))

    def test_paths_and_methods(self):
        self.assertEqual(self.ask("GET", "/v2").json()["error"]["code"], None)
        self.assertEqual(self.ask("GET", "/v2").status, 404)
        wrong = self.ask("GET", "/v1/chat/completions")
        self.assertEqual((wrong.status, wrong.headers["allow"]), (405, "post, options"))
        head = self.ask("HEAD", "/v1/models")
        self.assertEqual(head.status, 200)
        self.assertGreater(int(head.headers["content-length"]), 0)
        given = self.ask("GET", "/livez", X_Request_Id="mine-1")
        self.assertEqual(given.headers["x-request-id"], "mine-1")
        self.assertRegex(self.ask("GET", "/livez").headers["x-request-id"], r"^req-[0-9a-f]{24}$")
        self.assertRegex(self.ask("GET", "/livez", X_Request_Id="x" * 200).headers["x-request-id"], r"^req-")

    def test_a_body_is_json_as_it_is(self):
        def post(*lines):
            with self.cluster.connect() as connection:
                connection.send("\r\n".join(["POST /v1/completions HTTP/1.1", "Host: a", "Content-Length: 2", *lines, "", "{}"]).encode())
                return connection.answer()
        for lines in [("Content-Type: application/json; charset=utf-8",), ("Content-Type: Application/JSON",), (),
                      ("Content-Type: application/json", "Content-Encoding: identity")]:
            self.assertEqual(post(*lines).json()["error"]["param"], "prompt", lines)
        for lines in [("Content-Type: text/plain",), ("Content-Type: application/jsonl",)]:
            self.assertEqual(post(*lines).status, 415, lines)
        packed = post("Content-Type: application/json", "Content-Encoding: gzip")
        self.assertEqual((packed.status, packed.headers["accept-encoding"]), (415, "identity"))
        self.assertIn("uncompressed", packed.json()["error"]["message"])

    def test_a_web_page_may_call(self):
        preflight = self.ask("OPTIONS", "/v1/chat/completions", Origin="https://a.example",
                             Access_Control_Request_Method="POST", Access_Control_Request_Headers="authorization,x-stainless-lang")
        self.assertEqual((preflight.status, preflight.body), (204, b""))
        self.assertEqual(preflight.headers["access-control-allow-origin"], "*")
        self.assertEqual(preflight.headers["access-control-allow-headers"], "authorization,x-stainless-lang")
        self.assertEqual(self.ask("GET", "/v1/models", Origin="https://a.example").headers["access-control-allow-origin"], "*")

    def test_a_whole_answer(self):
        answer = self.chat("Hello", 8).json()
        self.assertRegex(answer["id"], r"^chatcmpl-[0-9a-f]{24}$")
        self.assertEqual((answer["object"], answer["model"]), ("chat.completion", "nano/v1"))
        choice = answer["choices"][0]
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertEqual((choice["index"], choice["finish_reason"], choice["logprobs"]), (0, "length", None))
        self.assertEqual(choice["longhand"], {"finish_detail": "max_tokens"})
        self.assertEqual(answer["usage"]["completion_tokens"], 8)
        self.assertEqual(answer["usage"]["total_tokens"], answer["usage"]["prompt_tokens"] + 8)
        self.assertNotIn("token_ids", choice)
        parts = self.chat([{"type": "text", "text": "Hello"}], 8).json()
        self.assertEqual(parts["choices"][0]["message"], choice["message"])

    def test_bare_events_are_one_line(self):
        answer = self.chat("Hello", 8, stream=True, stream_options={"include_usage": True}, bare_events=True)
        events = answer.body.decode().split("\n\n")
        self.assertEqual([events.pop(), events.pop()], ["", "data: [DONE]"])
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], 8)
        again = self.ask("GET", f"/v1/streams/{chunks[0]['id']}?from=2").events()
        self.assertEqual([event.json() for event in again[:-1]], chunks[1:])
        aiohttp = {"User-Agent": "Python/3.11 aiohttp/3.14.5"}
        for headers, fields, bare in ((aiohttp, {}, True), ({"User-Agent": "python-httpx/0.28"}, {}, False),
                                      (aiohttp, {"bare_events": False}, False), (aiohttp, {"bare_events": None}, True),
                                      (aiohttp, {"request_id": "by-aiohttp"}, False),
                                      ({**aiohttp, "Accept": "text/event-stream"}, {}, False)):
            with self.subTest(headers=headers, fields=fields):
                body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, "stream": True, **fields}
                answer = self.ask("POST", "/v1/chat/completions", body, **headers).body.decode()
                self.assertEqual("\nid: " in answer or answer.startswith("id: "), not bare)
        self.refused(400, "bare_events", messages=[{"role": "user", "content": "Hi"}], bare_events="no")

    def test_a_stream_says_what_the_whole_answer_says(self):
        whole = self.chat("Hello", 40).json()
        answer = self.chat("Hello", 40, stream=True, stream_options={"include_usage": True})
        self.assertTrue(answer.headers["content-type"].startswith("text/event-stream"))
        self.assertEqual(answer.headers["cache-control"], "no-cache")
        self.assertEqual(answer.headers["x-accel-buffering"], "no")
        events = answer.events()
        self.assertEqual([event.id for event in events], list(range(1, len(events) + 1)))
        self.assertEqual(events[-1].data, "[DONE]")
        usage = events[-2].json()
        self.assertEqual((usage["choices"], usage["usage"]), ([], whole["usage"]))
        chunks = [event.json() for event in events[:-2]]
        self.assertTrue(all(chunk["usage"] is None and chunk["object"] == "chat.completion.chunk" for chunk in chunks))
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        self.assertEqual([i for i, delta in enumerate(deltas) if "role" in delta], [0])
        self.assertEqual("".join(delta["content"] for delta in deltas), whole["choices"][0]["message"]["content"])
        finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
        self.assertEqual([reason for reason in finishes if reason], ["length"])
        self.assertEqual(finishes[-1], "length")
        counted = self.chat("Hello", 40, stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}).events()
        usages = [event.json()["usage"] for event in counted[:-1]]
        self.assertEqual({usage["prompt_tokens"] for usage in usages}, {whole["usage"]["prompt_tokens"]})
        so_far = [usage["completion_tokens"] for usage in usages]
        self.assertEqual(so_far, sorted(so_far))
        self.assertEqual((so_far[0], usages[-1]), (1, whole["usage"]))
        self.assertEqual([event.json()["choices"] for event in counted[:-1]], [chunk["choices"] for chunk in [*chunks, usage]])
        self.assertTrue(all("prompt_token_ids" not in event.json() for event in counted[:-1]))
        plain = self.chat("Hello", 3, stream=True).events()
        self.assertTrue(all("usage" not in event.json() for event in plain[:-1]))

    def test_several_answers_logprobs_and_token_ids(self):
        fields = dict(n=2, logprobs=True, top_logprobs=3, return_token_ids=True, temperature=1, seed=7)
        whole = self.chat("Hello", 6, **fields).json()
        self.assertEqual([choice["index"] for choice in whole["choices"]], [0, 1])
        self.assertEqual(len(whole["prompt_token_ids"]), whole["usage"]["prompt_tokens"])
        for choice in whole["choices"]:
            self.assertEqual(len(choice["token_ids"]), 6)
            tokens = choice["logprobs"]["content"]
            self.assertEqual(len(tokens), 6)
            for token in tokens:
                self.assertLessEqual(token["logprob"], 0)
                self.assertEqual(len(token["top_logprobs"]), 3)
                self.assertEqual(bytes(token["bytes"]).decode(errors="replace"), token["token"])
        streamed = {0: "", 1: ""}
        logprobs = {0: [], 1: []}
        for event in self.chat("Hello", 6, stream=True, **fields).events()[:-1]:
            choice = event.json()["choices"][0]
            streamed[choice["index"]] += choice["delta"]["content"]
            logprobs[choice["index"]] += choice["logprobs"]["content"]
        for choice in whole["choices"]:
            self.assertEqual(streamed[choice["index"]], choice["message"]["content"])
            self.assertEqual(logprobs[choice["index"]], choice["logprobs"]["content"])

    def test_a_logit_bias_moves_the_answer_and_not_its_logprobs(self):
        fields = dict(logprobs=True, top_logprobs=3, return_token_ids=True)
        plain = self.chat("Hello", 1, **fields).json()["choices"][0]
        best = plain["token_ids"][0]
        biased = self.chat("Hello", 1, logit_bias={str(best): -100}, **fields).json()["choices"][0]
        self.assertEqual(biased["logprobs"]["content"][0]["top_logprobs"], plain["logprobs"]["content"][0]["top_logprobs"])
        self.assertEqual(biased["message"]["content"], plain["logprobs"]["content"][0]["top_logprobs"][1]["token"])
        forced = biased["token_ids"][0]
        for path, prompt in (("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}), ("/v1/completions", {"prompt": "Hello"})):
            answer = self.ask("POST", path, dict(prompt, max_tokens=4, n=2, temperature=1, ignore_eos=True, return_token_ids=True,
                                                 logit_bias={str(forced): 100, "5": -0.5})).json()
            self.assertEqual([choice["token_ids"] for choice in answer["choices"]], [[forced] * 4] * 2)
        self.assertEqual(self.chat("Hello", 1, logit_bias=None, **fields).json()["choices"][0]["token_ids"], [best])

    def test_text_completions(self):
        fields = dict(prompt="Once upon a time", max_tokens=5, temperature=0, ignore_eos=True)
        whole = self.ask("POST", "/v1/completions", {**fields, "logprobs": 2}).json()
        self.assertRegex(whole["id"], r"^cmpl-")
        self.assertEqual(whole["object"], "text_completion")
        choice = whole["choices"][0]
        self.assertEqual(choice["finish_reason"], "length")
        logprobs = choice["logprobs"]
        self.assertEqual([len(logprobs[key]) for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset")], [5] * 4)
        self.assertEqual(logprobs["text_offset"][0], 0)
        streamed = self.ask("POST", "/v1/completions", {**fields, "logprobs": 2, "stream": True}).events()
        self.assertEqual("".join(event.json()["choices"][0]["text"] for event in streamed[:-1]), choice["text"])
        self.assertEqual(sum((event.json()["choices"][0]["logprobs"]["text_offset"] for event in streamed[:-1]), []),
                         logprobs["text_offset"])
        ids = self.ask("POST", "/tokenize", {"prompt": fields["prompt"]}).json()["tokens"]
        for prompt in (ids, [ids], [fields["prompt"]]):
            again = self.ask("POST", "/v1/completions", {**fields, "prompt": prompt}).json()
            self.assertEqual(again["choices"][0]["text"], choice["text"])

    def test_documents(self):
        fields = {"instruction": "Write.", "plan": PLAN, "temperature": 1, "seed": 3, "max_tokens": 20}
        answer = self.ask("POST", "/v1/documents", {**fields, "request_id": "whole"})
        self.assertEqual(answer.status, 200, answer.body)
        whole = answer.json()
        self.assertEqual((whole["id"], whole["object"], whole["model"], whole["plan"]), ("whole", "document", "nano/v1", PLAN))
        self.assertEqual([section["step"] for section in whole["sections"]], PLAN.split("\n"))
        self.assertEqual([section["target_words"] for section in whole["sections"]], [200, 300])
        self.assertEqual("\n\n".join(section["text"] for section in whole["sections"]), whole["text"])
        self.assertEqual(sum(section["words"] for section in whole["sections"]), whole["words"])
        self.assertEqual((whole["finish_reason"], whole["longhand"]), ("stop", {"finish_detail": "document_written"}))
        self.assertEqual(whole["usage"]["completion_tokens"], 40)

        events = self.ask("POST", "/v1/documents", {**fields, "stream": True, "request_id": "stream"}).events()
        self.assertEqual([event.id for event in events], list(range(1, len(events) + 1)))
        self.assertEqual(events[-1].data, "[DONE]")
        steps = [event.json() for event in events[:-1]]
        for step in steps:
            self.assertEqual((step["id"], step["object"], step["model"]), ("stream", "document.chunk", "nano/v1"))
        self.assertEqual(steps[0]["plan"]["text"], PLAN)
        self.assertEqual([step["section_begin"]["section"] for step in steps if "section_begin" in step], [1, 2])
        self.assertEqual([step["section_end"]["words"] for step in steps if "section_end" in step],
                         [section["words"] for section in whole["sections"]])
        self.assertEqual("".join(step.get("text", "") for step in steps), whole["text"])
        self.assertEqual((steps[-1]["finish_reason"], steps[-1]["usage"]["completion_tokens"]), ("stop", 40))
        middle = len(events) // 2
        rest = self.ask("GET", f"/v1/streams/stream?from={middle + 1}").events()
        self.assertEqual([event.block for event in rest], [event.block for event in events[middle:]])
        self.cluster.wait_until(lambda: time.time() >= whole["created"] + 1, "time stands still")
        again = self.ask("POST", "/v1/documents", {**fields, "request_id": "whole"})
        self.assertEqual(again.body, answer.body)

        held = self.ask("POST", "/v1/documents", {**fields, "target_words": 50}).json()
        self.assertEqual(held["sections"][0]["target_words"], 20)
        self.assertEqual(held["sections"][1]["target_words"], max(50 - held["sections"][0]["words"], 6))
        self.assertEqual((held["longhand"]["length"]["target_words"], held["longhand"]["length"]["words"]), (50, held["words"]))

    def test_what_is_no_document_is_refused(self):
        def refused(param, message="", **fields):
            self.refused(400, param, message, path="/v1/documents", **{"instruction": "Write.", "plan": PLAN, **fields})
        refused("plan", "no line begins with 'Section 1 -'", plan="Once upon a time")
        refused("instruction", "it must say what to write", instruction=None)
        refused("instruction", "instruction is empty", instruction=" ")
        refused("messages", "instruction is given already", messages=[{"role": "user", "content": "Write."}])
        refused("target_words", target_words=0)
        refused("target_words", "it must be a whole number from 1 to 640000", target_words=640001)
        refused("n", n=2)
        refused("stop", stop="END")
        refused("logit_bias", "a document is several answers", logit_bias={"1": 2})
        refused("temperature", temperature=-1)
        refused("messages", images=["data:image/png;base64,YQ=="])
        self.refused(404, "model", path="/v1/documents", instruction="Write.", model="another")

    def test_stop_seed_and_sampling(self):
        text = self.chat("Hello", 30).json()["choices"][0]["message"]["content"]
        stop = text[len(text) // 2:][:3]
        stopped = self.chat("Hello", 30, stop=stop).json()["choices"][0]
        self.assertEqual((stopped["finish_reason"], stopped["longhand"]["finish_detail"]), ("stop", "stop_string"))
        self.assertEqual(stopped["message"]["content"], text[:text.index(stop)])
        random_fields = dict(temperature=1.5, top_p=.9, top_k=50, min_p=.01, repetition_penalty=1.1, presence_penalty=.1,
                             frequency_penalty=.1, min_tokens=3, seed=11)
        first, again = (self.chat("Hello", 20, **random_fields).json()["choices"] for _ in range(2))
        self.assertEqual(first, again)
        self.assertNotEqual(self.chat("Hello", 20, **{**random_fields, "seed": 12}).json()["choices"], first)

    def test_pictures(self):
        parts = [{"type": "image_url", "image_url": {"url": picture_url(), "detail": "high"}},
                 {"type": "text", "text": "What is this?"}]
        answer = self.chat(parts, 4).json()
        self.assertGreater(answer["usage"]["prompt_tokens"], 40)
        counted = self.ask("POST", "/tokenize", {"messages": [{"role": "user", "content": parts}]}).json()
        self.assertEqual(counted["count"], answer["usage"]["prompt_tokens"])

    def test_tokens_there_and_back(self):
        text = "Two 词 and <|im_end|>."
        tokens = self.ask("POST", "/tokenize", {"prompt": text, "model": "nano/v1"}).json()
        self.assertEqual((tokens["count"], tokens["max_model_len"]), (len(tokens["tokens"]), 2048))
        self.assertEqual(self.ask("POST", "/detokenize", {"tokens": tokens["tokens"]}).json(), {"prompt": text})
        for wrong in ("a", -1, 1 << 30):
            self.refused(400, "tokens", path="/detokenize", tokens=[wrong])
        self.refused(400, "prompt", path="/tokenize")
        self.refused(404, "model", path="/tokenize", model="other", prompt="a")
        chat = [{"role": "user", "content": "Hi"}]
        for param, value in [("add_generation_prompt", False), ("return_token_strs", True), ("tools", [{}]),
                             ("chat_template_kwargs", {"x": 1})]:
            self.refused(400, param, path="/tokenize", messages=chat, **{param: value})

    def test_each_wrong_parameter_is_named(self):
        user = [{"role": "user", "content": "Hi"}]
        for param, value in [("temperature", -1), ("temperature", "hot"), ("top_p", -0.1), ("top_p", 1.5), ("top_k", -2),
                             ("top_k", 1.5), ("min_p", 2), ("seed", -2 ** 63 - 1), ("seed", "x"), ("n", 0), ("n", 17), ("n", None and 0),
                             ("max_tokens", 0), ("max_completion_tokens", -5), ("min_tokens", -1), ("presence_penalty", 3),
                             ("frequency_penalty", -3), ("repetition_penalty", 0), ("stop", 5), ("stop", [""]),
                             ("stop", ["a"] * 17), ("stop_token_ids", ["a"]), ("stop_token_ids", [1 << 30]),
                             ("top_logprobs", 21), ("top_logprobs", 2), ("stream", "yes"), ("stream_options", {"include_usage": True}),
                             ("request_id", "no spaces"), ("target_words", 0), ("target_words", 1_000_001), ("repetition_guard", "on"), ("on_disconnect", "explode"), ("max_tokens", 1 << 40),
                             ("tools", [{"type": "function"}]), ("functions", [{}]), ("audio", {"voice": "alloy"}),
                             ("response_format", {"type": "xml"}), ("response_format", {"type": "json_schema"}), ("response_format", "json"),
                             ("guided_json", 5), ("guided_choice", ["a", 1]), ("guided_regex", 5), ("structured_outputs", {"choice": "a"}),
                             ("structured_outputs", {"whitespace_pattern": " "}), ("structured_outputs", {"json": {}, "regex": "a"}),
                             ("modalities", ["audio"]), ("logit_bias", [1]), ("logit_bias", {"a": 2}), ("logit_bias", {"01": 2}), ("logit_bias", {"1": "2"}),
                             ("logit_bias", {"1": 100.5}), ("logit_bias", {"1": 1e300}), ("logit_bias", {"-1": 2}), ("logit_bias", {str(1 << 30): 2}),
                             ("logit_bias", {str(id): 1 for id in range(301)}), ("chat_template", "{{ x }}")]:
            if value is None:
                continue
            with self.subTest(param=param, value=value):
                self.refused(400, param, messages=user, **{param: value})
        for value in (None, [], "Hi", [{}], [{"role": "robot", "content": "Hi"}], [{"role": "user"}],
                      [{"role": "user", "content": [{"type": "input_audio"}]}], [{"role": "user", "content": [{"type": "text"}]}],
                      [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}],
                      [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a.example/b.png"}}]}],
                      [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
                      [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}}]}],
                      [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}]):
            with self.subTest(messages=value):
                self.refused(400, "messages", messages=value)
        self.assertEqual(self.refused(404, "model", "'gpt-4' is not served here", messages=user, model="gpt-4")["code"],
                         "model_not_found")
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
        self.refused(400, "messages", "33 images; at most 32", messages=[{"role": "user", "content": [picture] * 33}])
        too_long = self.refused(400, "max_tokens", "context of 2048", messages=user, max_tokens=2048)
        self.assertEqual(too_long["code"], "context_length_exceeded")
        for prompt in (None, [], "", ["a", [1]], [[1], []], ["a", ""], [1 << 30], {"a": 1}):
            with self.subTest(prompt=prompt):
                self.assertEqual(self.ask("POST", "/v1/completions", {"prompt": prompt}).status, 400)
        for body in (b"", b"{", b"[]", b'{"a":1}x', b'"\xff"', b'{"messages":' + b"[" * 100 + b"]" * 100 + b"}"):
            with self.subTest(body=body):
                with self.cluster.connect() as connection:
                    connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    answer = connection.answer()
                    self.assertEqual((answer.status, answer.json()["error"]["type"]), (400, "invalid_request_error"))
        # The largest number that is one in 32 bits, as the interface's document says.
        most = self.ask("GET", "/openapi.json").json()["components"]["schemas"]["ChatRequest"]["properties"]["temperature"]["exclusiveMaximum"]
        self.refused(400, "temperature", messages=user, temperature=most)
        self.assertEqual(self.cluster.chat(messages=user, max_tokens=2, temperature=math.nextafter(most, 0)).status, 200)
        # null is absent, and what OpenAI's clients send without meaning anything is nothing.
        self.assertEqual(self.cluster.chat(messages=user, max_tokens=2, temperature=None, stop=None, tools=[], tool_choice="none",
                                           user="me", metadata={}, response_format={"type": "text"}, logit_bias={}).status, 200)

    def test_answers_have_the_form_that_was_asked_for(self):
        user = [{"role": "user", "content": "Hi"}]
        schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 10, "maximum": 99}, "b": {"enum": ["x", "y"]}},
                  "required": ["a", "b"], "additionalProperties": False}
        for fields, matches in [
                ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}}, schema),
                ({"structured_outputs": {"json": schema}}, schema), ({"guided_json": json.dumps(schema)}, schema),
                ({"structured_outputs": {"regex": "[a-c]{3,9}!"}}, "[a-c]{3,9}!"), ({"guided_regex": "a+b"}, "a+b"),
                ({"guided_choice": ["red", "green"]}, "red|green"), ({"structured_outputs": {"choice": ["red", "green"]}}, "red|green"),
                ({"guided_grammar": 'start: "<" /[0-9]{1,9}/ ">"'}, "<[0-9]{1,9}>")]:
            with self.subTest(fields=fields):
                answer = self.cluster.chat(messages=user, max_tokens=200, temperature=1, seed=5, n=2, logprobs=True, **fields).json()
                for choice in answer["choices"]:
                    text = choice["message"]["content"]
                    self.assertEqual(choice["finish_reason"], "stop", text)
                    self.assertIn(choice["longhand"]["finish_detail"], ("grammar_complete", "eos"))
                    if isinstance(matches, str):
                        self.assertRegex(text, f"^(?:{matches})$")
                    else:
                        value = json.loads(text)
                        self.assertTrue(10 <= value["a"] <= 99 and value["b"] in ("x", "y") and len(value) == 2, text)
        text = self.ask("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 40, "guided_regex": "[0-9]{4}", "ignore_eos": True}
                        ).json()["choices"][0]["text"]
        self.assertRegex(text, "^[0-9]{4}$")
        # Nothing but an object of JSON can be begun.
        text = self.cluster.chat(messages=user, max_tokens=20, response_format={"type": "json_object"}).json()["choices"][0]["message"]["content"]
        self.assertRegex(text, r"^\s*\{")

    def test_forms_that_cannot_be_kept_are_refused_with_what_is_wrong(self):
        user = [{"role": "user", "content": "Hi"}]
        for fields, why in [({"guided_regex": "("}, "constraint.regex: .*unclosed group"),
                            ({"guided_regex": "(" * 100000}, "constraint.regex: .*at most 16384"),
                            ({"guided_json": {"type": "banana"}}, "constraint.json_schema: .*banana"),
                            ({"guided_json": {"uniqueItems": True}}, "constraint.json_schema: .*uniqueItems"),
                            ({"guided_grammar": "start: x"}, "constraint.grammar: .*unknown name"),
                            ({"guided_choice": ["a", ""]}, "constraint.choice: "),
                            ({"guided_regex": "a", "target_words": 50}, "only one of the two"),
                            ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "asks for 2 forms")]:
            with self.subTest(fields=str(fields)[:100]):
                answer = self.cluster.chat(messages=user, **fields)
                self.assertEqual(answer.status, 400)
                self.assertRegex(answer.json()["error"]["message"], why)
                self.assertIn(answer.json()["error"]["param"], (*fields, "structured_outputs"))
        self.assertEqual(self.ask("POST", "/v1/documents", {"instruction": "x", "response_format": {"type": "json_object"}}).status, 400)

    def test_a_large_body_is_refused_by_its_promise_and_by_its_bytes(self):
        with self.cluster.connect() as connection:
            connection.send(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
            self.assertEqual(connection.answer().status, 413)
        with self.cluster.connect() as connection:
            connection.send(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(40):
                    connection.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.assertEqual(connection.answer().status, 413)

    def test_answers_that_are_made_do_not_count_the_bytes_that_they_were_asked_with(self):
        """Four bodies of this size may be read and prepared at once."""
        large = greedy("Hi", 1500, user="x" * 900_000, stream=True)
        with contextlib.ExitStack() as clients:
            for _ in range(6):
                client = clients.enter_context(self.cluster.connect())
                client.post("/v1/chat/completions", large)
                client.until(b"id: 1\n")

    def test_pipelined_requests_are_answered_in_order(self):
        with self.cluster.connect() as connection:
            connection.send(request("POST", "/v1/chat/completions", greedy("Hello", 5)) + request("GET", "/livez") +
                            request("POST", "/v1/chat/completions", greedy("Hello", 5, stream=True)) + request("GET", "/version"))
            first, live, stream, version = (connection.answer() for _ in range(4))
        self.assertEqual(live.json(), {"status": "ok"})
        self.assertIn("version", version.json())
        self.assertEqual("".join(event.json()["choices"][0]["delta"]["content"] for event in stream.events()[:-1]),
                         first.json()["choices"][0]["message"]["content"])

    def test_a_client_that_waits_for_a_100_gets_one(self):
        body = json.dumps(greedy("Hello", 3)).encode()
        with self.cluster.connect() as connection:
            connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
            self.assertEqual(connection.head()[0], 100)
            connection.send(body)
            self.assertEqual(connection.answer().status, 200)

    def test_http_1_0_gets_a_stream_that_ends_with_its_connection(self):
        body = json.dumps(greedy("Hello", 3, stream=True)).encode()
        with self.cluster.connect() as connection:
            connection.send(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            status, headers = connection.head()
            self.assertEqual(status, 200)
            self.assertNotIn("transfer-encoding", headers)
            self.assertTrue(connection.rest().endswith(b"data: [DONE]\n\n"))

    def test_a_client_that_leaves_ends_its_request(self):
        for stream in (True, False):
            with self.subTest(stream=stream):
                with self.cluster.connect() as connection:
                    connection.post("/v1/chat/completions", greedy("Hello", 1900, stream=stream))
                    if stream:
                        connection.until(b"id: 3")
                    else:
                        self.cluster.wait_until(lambda: self.cluster.metric("longhand_requests_running") == 1, "it does not run")
                self.cluster.wait_until(lambda: self.cluster.metric("longhand_requests_running") == 0, "it still runs")

    def test_a_request_is_ended_by_its_id_whoever_reads(self):
        name = 'longhand_http_requests_total{outcome="ok",route="DELETE /v1/streams/{id}"}'
        before = self.cluster.metric(name)
        document = {"instruction": "Write.", "plan": PLAN, "max_tokens": 1500}
        answer = greedy("Hello", 1900)
        for path, fields in (("/v1/chat/completions", answer), ("/v1/documents", document)):
            with self.subTest(path=path):
                request_id = f"ended-{path.rpartition('/')[2]}"
                with self.cluster.connect() as connection:
                    connection.post(path, {**fields, "stream": True, "on_disconnect": "continue", "request_id": request_id})
                    connection.until(b"id: 3")
                    ended = self.ask("DELETE", f"/v1/streams/{request_id}")
                    self.assertEqual((ended.status, ended.body), (204, b""))
                    self.assertIn(b'"error"', connection.until(b"the request was cancelled"))
                self.cluster.wait_until(lambda: self.cluster.metric("longhand_requests_running") == 0, "it still runs")
                kept = self.ask("GET", f"/v1/streams/{request_id}").events()
                self.assertEqual(kept[-1].json()["error"]["message"], "the request was cancelled")
                self.assertEqual(self.ask("DELETE", f"/v1/streams/{request_id}").status, 404)
        self.assertEqual(self.ask("DELETE", "/v1/streams/unknown").json()["error"]["code"], "not_found")
        # An exchange is counted once its answer is sent.
        self.cluster.wait_until(lambda: self.cluster.metric(name) == before + 2, "two were not counted")

    def test_adapters_stay_as_they_are_where_nobody_allowed_more(self):
        for verb in ("load", "unload"):
            error = self.refused(403, None, "--allow-runtime-lora-updating", path=f"/v1/{verb}_lora_adapter", lora_name="a", lora_path="/")
            self.assertEqual(error["type"], "permission_error")

    def test_requests_are_counted(self):
        name = 'longhand_http_requests_total{outcome="ok",route="/version"}'
        before = self.cluster.metric(name)
        self.ask("GET", "/version")
        self.cluster.wait_until(lambda: self.cluster.metric(name) == before + 1, "it was not counted")
        self.assertGreaterEqual(self.cluster.metric("longhand_http_connections"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
