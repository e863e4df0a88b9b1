"""`longhand eval` on small stand-ins for the benchmarks, against stand-ins for the model and the judge whose answers are
known, and against a cluster with the bundled model."""
import csv
import json
import os
import re
import subprocess
import tempfile
import unittest

from http_cluster import BINARIES, PATIENCE_S, ROOT, Cluster
from stand_in_openai import StandInOpenAi, pictures_of, text_of

DATA = os.path.join(ROOT, "tests", "data", "benchmarks")
DIMENSIONS = ["Relevance", "Accuracy", "Coherence", "Clarity", "Breadth and Depth", "Reading Experience"]


def words(count):
    return " ".join(["word"] * count)


def asked_length(body):
    return int(re.search(r"\d+", text_of(body))[0])


def verdict(score):
    return "```json\n" + json.dumps({"Analysis": "fine", **{dimension: score for dimension in DIMENSIONS}}) + "\n```"


class EvalTestCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = folder.name

    def stand_in(self, answer):
        server = StandInOpenAi(answer)
        self.addCleanup(server.close)
        return server

    def run_eval(self, *flags, data="mmlongbench.parquet", **environment):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "LONGHAND_")) and "proxy" not in k.lower()}
        return subprocess.run([os.path.join(BINARIES, "longhand"), "eval", flags[0], "--data", os.path.join(DATA, data),
                               "--out", self.out, "--retry-pause-ms", "0", *flags[1:]],
                              env={**kept, **environment}, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def result(self, done, code=0):
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout)

    def lines(self, *path):
        with open(os.path.join(self.out, *path), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def text(self, *path):
        with open(os.path.join(self.out, *path), encoding="utf-8") as file:
            return file.read()


class RulerTest(EvalTestCase):
    def ruler(self, *flags, **environment):
        return self.run_eval("longwrite-v-ruler", *flags, data="ruler.parquet", **environment)

    def test_measures_lengths_as_published_and_beyond_apart(self):
        writer = self.stand_in(lambda body: words(asked_length(body) // 2))
        done = self.ruler("--base-url", writer.url, "--extend", "8000", "--json", OPENAI_API_KEY="sk-secret")
        result = self.result(done)
        self.assertEqual([(line["L"], line["count"], line["mean"]) for line in result["published"]],
                         [(500, 2, 250), (1000, 2, 500)])
        self.assertAlmostEqual(result["published"][0]["length_score"], 66.6667, 3)
        self.assertAlmostEqual(result["published"][0]["length_score_paper"], 50, 3)
        self.assertEqual([(line["L"], line["count"], line["mean"]) for line in result["extension"]], [(8000, 2, 4000)])
        self.assertEqual(set(writer.keys), {"Bearer sk-secret"})
        for body in writer.bodies:
            self.assertEqual((body["temperature"], body["top_p"], body["top_k"], body["repetition_penalty"]), (.9, .95, -1, 1))
            self.assertEqual(body["max_tokens"], 20000 if asked_length(body) == 8000 else 8192)
            self.assertEqual([url[:22] for url in pictures_of(body)], ["data:image/png;base64,"])
        self.assertEqual(sorted(text_of(body) for body in writer.bodies if asked_length(body) == 8000),
                         ["Write a 8000-word story about this picture.", "看图写一篇8000字的文章。"])
        rows = list(csv.DictReader(self.text("LongWrite_V_Ruler", "a-model.csv").splitlines()))
        self.assertEqual([row["length"] for row in rows if row["L"] == "500"], ["250", "250"])
        self.assertIn(">8k</text>", self.text("LongWrite_V_Ruler", "a-model.extension.svg"))
        self.assertNotIn(">8k</text>", self.text("LongWrite_V_Ruler", "a-model.svg"))

    def test_goes_on_with_what_failed_and_refuses_other_settings(self):
        writer = self.stand_in(lambda body: (500, {}) if "500字" in text_of(body) else words(3))
        done = self.ruler("--base-url", writer.url, "--json")
        self.assertEqual(self.result(done, code=1)["failed"], 1)
        self.assertIn("row 2: INTERNAL: HTTP 500", done.stderr)
        self.assertEqual(len(writer.bodies), 3 + 3)
        again = self.stand_in(lambda body: words(4))
        self.assertEqual(self.result(self.ruler("--base-url", again.url, "--json"))["failed"], 0)
        self.assertEqual(len(again.bodies), 1)
        other = self.ruler("--base-url", again.url, "--temperature", "0.5")
        self.assertEqual(other.returncode, 1)
        self.assertIn("temperature 0.9, and now it is 0.5", other.stderr)

    def test_draws_other_models_beside(self):
        writer = self.stand_in(lambda body: words(asked_length(body)))
        self.result(self.ruler("--base-url", writer.url, "--name", "first", "--json"))
        self.result(self.ruler("--base-url", writer.url, "--name", "second", "--json",
                               "--with", os.path.join(self.out, "LongWrite_V_Ruler", "first.jsonl")))
        plot = self.text("LongWrite_V_Ruler", "second.svg")
        self.assertLess(plot.index(">second</text>"), plot.index(">first</text>"))

    def test_a_cluster_writes_over_grpc(self):
        cluster = Cluster("--model", os.path.join(ROOT, "demo", "model"))
        self.addCleanup(cluster.stop)
        result = self.result(self.ruler("--endpoint", cluster.ready()["grpc"], "--json", "--seed", "1", "--max-tokens", "400"))
        self.assertEqual([(line["L"], line["count"]) for line in result["published"]], [(500, 2), (1000, 2)])
        self.assertGreater(result["published"][0]["mean"], 20)
        held = self.result(self.ruler("--endpoint", cluster.ready()["grpc"], "--json", "--seed", "1", "--target-words", "--name", "held"))
        for line in held["published"]:
            self.assertGreater(line["length_score"], 95)
        documents = self.result(self.ruler("--endpoint", cluster.ready()["grpc"], "--json", "--seed", "1", "--documents", "--target-words",
                                           "--name", "documents", "--limit", "2"))
        for line in documents["published"]:
            self.assertGreater(line["length_score"], 90)


class MmLongBenchTest(EvalTestCase):
    def mmlongbench(self, *flags, **environment):
        return self.run_eval("mmlongbench-write", *flags, **environment)

    def test_scores_length_and_quality_by_group(self):
        writer = self.stand_in(lambda body: words(asked_length(body)))
        judge = self.stand_in(lambda body: verdict(3 if "(0)" in text_of(body) else 5))
        flags = ["--base-url", writer.url, "--judge-base-url", judge.url, "--json"]
        result = self.result(self.mmlongbench(*flags, JUDGE_API_KEY="sk-judge"))
        self.assertEqual((result["count"], result["S_l"], result["S_q"], result["S"]), (5, 100, 90, 95))
        self.assertEqual([group["count"] for group in result["groups"].values()], [2, 1, 1, 1])
        self.assertEqual(result["groups"]["[0,1500)"]["S_q"], 75)
        self.assertEqual(result["latex"], "\\texttt{a-model} & 95.0 & 100.0 & 90.0 & 100.0 & 75.0 & 100.0 & 100.0 & 100.0 & 100.0"
                                          " & 100.0 & 100.0 \\\\")
        self.assertEqual(set(judge.keys), {"Bearer sk-judge"})
        for body in judge.bodies:
            self.assertEqual((body["model"], body["temperature"], body["max_tokens"]), ("gpt-4o-2024-08-06", .5, 1024))
            self.assertNotIn("repetition_penalty", body)
            self.assertIn(words(100), text_of(body))
        self.assertEqual(sorted(len(pictures_of(body)) for body in judge.bodies), [1, 1, 1, 2, 2])
        report = self.text("MMLongBench_Write", "vlm", "a-model.report.md")
        self.assertIn("| LongWriter-V-7B-DPO | 84.6 | 86.2 | 82.9 | 69.5 |", report)
        self.assertIn("not measured here", report)
        row = next(csv.DictReader(self.text("MMLongBench_Write", "vlm", "a-model.csv").splitlines()))
        self.assertEqual((row["length"], row["length_score"], row["clarity"], row["overall_quality_score"]), ("1000", "100", "3", "50"))
        self.assertEqual(json.loads(row["quality_scores"])["Analysis"], "fine")
        # All is there: nobody is asked again.
        self.assertEqual(self.result(self.mmlongbench(*flags)), result)
        self.assertEqual((len(writer.bodies), len(judge.bodies)), (5, 5))

    def test_refused_rows_leave_the_table_and_failed_ones_are_judged_again(self):
        def judge_rows(body):
            if "(0)" in text_of(body):
                return {"content": None, "refusal": "I would rather not."}
            return "no JSON at all" if "(1)" in text_of(body) else verdict(5)
        writer = self.stand_in(lambda body: words(asked_length(body)))
        judge = self.stand_in(judge_rows)
        flags = ["--base-url", writer.url, "--judge-base-url", judge.url, "--json"]
        done = self.mmlongbench(*flags)
        result = self.result(done, code=1)
        self.assertEqual((result["count"], result["refused"], result["failed"], result["S_q"]), (3, 1, 1, 100))
        self.assertIn("no reply of 5 can be read", done.stderr)
        self.assertEqual(len(judge.bodies), 1 + 5 + 3)
        published = self.result(self.mmlongbench(*flags, "--published"), code=1)
        self.assertEqual((published["count"], published["S_q"]), (4, None))
        self.assertEqual(published["groups"]["[3000,4000)"]["S_q"], 100)
        rows = list(csv.DictReader(self.text("MMLongBench_Write", "vlm", "a-model.csv").splitlines()))
        self.assertEqual((rows[0]["quality_scores"], rows[0]["length_score"]), ("GPT_REFUSED", "100"))
        healed = self.stand_in(lambda body: verdict(1))
        result = self.result(self.mmlongbench(*flags[:3], healed.url, "--json"))
        self.assertEqual((len(healed.bodies), result["failed"], result["count"]), (1, 0, 4))

    def test_captions_stand_for_pictures(self):
        def write(body):
            return "it's blue" if pictures_of(body) else words(asked_length(body))
        server = self.stand_in(write)
        done = self.mmlongbench("--base-url", server.url, "--method", "caption_llm", "--json", "--concurrency", "1")
        self.assertEqual(self.result(done)["count"], 5)
        captions = [body for body in server.bodies if pictures_of(body)]
        texts = [body for body in server.bodies if not pictures_of(body)]
        self.assertEqual((len(captions), len(texts)), (7, 5))
        self.assertEqual({body["max_tokens"] for body in captions}, {1024})
        self.assertIn("[\"it's blue\", \"it's blue\"]", text_of(texts[1]))
        log = self.lines("MMLongBench_Write", "caption_llm", "a-model.predictions.jsonl")
        self.assertEqual(log[1]["captions"], ["it's blue"])

    def test_without_a_judge_lengths_are_measured(self):
        writer = self.stand_in(lambda body: words(asked_length(body) * 2))
        done = self.mmlongbench("--base-url", writer.url, "--strict-openai")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| all | 5 | 50.0 | 66.7 |", done.stdout)
        self.assertNotIn("top_k", writer.bodies[0])
        self.assertNotIn("target_words", writer.bodies[0])

    def test_the_server_may_be_told_the_length(self):
        writer = self.stand_in(lambda body: words(asked_length(body)))
        flags = ["--base-url", writer.url, "--target-words", "--json"]
        self.assertNotIn("latex", self.result(self.mmlongbench(*flags)))  # has quality, which nobody judged
        self.assertTrue(all(body["target_words"] == asked_length(body) for body in writer.bodies))
        self.assertEqual(self.mmlongbench(*flags, "--strict-openai").returncode, 2)
        self.assertIn("--endpoint", self.mmlongbench(*flags, "--documents").stderr)

    def test_wrong_usage_and_data_are_said(self):
        for flags, code, text in [(["no-such-benchmark"], 2, "Usage"), (["mmlongbench-write", "--method", "x"], 2, "method"),
                                  (["mmlongbench-write", "--data", "/nowhere"], 1, "there is no /nowhere")]:
            done = self.run_eval(*flags)
            self.assertEqual(done.returncode, code)
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    unittest.main()
