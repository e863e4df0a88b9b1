#!/usr/bin/env python3
"""Dashboards and rules against a real Prometheus that scrapes a real cluster under load: every panel shows something, every
rule can be computed, and an alert fires when a worker is gone.

Exit 77: Prometheus is neither installed nor to be had from apt (Debian's package prometheus)."""
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import unittest

from monitored_cluster import DASHBOARDS, Load, MonitoredCluster, expand, tool

LOAD_S = 25
# Panels that have nothing to show here, and why. One that begins to is to be taken out.
EMPTY = {
    "no word targets": {"Words written over words asked", "Length score", "Words asked and written"},
    "no GPU": {"GPU memory", "GPU busy", "GPU power", "GPU temperature", "GPU errors"},
    "nothing is damaged": set(),
}


def is_empty(title, ref):
    return any(title in titles or f"{title}/{ref}" in titles for titles in EMPTY.values())


class Dashboards(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.monitored = MonitoredCluster()
        cls.addClassCleanup(cls.monitored.stop)
        cls.prometheus = cls.monitored.prometheus
        load = Load(cls.monitored.cluster)
        cls.addClassCleanup(load.stop)
        cls.monitored.wait_until(lambda: cls.prometheus.value("sum(longhand_answers_finished_total)"), "no answer is finished")
        cls.monitored.kill_worker(1)
        cls.monitored.wait_until(lambda: cls.prometheus.value("sum(longhand_failover_seconds_count)"), "no failover is seen")
        time.sleep(LOAD_S)  # Rates need some samples.

    def test_every_panel_shows_something(self):
        for path in DASHBOARDS:
            board = json.loads(path.read_text(encoding="utf-8"))
            for panel in board["panels"]:
                for target in panel["targets"]:
                    with self.subTest(board=path.stem, panel=panel["title"], ref=target["refId"]):
                        self.check(panel["title"], target)

    def check(self, title, target):
        series = self.prometheus.series(expand(target["expr"]), seconds=LOAD_S, step=1)
        values = [float(value) for one in series for _, value in one["values"]]
        has_some = any(math.isfinite(value) for value in values)
        if is_empty(title, target["refId"]):
            self.assertFalse(has_some, "it shows something now: take it out of EMPTY")
            return
        self.assertTrue(has_some, target["expr"])
        # A group is named only where there are several.
        for label in set(re.findall(r"{{(\w+)}}", target["legendFormat"])) - {"group"}:
            self.assertTrue(all(label in one["metric"] for one in series), label)

    def test_the_variables_of_dashboards_have_values(self):
        self.assertEqual(self.prometheus.ask("label/cell/values", **{"match[]": "longhand_requests_running"}), ["test"])

    def test_every_rule_can_be_computed(self):
        groups = self.prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertGreater(len(rules), 15)
        for rule in rules:
            with self.subTest(rule=rule["name"]):
                self.assertEqual(rule["health"], "ok", rule.get("lastError"))
                if rule["type"] == "recording":
                    self.assertIsNotNone(self.prometheus.value(rule["name"]))

    def test_what_must_stay_nought_is(self):
        self.assertEqual(self.prometheus.value("longhand_tokens_lost_total"), 0)
        self.assertNotIn("LonghandTokensLost", self.prometheus.firing())
        self.assertGreater(self.prometheus.value('longhand_failovers_total{cause="connection"}'), 0)
        self.assertGreater(self.prometheus.value("sum(longhand_tokens_replayed_total)"), 0)

    # The endpoint picker's and other people's dashboards read these.
    def test_the_names_of_vllm_say_the_same(self):
        for theirs, ours in (("vllm:generation_tokens_total", "longhand_generation_tokens_total"),
                             ("vllm:request_success_total", "longhand_answers_finished_total"),
                             ("vllm:time_to_first_token_seconds_count", "longhand_time_to_first_token_seconds_count")):
            self.assertEqual(self.prometheus.value(f"sum({theirs}) - sum({ours})"), 0, theirs)
        labels = self.prometheus.ask("query", query="vllm:kv_cache_usage_perc")["result"][0]["metric"]
        self.assertEqual((labels["model_name"], labels["engine"]), ("nano", "0"))

    def test_pages_pass_promtool(self):
        for address in [self.monitored.cluster.ready()["metrics"], *self.monitored.workers]:
            with self.subTest(address=address):
                page = self.monitored.cluster.page(address)
                # Names with a colon are vLLM's own, which promtool keeps for recording rules.
                own = "".join(line + "\n" for line in page.splitlines() if "vllm:" not in line)
                done = subprocess.run([tool("promtool"), "check", "metrics"], input=own, capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


class Alerts(unittest.TestCase):
    def test_an_alert_fires_while_a_worker_is_gone_and_ends_when_it_is_back(self):
        monitored = MonitoredCluster()
        self.addCleanup(monitored.stop)
        prometheus = monitored.prometheus
        monitored.wait_until(lambda: prometheus.value("longhand_ready") == 1, "it is not ready")
        monitored.wait_until(lambda: not prometheus.firing(), "an alert fires")  # Absent, before the first scrape was.
        supervisor = monitored.cluster.pid
        os.kill(supervisor, signal.SIGSTOP)  # Or it would have another worker there at once.
        try:
            monitored.kill_worker(0)
            monitored.wait_until(lambda: "LonghandNotReady" in prometheus.firing(), "no alert")
        finally:
            os.kill(supervisor, signal.SIGCONT)
        alert = prometheus.firing()["LonghandNotReady"]
        self.assertEqual((alert["labels"]["cell"], alert["labels"]["severity"]), ("test", "critical"))
        self.assertEqual(alert["annotations"]["summary"], "test can make no tokens.")
        self.assertTrue(alert["annotations"]["runbook_url"].endswith("LonghandNotReady.md"))
        monitored.wait_until(lambda: "LonghandNotReady" not in prometheus.firing(), "the alert does not end")
        self.assertEqual(prometheus.value("longhand_ready"), 1)


if __name__ == "__main__":
    if tool("prometheus") is None:
        print("skipped: there is no prometheus (apt-get install prometheus)")
        sys.exit(77)
    unittest.main()
