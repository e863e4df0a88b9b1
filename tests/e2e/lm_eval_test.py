"""lm-evaluation-harness, unchanged, on tasks by likelihood of its own making: each of its numbers is that of a direct request. Installs it once, from PyPI,
into a virtual environment under ~/.cache/longhand; exits with 77 (skipped) where that cannot be done."""
import glob
import json
import os
import subprocess
import sys
import tempfile
import unittest

from environment import enter

if __name__ == "__main__":
    enter("lm-eval")

from http_cluster import ROOT, Cluster

MODEL = os.path.join(ROOT, "demo", "model")  # Its tokenizer is what transformers reads.
ROWS = [{"text": "A small red boat lies", "choices": [" on the water.", " in the sky of stones.", " under."], "answer": 0},
        {"text": "The old mill stands", "choices": [" beside the river.", " seven."], "answer": 0},
        {"text": "In the evening the lamps", "choices": [" are green cows.", " are lit, one by one.", " are"], "answer": 1},
        {"text": "She wrote", "choices": [" a letter", " a letter to her brother, who lived by the sea."], "answer": 1},
        {"text": "The hill above the village is", "choices": [" covered with trees.", " .", " \u6865"], "answer": 0}]
TASKS = {"longhand_choices": {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "answer",
                              "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]},
         "longhand_words": {"output_type": "loglikelihood", "doc_to_target": "{{choices[answer]}}",
                            "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}]}}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class LmEval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("--model", MODEL, "--served-model-name", "writer", "--tp", "2")
        cls.addClassCleanup(cls.cluster.stop)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def with_written(self):
        """ROWS, and one whose answer is what the model writes."""
        text = "The old mill"
        written = self.cluster.ask("POST", "/v1/completions", {"prompt": text, "max_tokens": 6, "temperature": 0, "repetition_penalty": 1}).json()
        return [*ROWS, {"text": text, "choices": [" zebra", written["choices"][0]["text"]], "answer": 1}]

    def run_tasks(self, rows, batch_size):
        """The results, and the samples of each task."""
        with open(os.path.join(self.folder, "rows.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        for name, task in TASKS.items():
            task = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": os.path.join(self.folder, "rows.jsonl")}},
                    "test_split": "test", "doc_to_text": "{{text}}", "target_delimiter": "", **task}
            with open(os.path.join(self.folder, f"{name}.yaml"), "w", encoding="utf-8") as file:
                json.dump(task, file)  # which is YAML
        out = os.path.join(self.folder, f"out-{batch_size}")
        url = f"http://{self.cluster.host}:{self.cluster.port}/v1/completions"
        subprocess.run([sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--tasks", *TASKS, "--include_path", self.folder,
                        "--batch_size", str(batch_size), "--model_args", f"model=writer,base_url={url},tokenizer={MODEL},max_length=1024",
                        "--output_path", out, "--log_samples"],
                       env={**os.environ, **OFFLINE, "HF_HOME": self.folder}, check=True)
        with open(glob.glob(f"{out}/**/results_*.json", recursive=True)[0], encoding="utf-8") as file:
            results = json.load(file)["results"]
        samples = {}
        for name in TASKS:
            with open(glob.glob(f"{out}/**/samples_{name}_*.jsonl", recursive=True)[0], encoding="utf-8") as file:
                samples[name] = [json.loads(line) for line in file]
        return results, samples

    def score(self, context, continuation):
        """The continuation's log-likelihood, and whether it is what greedy decoding writes, by one request of ours."""
        tokens = [len(self.cluster.ask("POST", "/tokenize", {"prompt": text}).json()["tokens"]) for text in (context, context + continuation)]
        answer = self.cluster.ask("POST", "/v1/completions", {"prompt": context + continuation, "echo": True, "max_tokens": 0, "logprobs": 1})
        lists = answer.json()["choices"][0]["logprobs"]
        self.assertEqual(len(lists["tokens"]), tokens[1])
        own, top = lists["token_logprobs"][tokens[0]:], lists["top_logprobs"][tokens[0]:]
        return sum(own), all(logprob == max(each.values()) for logprob, each in zip(own, top))

    def test_its_scores_are_those_of_direct_requests(self):
        rows = self.with_written()
        for batch_size in (1, 4):
            results, samples = self.run_tasks(rows, batch_size)
            num_right = 0
            for sample in samples["longhand_choices"]:
                row = sample["doc"]
                scored = [self.score(row["text"], choice) for choice in row["choices"]]
                for (logprob, is_greedy), expected in zip(sample["filtered_resps"], scored, strict=True):
                    self.assertAlmostEqual(float(logprob), expected[0], delta=1e-6)
                    self.assertEqual(str(is_greedy), str(expected[1]))
                num_right += max(range(len(scored)), key=lambda i: scored[i][0]) == row["answer"]
            self.assertAlmostEqual(results["longhand_choices"]["acc,none"], num_right / len(rows))
            for sample in samples["longhand_words"]:
                row = sample["doc"]
                expected = self.score(row["text"], row["choices"][row["answer"]])
                self.assertAlmostEqual(float(sample["filtered_resps"][0][0]), expected[0], delta=1e-6)
            self.assertAlmostEqual(results["longhand_words"]["acc,none"], 1 / len(rows))  # What was written is what is likeliest.


if __name__ == "__main__":
    unittest.main()
