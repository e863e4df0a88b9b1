#!/usr/bin/env python3
"""The pages of metrics and the logs of a real cluster."""
import json
import os
import re
import unittest

from http_cluster import ROOT, Cluster, free_ports, greedy, picture_url

# Long enough to be found wherever they should not be.
SECRETS = {"prompt": "PLANTED-PROMPT-5d0c", "key": "PLANTED-KEY-77aa", "salt": "PLANTED-SALT-19f2", "stop": "PLANTED-STOP-8c8c"}


def documented(heading):
    """Names of the metrics that a section of docs/metrics.md lists."""
    with open(os.path.join(ROOT, "docs", "metrics.md"), encoding="utf-8") as file:
        section = file.read().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([^`]+)` ", section, re.MULTILINE))


def families(page):
    return set(re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE))


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.first_port = free_ports(3)
        cls.cluster = Cluster("--tp", "2", "--spare-workers", "1", "--worker-metrics-address", f"127.0.0.1:{cls.first_port}")
        cls.addClassCleanup(cls.cluster.stop)

    def test_every_family_is_there_before_the_first_request(self):
        page = self.cluster.page(self.cluster.ready()["metrics"])
        self.assertEqual(families(page), documented("Coordinator") | documented("vLLM's names"))
        for address in self.cluster.ready()["worker_metrics"]:
            self.assertEqual(families(self.cluster.page(address)), documented("Workers"))

    def test_workers_are_where_they_were_told_and_name_their_ranks(self):
        ready = self.cluster.ready()
        self.assertEqual(ready["worker_metrics"], [f"127.0.0.1:{self.first_port + rank}" for rank in range(2)])
        for address, rank in [*zip(ready["worker_metrics"], ("0", "1")), (f"127.0.0.1:{self.first_port + 2}", "none")]:
            samples = [line for line in self.cluster.page(address).splitlines() if not line.startswith("#")]
            self.assertTrue(samples)
            for line in samples:
                self.assertIn(f'rank="{rank}"', line)

    def test_without_a_gpu_nothing_is_said_of_one(self):
        page = self.cluster.page(self.cluster.ready()["worker_metrics"][0])
        self.assertIn("# TYPE longhand_gpu_memory_used_bytes gauge", page)
        self.assertNotRegex(page, r"(?m)^longhand_gpu_")

    def test_words_and_tokens_are_counted(self):
        answer = self.cluster.chat(**greedy("Write a story.", 80)).json()
        words = len(re.findall(r"\b[a-zA-Z]+\b|[\u4e00-\u9fff]", answer["choices"][0]["message"]["content"]))
        # What is counted at the end of a request may come after its answer.
        counted = {"longhand_words_actual_sum": words, "longhand_words_total": words, "longhand_request_generation_tokens_sum": 80,
                   'vllm:generation_tokens_total{model_name="nano",engine="0"}': 80}
        for name, value in counted.items():
            self.cluster.wait_until(lambda: self.cluster.metric(name) == value, f"{name} is not {value}")
        exchanges = 'longhand_http_requests_total{outcome="ok",route="/v1/chat/completions"}'
        self.cluster.wait_until(lambda: self.cluster.metric(exchanges) > 0, "no exchange was counted")


class Groups(unittest.TestCase):
    def test_each_group_counts_for_itself_and_its_workers_say_whose_they_are(self):
        cluster = Cluster("--dp", "2")
        self.addCleanup(cluster.stop)
        for i in range(6):
            cluster.chat(**greedy(f"Story {i}", 20))
        of = lambda name, label, group: cluster.metric(f'{name}{{{label}="{group}"')
        counts = [of("longhand_generation_tokens_total", "group", group) for group in range(2)]
        self.assertEqual(sum(counts), 120)
        self.assertEqual([of("vllm:generation_tokens_total", "engine", group) for group in range(2)], counts)
        self.assertEqual([of("longhand_worker_group_up", "group", group) for group in range(2)], [1, 1])
        self.assertEqual(cluster.metric("longhand_ready "), 1)
        for group, address in enumerate(cluster.ready()["worker_metrics"]):
            self.assertIn(f'longhand_worker_ready{{rank="0",group="{group}"}} 1', cluster.page(address))


class Logs(unittest.TestCase):
    def start(self, *flags):
        cluster = Cluster("--metrics-compat", "none", *flags)
        self.addCleanup(cluster.stop)
        return cluster

    def line_of(self, cluster, request_id):
        lines = lambda: [line for line in cluster.log().splitlines() if "request ended" in line and request_id in line]
        cluster.wait_until(lines, f"no line of {request_id}")
        self.assertEqual(len(lines()), 1)
        return lines()[0]

    def test_a_request_has_one_line_in_text(self):
        cluster = self.start()
        cluster.chat(**greedy("Hello", 20, request_id="whole"))
        line = self.line_of(cluster, "whole")
        self.assertRegex(line, r"info.*request ended request_id=whole finish=length finish_detail=max_tokens choices=1 prompt_tokens=\d+ "
                               r"cached_tokens=\d+ tokens=20 words=\d+ duration_ms=[\d.]+ queue_ms=[\d.]+ ttft_ms=[\d.]+ tpot_ms=[\d.]+$")
        cluster.chat(**greedy("Hello", 10**7, request_id="refused"))
        self.assertIn(" finish=invalid_argument ", self.line_of(cluster, "refused"))
        self.assertNotIn("vllm:", cluster.page(cluster.ready()["metrics"]))

    def test_json_lines_are_objects_and_none_has_a_secret(self):
        with open(os.path.join(os.environ.get("TMPDIR", "/tmp"), f"keys-{os.getpid()}"), "w", encoding="utf-8") as keys:
            keys.write(f"{SECRETS['key']}\n")
        self.addCleanup(os.remove, keys.name)
        cluster = self.start("--log-format", "json", "--api-key-file", keys.name)
        authorized = {"Authorization": f"Bearer {SECRETS['key']}"}
        picture = picture_url()
        content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": SECRETS["prompt"]}]
        asked = {"messages": [{"role": "user", "content": content}], "max_tokens": 30, "cache_salt": SECRETS["salt"],
                 "stop": [SECRETS["stop"]]}
        ask = lambda **fields: cluster.ask("POST", "/v1/chat/completions", asked | fields, **authorized)
        answer = ask(request_id="whole").json()["choices"][0]["message"]["content"]
        self.assertEqual(ask(request_id="refused", max_tokens=10**7).status, 400)
        self.assertEqual(ask(request_id="unknown", model=SECRETS["prompt"]).status, 404)
        self.assertEqual(cluster.ask("POST", "/v1/chat/completions", asked, Authorization="Bearer " + SECRETS["key"] + "x").status, 401)
        self.assertEqual(cluster.ask("POST", "/v1/chat/completions", asked | {"messages": SECRETS["prompt"]}, **authorized).status, 400)
        line = json.loads(self.line_of(cluster, "whole"))
        self.assertEqual((line["level"], line["program"], line["message"]), ("info", "coordinator", "request ended"))
        self.assertLessEqual({"request_id", "finish", "tokens", "words", "ttft_ms", "tpot_ms"}, set(line))
        cluster.kill_coordinator()  # What it says when it takes things up again, and the supervisor's own words.
        cluster.wait_until(lambda: "the coordinator ended" in cluster.log(), "it lives")
        log = cluster.log()
        for text in log.splitlines():
            self.assertIsInstance(json.loads(text), dict, text)
        for secret in [*SECRETS.values(), picture[30:90], answer]:
            self.assertNotIn(secret, log)


if __name__ == "__main__":
    unittest.main()
