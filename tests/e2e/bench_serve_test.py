"""`longhand bench serve` against a stand-in for a server with OpenAI's endpoints, whose answers are known."""
import http.server
import json
import os
import subprocess
import tempfile
import threading
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
LONGHAND = os.path.join(os.environ.get("LONGHAND_BINARIES", os.path.join(ROOT, "build", "release", "bin")), "longhand")
PATIENCE_S = 120
KEY = "sk-aKeyThatNobodyMaySee"
WORDS = ["An", " old", " sailor", " walks", " home", "."]


class StandInServer:
    """Streams WORDS, a chunk each; `failure` (status, body) is the answer to every chat after the first."""

    def __init__(self):
        self.requests, self.failure, self.has_usage, self.is_cut = [], None, True, False
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.reply(200, {"data": [{"id": "a-model"}]}) if self.path == "/v1/models" else self.reply(404, {})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, dict(self.headers), body))
                if server.failure and len(server.requests) > 1:
                    return self.reply(*server.failure)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
                for word in WORDS:
                    self.event({"choices": [{"index": 0, "delta": {"content": word}}]})
                if server.has_usage:
                    self.event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 8, "total_tokens": 19}})
                if not server.is_cut:
                    self.chunk(b"data: [DONE]\n\n")
                self.chunk(b"")

            def reply(self, status, body):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def event(self, body):
                self.chunk(b": a comment\n\ndata: " + json.dumps(body).encode() + b"\n\n")

            def chunk(self, content):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class BenchServe(unittest.TestCase):
    def setUp(self):
        self.server = StandInServer()
        self.addCleanup(self.server.close)

    def bench(self, *flags, url=None, **environment):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LONGHAND_", "OPENAI_")) and "proxy" not in k.lower()}
        return subprocess.run([LONGHAND, "bench", "serve", "--base-url", url or self.server.url, "--num-prompts", "5", *flags],
                              env={**kept, **environment}, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def test_counts_tokens_and_words_and_shows_percentiles(self):
        done = self.bench("--json", "--max-tokens", "16", "--ignore-eos", "--temperature", "0.5", OPENAI_API_KEY=KEY)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual((result["completed"], result["failed"], result["errors"]), (5, 0, {}))
        self.assertEqual((result["total_input_tokens"], result["total_output_tokens"]), (5 * 11, 5 * 8))
        self.assertEqual(result["total_words"], 5 * 5)
        for name in ("ttft", "tpot", "itl", "e2el"):
            self.assertGreaterEqual(result[f"p99_{name}_ms"], result[f"median_{name}_ms"])
        self.assertGreater(result["median_e2el_ms"], 0)
        self.assertEqual(done.stderr, "")
        self.assertEqual(len(self.server.requests), 6)  # One goes ahead.
        for path, headers, body in self.server.requests:
            self.assertEqual((path, headers["Authorization"]), ("/v1/chat/completions", "Bearer " + KEY))
            self.assertEqual((body["model"], body["temperature"], body["ignore_eos"]), ("a-model", .5, True))
            self.assertEqual(body["stream_options"], {"include_usage": True})
        prompts = {body["messages"][0]["content"] for _, _, body in self.server.requests[1:]}
        self.assertEqual(len(prompts), 5)
        self.assertTrue(all(len(prompt.split()) == 128 for prompt in prompts))

    def test_shows_a_table_and_takes_a_url_with_its_version(self):
        done = self.bench("--model", "another", url=self.server.url + "/v1/")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("5 completed, 0 failed", done.stdout)
        self.assertIn("to the first token (TTFT)", done.stdout)
        self.assertEqual(self.server.requests[0][2]["model"], "another")

    def test_sends_prompts_of_a_file_and_pictures(self):
        with tempfile.TemporaryDirectory() as folder:
            prompts, picture = os.path.join(folder, "prompts"), os.path.join(folder, "picture")
            with open(prompts, "w", encoding="utf-8") as file:
                file.write('{"prompt": "one"}\ntwo\n')
            with open(picture, "wb") as file:
                file.write(b"\x89PNG and so on")
            done = self.bench("--prompts", prompts, "--image", picture, "--max-concurrency", "1", "--request-rate", "1000")
        self.assertEqual(done.returncode, 0, done.stderr)
        contents = [body["messages"][0]["content"] for _, _, body in self.server.requests[1:]]
        self.assertEqual([content[1]["text"] for content in contents], ["one", "two", "one", "two", "one"])
        self.assertTrue(contents[0][0]["image_url"]["url"].startswith("data:image/png;base64,"))

    def test_pieces_are_counted_where_there_is_no_usage(self):
        self.server.has_usage = False
        self.assertEqual(json.loads(self.bench("--json").stdout)["total_output_tokens"], 5 * len(WORDS))

    def test_failures_are_counted_by_reason(self):
        self.server.failure = (429, {"error": {"message": "the queue is full"}})
        done = self.bench("--json")
        self.assertEqual(done.returncode, 1)
        result = json.loads(done.stdout)
        self.assertEqual((result["completed"], result["failed"]), (0, 5))
        self.assertEqual(sum(result["errors"].values()), 5)
        self.assertIn("HTTP 429: the queue is full", next(iter(result["errors"])))

    def test_a_stream_that_ends_early_is_a_failure(self):
        self.server.is_cut = True
        done = self.bench()
        self.assertEqual(done.returncode, 1)
        self.assertIn("ends without [DONE]", done.stderr)

    def test_a_server_that_is_not_there_is_said_at_once(self):
        self.server.close()
        done = self.bench()
        self.assertEqual(done.returncode, 1)
        self.assertIn("UNAVAILABLE", done.stderr)


if __name__ == "__main__":
    unittest.main()
