"""`longhand export-training`: what LLaMA-Factory reads."""
import json
import os
import subprocess
import tempfile
import unittest

import yaml

from http_cluster import BINARIES, PATIENCE_S, ROOT

MESSAGES = os.path.join(ROOT, "tests", "data", "benchmarks", "longwriter_v_22k.parquet")
PNG = b"\x89PNG of page "


class ExportTrainingTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.out = os.path.join(self.folder, "training")

    def export(self, *flags, code=0):
        done = subprocess.run([os.path.join(BINARIES, "longhand"), "export-training", "--out", self.out, "--json", *flags],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def samples(self, name="longwriter_v"):
        """Of the data set, as LLaMA-Factory would find it; checks what it refuses."""
        with open(os.path.join(self.out, "dataset_info.json"), encoding="utf-8") as file:
            info = json.load(file)[name]
        self.assertEqual((info["formatting"], info["tags"]["role_tag"]), ("sharegpt", "role"))
        with open(os.path.join(self.out, info["file_name"]), encoding="utf-8") as file:
            samples = [json.loads(line) for line in file]
        for sample in samples:
            self.assertTrue(set(info["columns"].values()) <= set(sample))
            text = "".join(message["content"] for message in sample["messages"])
            self.assertEqual(text.count("<image>"), len(sample["images"]))
            self.assertNotIn("<|", text)
            self.assertNotIn("<video>", text)
            self.assertEqual([message["role"] for message in sample["messages"]],
                             ["user", "assistant"] * (len(sample["messages"]) // 2) + ["user"] * bool(info.get("ranking")))
            for image in sample["images"]:
                self.assertTrue(os.path.isfile(os.path.join(self.out, image)), image)
        return samples

    def test_rows_with_messages_become_a_data_set_for_sft(self):
        result = self.export("--messages", MESSAGES)
        self.assertEqual((result["samples"], result["left_out"], result["neutralised"]), (2, 1, 3))
        self.assertEqual(result["note"], "messages are texts, the user's and the assistant's in turn")
        first, second = self.samples()
        self.assertEqual([message["content"] for message in first["messages"]],
                         ["<image>\nDescribe the picture.", "A blue square. [im_end] and [video] are no marks here."])
        self.assertEqual(second["messages"][0]["content"], "What changes?<image><image>")
        self.assertEqual(second["messages"][3]["content"], "It stays. [image] is a word.")
        with open(result["yaml"], encoding="utf-8") as file:
            settings = yaml.safe_load(file)
        self.assertEqual((settings["stage"], settings["template"], settings["dataset"], settings["dataset_dir"]),
                         ("sft", "qwen2_vl", "longwriter_v", self.out))
        self.assertEqual((settings["learning_rate"], settings["image_max_pixels"]), (1e-5, 280 * 280))

    def course(self, name, pages):
        for number, (script, revised) in enumerate(pages, 1):
            for folder, ending, content in [("pngs", "png", PNG + str(number).encode()), ("scripts", "txt", script.encode()),
                                            ("annotated_scripts", "txt", revised.encode())]:
                path = os.path.join(self.folder, "annotated", "physics", name, folder)
                os.makedirs(path, exist_ok=True)
                with open(os.path.join(path, f"{number}.{ending}"), "wb") as file:
                    file.write(content)

    def test_revised_scripts_become_pairs_of_prefixes_for_dpo(self):
        self.course("waves", [("One.\n", "One.\n"), ("Too.", "Two."), ("Three.", "Three.")])
        self.export("--messages", MESSAGES)
        result = self.export("--annotations", os.path.join(self.folder, "annotated"), "--name", "pairs", "--finetuning-type", "lora")
        self.assertEqual((result["samples"], result["note"]), (2, "1 courses; 1 prefixes without a revision make no pair"))
        pairs = self.samples("pairs")
        self.assertEqual([(pair["chosen"]["content"], pair["rejected"]["content"], len(pair["images"])) for pair in pairs],
                         [("One.\n\nTwo.", "One.\n\nToo.", 2), ("One.\n\nTwo.\n\nThree.", "One.\n\nToo.\n\nThree.", 3)])
        self.assertEqual(pairs[0]["images"], pairs[1]["images"][:2])
        self.assertEqual(len(self.samples()), 2)  # of the other data set in the same folder
        with open(result["yaml"], encoding="utf-8") as file:
            settings = yaml.safe_load(file)
        self.assertEqual((settings["stage"], settings["pref_loss"], settings["finetuning_type"]), ("dpo", "sigmoid", "lora"))

    def test_rows_without_pictures_come_last_so_that_the_loader_finds_the_types_of_all(self):
        rows = os.path.join(self.folder, "write.jsonl")
        with open(os.path.join(self.folder, "a.png"), "wb") as file:
            file.write(PNG)
        with open(rows, "w", encoding="utf-8") as file:
            for images in ([], ["a.png"], []):
                file.write(json.dumps({"prompt": "p", "write": ["a", "b"], "images": images}) + "\n")
        self.assertEqual(self.export("--agentwrite", rows)["samples"], 3)
        self.assertEqual([len(sample["images"]) for sample in self.samples()], [1, 0, 0])
        self.assertEqual(sorted(os.listdir(self.out)), ["dataset_info.json", "images", "longwriter_v.jsonl", "longwriter_v_sft.yaml"])

    def test_a_course_that_lacks_a_file_is_named(self):
        self.course("waves", [("One.", "1.")])
        os.remove(os.path.join(self.folder, "annotated", "physics", "waves", "scripts", "1.txt"))
        self.assertIn("scripts/1.txt", self.export("--annotations", os.path.join(self.folder, "annotated"), code=1))

    def test_wrong_usage_is_said(self):
        self.assertIn("exactly one of", self.export(code=2))
        self.assertIn("--name", self.export("--messages", MESSAGES, "--name", "../x", code=2))


if __name__ == "__main__":
    unittest.main()
