"""Who may do what over HTTP: keys, adapters while the server runs, TLS."""
import os
import ssl
import subprocess
import tempfile
import unittest

from http_cluster import BINARIES, PATIENCE_S, ROOT, Cluster, greedy, request


class Keys(unittest.TestCase):
    def test_keys_guard_http_and_grpc_and_leave_the_probes_open(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as file:
            file.write("# who may call\nsk-plain\nalice:sk-alice\n"
                       "bob:sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n")  # "secret"
            file.flush()
            cluster = Cluster("--api-key-file", file.name, "--allowed-origins", "https://a.example")
        self.addCleanup(cluster.stop)
        for path in ("/", "/page/app.mjs", "/status", "/status.json", "/livez", "/readyz", "/startupz", "/health", "/version"):
            self.assertEqual(cluster.ask("GET", path).status, 200)
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "sk-plain"}, {"Authorization": "Bearer "},
                        {"Authorization": "Basic c2stcGxhaW4="}):
            for method, path, body in (("GET", "/v1/models", None), ("POST", "/v1/chat/completions", greedy("Hi", 2)),
                                       ("POST", "/tokenize", {"prompt": "a"}), ("GET", "/v1/streams/a", None), ("DELETE", "/v1/streams/a", None)):
                answer = cluster.ask(method, path, body, **headers)
                self.assertEqual((answer.status, answer.headers["www-authenticate"]), (401, "bearer"))
                self.assertEqual(answer.json()["error"]["code"], "invalid_api_key")
        for key in ("sk-plain", "sk-alice", "secret"):
            self.assertEqual(cluster.ask("GET", "/v1/models", Authorization=f"Bearer {key}").status, 200)
        allowed = cluster.ask("GET", "/livez", Origin="https://a.example")
        self.assertEqual(allowed.headers["access-control-allow-origin"], "https://a.example")
        self.assertNotIn("access-control-allow-origin", cluster.ask("GET", "/livez", Origin="https://b.example").headers)

    def test_a_stream_is_only_its_own_keys_also_after_a_restart(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as file:
            file.write("alice:sk-alice\nalice:sk-new\nbob:sk-bob\n")
            file.flush()
            cluster = Cluster("--api-key-file", file.name, "--shutdown-timeout", "0")
            self.addCleanup(cluster.stop)
            ended = greedy("Hello", 5, request_id="ended")
            running = greedy("Hello", 50000, request_id="running", stream=True, on_disconnect="continue")
            self.assertEqual(cluster.ask("POST", "/v1/chat/completions", ended, Authorization="Bearer sk-alice").status, 200)
            with cluster.connect() as connection:
                connection.post("/v1/chat/completions", running, Authorization="Bearer sk-alice")
                connection.until(b"id: 1\n")

            def attach(name, key):  # Over gRPC.
                command = [os.path.join(BINARIES, "longhand"), "attach", name, "--endpoint", cluster.ready()["grpc"],
                           "--api-key", key, "--retry-for", "30"]
                return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

            def check():
                for name, fields in (("ended", ended), ("running", running)):
                    for method in ("GET", "DELETE"):
                        self.assertEqual(cluster.ask(method, f"/v1/streams/{name}", Authorization="Bearer sk-bob").status, 404)
                    self.assertIn("NOT_FOUND", attach(name, "sk-bob").stderr)
                    self.assertEqual(
                        cluster.ask("POST", "/v1/chat/completions", fields, Authorization="Bearer sk-bob").status, 409)
                    with cluster.connect() as connection:
                        connection.send(request("GET", f"/v1/streams/{name}", Authorization="Bearer sk-new"))
                        self.assertTrue(connection.until(b"id: 1\n"))
                self.assertEqual(attach("ended", "sk-new").returncode, 0)

            check()
            before = cluster.ready()["pids"]["coordinator"]
            cluster.kill_coordinator()
            cluster.wait_until(lambda: cluster.ready()["pids"]["coordinator"] != before, "it does not come back")
            check()


class Pictures(unittest.TestCase):
    def test_too_many_pictures_are_refused_before_one_is_fetched(self):
        cluster = Cluster("--allow-image-urls", "--limit-mm-per-prompt", "2")
        self.addCleanup(cluster.stop)
        picture = {"type": "image_url", "image_url": {"url": "https://127.0.0.1/picture.png"}}
        for count, fault in ((2, "image 0: the host '127.0.0.1' of a picture is not on the public internet"),
                             (3, "the request has 3 images; at most 2 are allowed")):
            answer = cluster.chat(messages=[{"role": "user", "content": [picture] * count}])
            self.assertEqual((answer.status, answer.json()["error"]["message"]), (400, fault))


class Adapters(unittest.TestCase):
    def test_adapters_come_and_go(self):
        path = os.path.join(ROOT, "tests", "data", "adapters", "text")
        cluster = Cluster("--dtype", "float32", "--max-loras", "1", "--allow-runtime-lora-updating")
        self.addCleanup(cluster.stop)

        def change(verb, **body):
            return cluster.ask("POST", f"/v1/{verb}_lora_adapter", body)

        def fault(answer):
            return answer.status, answer.json()["error"]["param"]

        for body, param in [({}, "lora_name"), ({"lora_name": 5, "lora_path": path}, "lora_name"), ({"lora_name": "a"}, "lora_path"),
                            ({"lora_name": "a", "lora_path": ""}, "lora_path"),
                            ({"lora_name": "a", "lora_path": path, "load_inplace": True}, "load_inplace")]:
            self.assertEqual(fault(change("load", **body)), (400, param), body)
        for body in (b"{", b"[]", b'{"lora_name":"' + b"a" * 20000 + b'"}'):
            with cluster.connect() as connection:
                connection.send(b"POST /v1/load_lora_adapter HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                self.assertEqual(connection.answer().status, 400, body[:20])
        self.assertEqual(change("load", lora_name="a b", lora_path=path).status, 400)
        self.assertEqual(change("load", lora_name="a", lora_path=path + "/nowhere").status, 404)
        self.assertEqual(change("unload", lora_name="a").status, 404)
        loaded = change("load", lora_name="a", lora_path=path)
        self.assertEqual((loaded.status, loaded.body), (200, b"Success: LoRA adapter 'a' added successfully."))
        self.assertEqual(change("load", lora_name="a", lora_path=path).status, 409)
        self.assertEqual(change("load", lora_name="b", lora_path=path).status, 429)
        models = cluster.ask("GET", "/v1/models").json()["data"]
        self.assertEqual([(model["id"], model["parent"]) for model in models], [("nano", None), ("a", "nano")])
        texts = {model: cluster.chat(**greedy("Hello", 20, model=model)).json()["choices"][0]["message"]["content"] for model in ("a", "nano")}
        self.assertNotEqual(texts["a"], texts["nano"])
        gone = change("unload", lora_name="a")
        self.assertEqual((gone.status, gone.body), (200, b"Success: LoRA adapter 'a' removed successfully."))
        self.assertEqual(cluster.chat(**greedy("Hello", 2, model="a")).status, 404)


class Tls(unittest.TestCase):
    def test_https(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        cert, key = (os.path.join(folder.name, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        cluster = Cluster("--tls-cert", cert, "--tls-key", key)
        self.addCleanup(cluster.stop)
        context = ssl.create_default_context(cafile=cert)
        with cluster.connect(context) as connection:
            self.assertEqual(connection.ask("GET", "/livez").status, 200)
            stream = connection.ask("POST", "/v1/chat/completions", greedy("Hello", 30, stream=True))
            self.assertEqual(stream.events()[-1].data, "[DONE]")
            whole = connection.ask("POST", "/v1/chat/completions", greedy("Hello", 30)).json()
            self.assertEqual("".join(event.json()["choices"][0]["delta"]["content"] for event in stream.events()[:-1]),
                             whole["choices"][0]["message"]["content"])
        chaos = subprocess.run([os.path.join(BINARIES, "longhand"), "chaos", "--ready-file", cluster.ready_file, "--tls-ca", cert,
                                "--worker-kills", "1", "--streams", "1", "--max-tokens", "20"], capture_output=True, text=True,
                               timeout=PATIENCE_S)
        self.assertEqual(chaos.returncode, 0, chaos.stdout + chaos.stderr)
        plain = cluster.connect()
        plain.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertNotIn(b"200", plain.rest())


if __name__ == "__main__":
    unittest.main(verbosity=2)
