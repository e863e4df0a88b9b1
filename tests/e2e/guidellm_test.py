"""GuideLLM, the load generator of the vLLM project, against the server: unchanged, by /v1/chat/completions and /v1/completions. It needs
PyTorch, gigabytes, so nothing is installed here: `pip install guidellm` (0.8 was tried), and LONGHAND_GUIDELLM names the program where it is
not on the PATH; exits with 77 (skipped) where it is nowhere."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from http_cluster import NANO, PATIENCE_S, Cluster

GUIDELLM = os.environ.get("LONGHAND_GUIDELLM") or shutil.which("guidellm")
REQUESTS, PROMPT_TOKENS, OUTPUT_TOKENS = 12, 48, 24


class GuideLlm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("--tp", "2")
        cls.addClassCleanup(cls.cluster.stop)

    def run_load(self, request_format):
        """The report of one benchmark."""
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder) / "report.json"
            done = subprocess.run(
                [GUIDELLM, "run", "--backend", f"kind=openai_http,target=http://{self.cluster.ready()['http']},request_format={request_format}",
                 "--data", f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={OUTPUT_TOKENS}",
                 "--tokenizer", f"kind=huggingface_auto,model={NANO}", "--profile", "kind=concurrent,streams=3",
                 "--constraint", f"kind=max_requests,count={REQUESTS}", "--output", f"kind=json,path={report}", "--disable-console"],
                cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": folder}, capture_output=True, text=True, check=False,
                timeout=2 * PATIENCE_S)
            self.assertEqual(done.returncode, 0, done.stderr[-3000:])
            benchmark, = json.loads(report.read_text(encoding="utf-8"))["benchmarks"]
            return benchmark

    def test_every_request_of_its_load_is_answered_and_counted(self):
        for request_format in ("/v1/chat/completions", "/v1/completions"):
            with self.subTest(request_format):
                requests = self.run_load(request_format)["requests"]
                self.assertEqual([request["info"]["error"] for request in requests["errored"]], [])
                self.assertEqual(len(requests["successful"]), REQUESTS)
                for request in requests["successful"]:
                    # What the server's usage says: as many tokens as were asked for, of a prompt as long as was sent.
                    self.assertEqual(request["output_metrics"]["text_tokens"], OUTPUT_TOKENS)
                    self.assertGreaterEqual(request["input_metrics"]["text_tokens"], PROMPT_TOKENS)
                    timings = request["info"]["timings"]
                    # Chunks with text in them: half a character has none.
                    self.assertGreater(timings["token_iterations"], OUTPUT_TOKENS // 2)
                    self.assertLess(timings["request_start"], timings["first_token_iteration"])
                    self.assertLess(timings["first_token_iteration"], timings["last_token_iteration"])


if __name__ == "__main__":
    if not GUIDELLM:
        print("skipped: there is no guidellm; see the head of this file")
        sys.exit(77)
    unittest.main()
