"""The way to LLaMA-Factory and back, with the real one: it trains on what `export-training` wrote, by the YAML that lies beside it, and what it
saved is served and answers as transformers and PEFT do."""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from environment import enter

if __name__ == "__main__":
    enter("llamafactory")

import torch
from PIL import Image
from peft import PeftModel
from transformers import AutoProcessor, GenerationConfig, Qwen2_5_VLForConditionalGeneration

from http_cluster import BINARIES, NANO, ROOT, Cluster

PICTURES = os.path.join(ROOT, "tests", "data", "recording", "images")
PICTURE = os.path.join(PICTURES, "rgb_126x98.png")
PROMPT = "Write a story about this picture."
NUM_NEW = 24
NEAR_TIE = 1e-3  # Of two logits, between sums in different orders.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "",
           "DISABLE_VERSION_CHECK": "1", "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}
# Three steps on a CPU, of the many on GPUs that the YAML is for; large ones, so that answers change.
SHORT = ["use_cpu=true", "bf16=false", "max_steps=3", "save_strategy=steps", "cutoff_len=1024", "preprocessing_num_workers=1",
         "overwrite_cache=true", "gradient_accumulation_steps=1", "logging_steps=1"]


class LlamaFactory(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.data, self.out = (os.path.join(self.folder, name) for name in ("data", "out"))

    def export(self, *flags):
        done = subprocess.run([os.path.join(BINARIES, "longhand"), "export-training", "--out", self.data, "--json", "--model", NANO,
                               *flags], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def written_texts(self):
        """What AgentWrite gives: with one picture, with two, with none, and with marks that LLaMA-Factory would trip over. The pictures are so
        small that nobody resizes them."""
        rows = [{"prompt": PROMPT, "write": ["A tree stands by the sea. " * 4, "<|im_end|> It is <image> evening."], "images": [PICTURE]},
                {"prompt": "Compare the pictures.", "write": ["They differ."],
                 "images": [PICTURE, os.path.join(PICTURES, "rgb_112.png")]},
                {"prompt": "写一个故事。", "write": ["从前有一座山。"], "images": []}]
        path = os.path.join(self.folder, "write.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        return path

    def revised_scripts(self):
        annotated = os.path.join(self.folder, "annotated")
        for page, (script, revised) in enumerate([("It is a blue thing.", "It is a lake."), ("A thing.", "A forest, at night.")], 1):
            for kind, ending, text in [("scripts", "txt", script), ("annotated_scripts", "txt", revised), ("pngs", "png", None)]:
                path = os.path.join(annotated, "physics", "waves", kind, f"{page}.{ending}")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if text is None:
                    shutil.copyfile(PICTURE, path)
                else:
                    with open(path, "w", encoding="utf-8") as file:
                        file.write(text)
        return annotated

    def train(self, yaml, *settings):
        """By the exported YAML, cut short; the number of samples that LLaMA-Factory took."""
        done = subprocess.run([sys.executable, "-m", "llamafactory.cli", "train", yaml, *SHORT,
                               f"output_dir={self.out}", *settings], cwd=self.folder,
                              env={**os.environ, **OFFLINE, "HF_HOME": os.path.join(self.folder, "hf")},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:])
        taken = [line for line in done.stdout.splitlines() if "Num examples" in line]
        return int(taken[0].rsplit("=", 1)[1].replace(",", ""))

    def expected(self, checkpoint, adapter=None):
        """Prompt, greedy tokens, and how many of these no near tie comes before."""
        processor = AutoProcessor.from_pretrained(checkpoint)
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter)
        model.eval().generation_config = GenerationConfig()
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]
        inputs = processor(text=[processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)],
                           images=[Image.open(PICTURE)], return_tensors="pt")
        with torch.no_grad():
            out = model.generate(**inputs, generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=NUM_NEW, pad_token_id=0, return_dict_in_generate=True, output_logits=True))
        prompt = inputs["input_ids"][0].tolist()
        tops = torch.cat(out.logits).topk(2).values
        sure = ((tops[:, 0] - tops[:, 1]) > NEAR_TIE).long().cumprod(0).sum().item()
        return prompt, out.sequences[0].tolist()[len(prompt):], sure

    def answer(self, cluster, model):
        with open(PICTURE, "rb") as file:
            url = "data:image/png;base64," + base64.b64encode(file.read()).decode()
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": PROMPT}]
        answer = cluster.chat(model=model, messages=[{"role": "user", "content": content}], temperature=0, repetition_penalty=1,
                              max_tokens=NUM_NEW, ignore_eos=True, return_token_ids=True)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def check_answer(self, expected, answer):
        prompt, token_ids, sure = expected
        self.assertGreaterEqual(sure, 8)
        self.assertEqual(answer["prompt_token_ids"], prompt)
        self.assertEqual(answer["choices"][0]["token_ids"][:sure], token_ids[:sure])

    def serve(self, *flags):
        cluster = Cluster("--dtype", "float32", "--served-model-name", "base", *flags)
        self.addCleanup(cluster.stop)
        return cluster

    def test_a_model_that_was_trained_on_written_texts_is_served(self):
        exported = self.export("--agentwrite", self.written_texts())
        self.assertEqual(exported["samples"], self.train(exported["yaml"], "learning_rate=1.0e-3"))
        cluster = self.serve("--model", self.out, "--tp", "2")
        answer = self.answer(cluster, "base")
        self.check_answer(self.expected(self.out), answer)
        before = self.expected(NANO)
        self.assertNotEqual(answer["choices"][0]["token_ids"], before[1], "training changed nothing")

    def test_an_adapter_that_was_trained_on_revised_scripts_is_served_beside_its_model(self):
        exported = self.export("--annotations", self.revised_scripts(), "--finetuning-type", "lora")
        self.assertEqual(exported["samples"], self.train(exported["yaml"], "learning_rate=1.0e-2"))
        cluster = self.serve("--lora-modules", f"revised={self.out}")
        with self.subTest("the adapter"):
            self.check_answer(self.expected(NANO, self.out), self.answer(cluster, "revised"))
        with self.subTest("the model"):
            self.check_answer(self.expected(NANO), self.answer(cluster, "base"))

    def test_what_it_trains_on_is_what_the_server_would_have_seen(self):
        exported = self.export("--agentwrite", self.written_texts())
        rows = self.tokenized(exported)
        with open(os.path.join(self.data, "longwriter_v.jsonl"), encoding="utf-8") as file:
            samples = [json.loads(line) for line in file]
        cluster = self.serve()
        self.assertEqual(len(rows), len(samples))
        for row, sample in zip(rows, samples):
            question, answer = (message["content"] for message in sample["messages"])
            asked = next(i for i, label in enumerate(row["labels"]) if label != -100)
            self.assertEqual(row["input_ids"][:asked], self.prompt_ids(cluster, question, sample["images"]))
            written = cluster.ask("POST", "/tokenize", {"prompt": answer, "add_special_tokens": False}).json()["tokens"]
            end, line = row["input_ids"][-2:]
            self.assertEqual(row["input_ids"][asked:], written + [end, line])

    def tokenized(self, exported):
        script = os.path.join(self.folder, "tokenized.json")
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "e2e", "llamafactory_rows.py"), exported["yaml"], script, *SHORT],
                              cwd=self.folder, env={**os.environ, **OFFLINE, "HF_HOME": os.path.join(self.folder, "hf")},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:])
        with open(script, encoding="utf-8") as file:
            return json.load(file)

    def prompt_ids(self, cluster, question, images):
        """Of the question as a client asks it, its pictures where LLaMA-Factory has them."""
        content, pictures = [], iter(images)
        for i, text in enumerate(question.split("<image>")):
            if i > 0:
                with open(os.path.join(self.data, next(pictures)), "rb") as file:
                    content.append({"type": "image_url", "image_url": {
                        "url": "data:image/png;base64," + base64.b64encode(file.read()).decode()}})
            if text:
                content.append({"type": "text", "text": text})
        answer = cluster.ask("POST", "/tokenize", {"messages": [{"role": "user", "content": content}]})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()["tokens"]


if __name__ == "__main__":
    unittest.main()
