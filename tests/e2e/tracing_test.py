#!/usr/bin/env python3
"""Traces of requests, as an OpenTelemetry collector gets them: a stand-in takes OTLP over HTTP."""
import http.server
import json
import os
import subprocess
import tempfile
import threading
import unittest

from http_cluster import BINARIES, PATIENCE_S, Cluster, greedy

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PLAN = "Section 1 - Main Point: The sea - Word Count: 20\nSection 2 - Main Point: The shore - Word Count: 20"
SECRET = "PLANTED-PROMPT-61ab"


class Collector:
    """Keeps every span; answers what `answers` says first, then 200."""

    def __init__(self, *answers):
        self.spans, self.answers, self.resources, self.changed = [], list(answers), [], threading.Condition()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with collector.changed:
                    status = collector.answers.pop(0) if collector.answers else 200
                    if status == 200:
                        collector.take(self.path, self.headers["Content-Type"], json.loads(body))
                    collector.changed.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, content_type, request):
        assert (path, content_type) == ("/v1/traces", "application/json"), (path, content_type)
        for resource in request["resourceSpans"]:
            self.resources.append(attributes_of(resource["resource"]))
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]

    def wait_for(self, count, condition):
        """As many spans as fulfil the condition."""
        with self.changed:
            found = self.changed.wait_for(lambda: sum(map(condition, self.spans)) >= count, PATIENCE_S)
            assert found, self.spans
            return [span for span in self.spans if condition(span)]

    def children_of(self, span, count):
        children = self.wait_for(count, lambda each: each.get("parentSpanId") == span["spanId"])
        return sorted(children, key=lambda each: int(each["startTimeUnixNano"]))

    def request(self, request_id):
        span, = self.wait_for(1, lambda each: attributes_of(each).get("gen_ai.response.id") == request_id)
        return span

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def value_of(value):
    (kind, content), = value.items()
    if kind == "arrayValue":
        return [value_of(each) for each in content["values"]]
    return int(content) if kind == "intValue" else content


def attributes_of(item):
    return {each["key"]: value_of(each["value"]) for each in item["attributes"]}


