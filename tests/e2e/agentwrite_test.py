"""`longhand agentwrite`: plans and texts for a file of instructions, against a stand-in whose answers are known, and against
a cluster with the bundled model; then `longhand export-training` of what came."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from http_cluster import BINARIES, PATIENCE_S, ROOT, Cluster
from stand_in_openai import StandInOpenAi, pictures_of, text_of

PICTURE = os.path.join(ROOT, "demo", "pictures", "lake.png")
PLAN = "Section 1 - Main Point: the lake - Word Count: 200\nSection 2 - Main Point: 湖 - Word Count: 300"


class AgentWriteTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        shutil.copy(PICTURE, os.path.join(self.folder, "lake.png"))
        self.write_lines("instructions.jsonl", [
            {"id": "a", "prompt": "Write about the lake; $PLAN$ is no mark.", "images": ["lake.png"], "more": {"kept": [1]}},
            {"id": "b", "prompt": "看图写一篇500字的文章。"}])

    def stand_in(self, answer):
        server = StandInOpenAi(answer)
        self.addCleanup(server.close)
        return server

    def write_lines(self, name, rows):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def lines(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def run_verb(self, *arguments, code=0):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "LONGHAND_")) and "proxy" not in k.lower()}
        done = subprocess.run([os.path.join(BINARIES, "longhand"), *arguments], env=kept, cwd=self.folder, capture_output=True,
                              text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def agentwrite(self, verb, url, *flags, code=0):
        return self.run_verb("agentwrite", verb, "--base-url", url, "--retry-pause-ms", "0", *flags, code=code)

    @staticmethod
    def answer(body):
        text = text_of(body)
        if "Outline:" not in text:
            return PLAN
        return "It's calm." if "the lake - Word Count: 200" in text.split("only this one")[1] else "湖很静"

    def test_plans_then_writes_each_section_with_those_before_it(self):
        server = self.stand_in(self.answer)
        self.agentwrite("plan", server.url)
        plans = {row["id"]: row for row in self.lines("plan.jsonl")}
        self.assertEqual({row["plan"] for row in plans.values()}, {PLAN})
        self.assertEqual((plans["a"]["images"], plans["a"]["more"]), (["lake.png"], {"kept": [1]}))
        for body in server.bodies:
            self.assertEqual(sorted(body), ["messages", "model"])  # no sampling of ours
        self.assertEqual(sorted(len(pictures_of(body)) for body in server.bodies), [0, 1])
        del server.bodies[:]
        self.agentwrite("write", server.url)
        written = {row["id"]: row for row in self.lines("write.jsonl")}
        self.assertEqual(written["a"]["write"], ["It's calm.", "湖很静"])
        self.assertEqual([section["word_count"] for section in written["a"]["sections"]], [3, 3])
        self.assertEqual((written["a"]["total_word_count"], written["a"]["more"]), (6, {"kept": [1]}))
        second = next(text_of(body) for body in server.bodies if "湖 - Word" in text_of(body).split("only this one")[1]
                      and pictures_of(body))
        self.assertIn("Text so far:\nIt's calm.\n", second)
        self.assertIn("$PLAN$ is no mark", second)
        # All is there: nobody is asked again.
        del server.bodies[:]
        self.agentwrite("plan", server.url)
        self.agentwrite("write", server.url)
        self.assertEqual((server.bodies, len(self.lines("plan.jsonl")), len(self.lines("write.jsonl"))), ([], 2, 2))

    def test_goes_on_after_the_last_section_that_is_there(self):
        self.agentwrite("plan", self.stand_in(self.answer).url)
        broken = self.stand_in(lambda body: (503, {}) if "湖 - Word" in text_of(body).split("only this one")[1] else "calm")
        done = self.agentwrite("write", broken.url, code=1)
        self.assertIn("section 2 of 2: HTTP 503", done.stderr)
        self.assertEqual([line["response"] for line in self.lines("write_cache.jsonl")], ["calm", "calm"])
        healed = self.stand_in(self.answer)
        self.agentwrite("write", healed.url)
        self.assertEqual(len(healed.bodies), 2)
        self.assertEqual([row["write"] for row in self.lines("write.jsonl")], [["calm", "湖很静"]] * 2)

    def test_the_published_way_is_at_hand(self):
        self.write_lines("plan.jsonl", [{"prompt": "p", "plan": "Section 1: as in Section 2 below\nSection 2: b"}])
        server = self.stand_in(lambda body: "一 二" if "$" not in text_of(body) else "?")
        self.agentwrite("write", server.url, "--split", "published", "--published")
        row = self.lines("write.jsonl")[0]
        self.assertEqual([section["section"] for section in row["sections"]],
                         ["Section 1: as in", "Section 2 below\nSection 2: b"])
        self.assertEqual(row["total_word_count"], 4)
        self.assertTrue(all("Text so far:\n\n" in text_of(body) for body in server.bodies))
        self.write_lines("plan.jsonl", [{"prompt": "q", "plan": "Section 1: as in Section 2 below"}])
        self.assertIn("the plan cannot be read", self.agentwrite("write", server.url, code=1).stderr)

    def test_a_cluster_plans_and_writes_and_the_result_is_exported(self):
        cluster = Cluster("--model", os.path.join(ROOT, "demo", "model"))
        self.addCleanup(cluster.stop)
        self.write_lines("instructions.jsonl", [{"prompt": "Write a 250-word story about this picture.", "images": ["lake.png"]}])
        for verb in ("plan", "write"):
            self.run_verb("agentwrite", verb, "--endpoint", cluster.ready()["grpc"], "--temperature", "0")
        row = self.lines("write.jsonl")[0]
        self.assertGreater(row["total_word_count"], 100)
        done = self.run_verb("export-training", "--agentwrite", "write.jsonl", "--out", "training", "--json")
        self.assertEqual(json.loads(done.stdout)["samples"], 1)
        sample = self.lines("training/longwriter_v.jsonl")[0]
        self.assertEqual(sample["messages"][0]["content"], "Write a 250-word story about this picture.<image>")
        self.assertEqual(sample["messages"][1]["content"], "\n\n".join(row["write"]))

    def test_wrong_usage_is_said(self):
        self.assertIn("Usage", self.run_verb("agentwrite", code=2).stderr)
        self.assertIn("no text `prompt`", self.run_on([{"id": 1}]))
        self.assertIn("cannot read", self.run_on([{"prompt": "p", "images": ["none.png"]}]))

    def run_on(self, rows):
        self.write_lines("instructions.jsonl", rows)
        return self.agentwrite("plan", self.stand_in(self.answer).url, code=1).stderr


if __name__ == "__main__":
    unittest.main()