class Tracing(unittest.TestCase):
    def serve(self, collector, *flags):
        self.addCleanup(collector.stop)
        cluster = Cluster("--otlp-traces-endpoint", f"http://{collector.address}", *flags)
        self.addCleanup(cluster.stop)
        return cluster

    def test_a_request_is_a_span_below_its_callers_and_says_what_it_went_through(self):
        collector = Collector()
        cluster = self.serve(collector)
        answer = cluster.ask("POST", "/v1/chat/completions", greedy(SECRET, 8, request_id="seen"), traceparent=f"00-{TRACE}-{CALLER}-01")
        self.assertEqual(answer.status, 200)
        span = collector.request("seen")
        self.assertEqual((span["traceId"], span["parentSpanId"], span["kind"], span["name"]), (TRACE, CALLER, 2, "chat nano"))
        seen = attributes_of(span)
        usage = answer.json()["usage"]
        self.assertEqual((seen["gen_ai.usage.input_tokens"], seen["gen_ai.usage.output_tokens"], seen["gen_ai.response.finish_reasons"]),
                         (usage["prompt_tokens"], 8, ["length"]))
        self.assertEqual((seen["gen_ai.operation.name"], seen["longhand.finish_detail"]), ("chat", "max_tokens"))
        self.assertNotIn("status", span)
        parts = collector.children_of(span, 4)
        self.assertEqual([part["name"] for part in parts], ["prepare", "queue", "prefill", "decode"])
        self.assertEqual(parts[0]["startTimeUnixNano"], span["startTimeUnixNano"])
        for before, after in zip(parts, parts[1:]):
            self.assertEqual(before["endTimeUnixNano"], after["startTimeUnixNano"])
        self.assertLessEqual(int(parts[-1]["endTimeUnixNano"]), int(span["endTimeUnixNano"]))
        self.assertEqual(collector.resources[0]["service.name"], "longhand")
        self.assertNotIn(SECRET, json.dumps(collector.spans))
        cluster.wait_until(lambda: cluster.metric('longhand_trace_spans_total{outcome="exported"}') == 5, "not every span is counted")
        self.assertIn(TRACE, cluster.log())

    def test_over_grpc_too_and_a_caller_that_does_not_sample_is_not_traced(self):
        collector = Collector()
        cluster = self.serve(collector)
        cluster.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 2, "request_id": "unseen"}, traceparent=f"00-{TRACE}-{CALLER}-00")
        done = subprocess.run([os.path.join(BINARIES, "longhand"), "generate", "--endpoint", cluster.ready()["grpc"], "--prompt", "b",
                               "--max-tokens", "2"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        span, = collector.wait_for(1, lambda each: each["name"] == "chat nano")
        self.assertNotIn("parentSpanId", span)
        collector.children_of(span, 4)
        self.assertEqual({each["traceId"] for each in collector.spans}, {span["traceId"]})

    def test_what_is_refused_is_an_error_with_its_reason(self):
        collector = Collector()
        cluster = self.serve(collector)
        self.assertEqual(cluster.chat(**greedy("a", 10**6, request_id="large")).status, 400)
        span = collector.request("large")
        self.assertEqual((span["status"]["code"], attributes_of(span)["error.type"]), (2, "invalid_argument"))

    def test_a_document_holds_its_calls_and_a_restart_keeps_the_trace(self):
        collector = Collector()
        with tempfile.TemporaryDirectory() as folder:
            cluster = self.serve(collector, "--journal", folder)
            answer = cluster.ask("POST", "/v1/documents", {"instruction": "a", "plan": PLAN, "max_tokens": 30, "request_id": "long",
                                                           "repetition_guard": False, "temperature": 0},
                                 traceparent=f"00-{TRACE}-{CALLER}-01")
            document = collector.request("long")
            self.assertEqual((document["traceId"], document["parentSpanId"]), (TRACE, CALLER))
            self.assertEqual(answer.status, 200, answer.body)
            sections = collector.children_of(document, 2)
            self.assertEqual([attributes_of(section)["gen_ai.response.id"] for section in sections], ["long/section-1", "long/section-2"])
            with cluster.connect() as connection:
                connection.post("/v1/chat/completions", greedy("a", 2000, stream=True, request_id="killed", on_disconnect="continue"),
                                traceparent=f"00-{TRACE}-{CALLER}-01")
                connection.until(b"id: 5\n")
                cluster.kill_coordinator()
            span = collector.request("killed")
            self.assertEqual((span["traceId"], span["parentSpanId"]), (TRACE, CALLER))
            seen = attributes_of(span)
            self.assertEqual((seen["longhand.resumed"], seen["gen_ai.usage.output_tokens"]), (True, 2000))

    def test_a_collector_that_is_busy_gets_its_spans_later_and_holds_up_nobody(self):
        collector = Collector(503, 429)
        cluster = self.serve(collector)
        for i in range(3):
            self.assertEqual(cluster.chat(**greedy("a", 2, request_id=f"r{i}")).status, 200)
        self.assertEqual(len(collector.wait_for(3, lambda each: "gen_ai.response.id" in attributes_of(each))), 3)

    def test_a_collector_that_is_not_there_delays_no_answer_and_no_end(self):
        collector = Collector()
        collector.stop()
        cluster = Cluster("--otlp-traces-endpoint", f"http://{collector.address}/v1/traces")
        self.assertEqual(cluster.chat(**greedy("a", 2)).status, 200)
        self.assertEqual(cluster.stop(), 0)

    def test_an_endpoint_that_is_no_url_is_refused(self):
        done = subprocess.run([os.path.join(BINARIES, "longhand-coordinator"), "--otlp-traces-endpoint", "collector:4317"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("http://HOST", done.stderr)


if __name__ == "__main__":
    unittest.main()
