"""A cluster that a real Prometheus scrapes, with the chart's rules and their times cut short, under load: for
prometheus_test.py and draw_dashboards.py."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from http_cluster import PATIENCE_S, ROOT, Cluster, free_ports, greedy, picture_url

CHART = pathlib.Path(ROOT) / "helm" / "longhand"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "longhand" / "prometheus"


def tool(name):
    """The path of prometheus or promtool: installed, or unpacked from Debian's package, which would start a server if it were
    installed. None where neither is to be had."""
    found = shutil.which(name) or shutil.which(name, path=CACHE / "usr" / "bin")
    if found:
        return found
    if shutil.which("apt-get") is None:
        return None
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "-qq", "download", "prometheus"], cwd=CACHE, check=False, capture_output=True)
    for package in CACHE.glob("prometheus_*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, CACHE], check=True)
        package.unlink()
    return shutil.which(name, path=CACHE / "usr" / "bin")


class Prometheus:
    """Scrapes a coordinator and workers twice a second, as the cell `test`."""

    def __init__(self, coordinator, workers, rules):
        self._folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self._folder.name)
        (folder / "rules.yaml").write_text(rules, encoding="utf-8")
        job = '  - {job_name: %s, static_configs: [{targets: %s, labels: {cell: test}}]}'
        (folder / "prometheus.yml").write_text("\n".join([
            "global: {scrape_interval: 500ms, evaluation_interval: 500ms}", "rule_files: [rules.yaml]", "scrape_configs:",
            job % ("coordinator", json.dumps([coordinator])), job % ("worker", json.dumps(workers))]),
            encoding="utf-8")
        self._log = open(folder / "log", "w+", encoding="utf-8")
        # Port 0 is not told to anybody, so one that is free is taken; another may take it first.
        for _ in range(5):
            self.url = f"http://127.0.0.1:{free_ports(1)}"
            self._process = subprocess.Popen(
                [tool("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address={self.url.removeprefix('http://')}"], stdout=self._log, stderr=subprocess.STDOUT)
            if self._comes_up():
                return
            self._process.kill()
        raise AssertionError(self.log())

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def stop(self):
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        self._log.close()
        self._folder.cleanup()

    def _comes_up(self):
        deadline = time.monotonic() + PATIENCE_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(self.url + "/-/ready", timeout=5):
                    return True
            time.sleep(.05)
        return False

    def ask(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)["data"]

    def value(self, query):
        """The sum of the samples; None without one."""
        samples = [float(sample["value"][1]) for sample in self.ask("query", query=query)["result"]]
        return sum(samples) if samples else None

    def series(self, query, seconds, step, now=None):
        now = now or time.time()
        return self.ask("query_range", query=query, start=now - seconds, end=now, step=step)["result"]

    def firing(self):
        return {alert["labels"]["alertname"]: alert for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}


def hurried_rules():
    """The chart's rules for a run of a minute: nothing lasts longer than some seconds before it is told."""
    text = (CHART / "rules" / "longhand.rules.yaml").read_text(encoding="utf-8")
    text = re.sub(r"for: \d+m", "for: 1s", text)
    return re.sub(r"\[\d+m\]", "[10s]", text)


def expand(query, rate_interval="10s", range_="60s"):
    """A panel's query with Grafana's variables filled in."""
    return query.replace("$__rate_interval", rate_interval).replace("$__range", range_).replace("$cell", ".*")


class Load:
    """Requests of every kind, until stopped: long ones, pictures, several answers, cancelled and refused ones, clients that come
    back."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in
                         (self._write, self._look, self._leave, self._come_back, self._ask_too_much)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, one):
        round_ = 0
        while not self._stopping.is_set():
            # A cluster that is being healed refuses, or cuts.
            with contextlib.suppress(OSError, EOFError, ValueError, KeyError, AssertionError):
                one(round_)
            round_ += 1
            self._stopping.wait(.05)

    def _write(self, round_):
        self._cluster.chat(**greedy(f"Write a story, and say {round_}.", 150, n=1 + round_ % 2))
        self._cluster.chat(messages=[{"role": "user", "content": "Hello"}], max_tokens=40, temperature=.8)

    def _look(self, round_):
        content = [{"type": "image_url", "image_url": {"url": picture_url()}}, {"type": "text", "text": f"What is this? {round_}"}]
        self._cluster.chat(messages=[{"role": "user", "content": content}], max_tokens=20, cache_salt=str(round_))  # Or the prefix cache had it.

    def _leave(self, round_):
        with self._cluster.connect() as connection:
            connection.post("/v1/chat/completions", greedy(f"Hello {round_}", 500, stream=True))
            connection.until(b"id: 5")

    def _come_back(self, round_):
        name = f"back-{time.monotonic_ns()}"
        with self._cluster.connect() as connection:
            connection.post("/v1/chat/completions", greedy("Write much.", 60, stream=True, request_id=name, on_disconnect="continue"))
            connection.until(b"id: 5")
        self._cluster.ask("GET", f"/v1/streams/{name}?from=6")

    def _ask_too_much(self, _):
        self._cluster.chat(**greedy("Hello", 10**7))
        self._stopping.wait(.5)


class MonitoredCluster:
    def __init__(self, spares=0):
        count = 2 + spares
        first = free_ports(count)
        self.workers = [f"127.0.0.1:{first + i}" for i in range(count)]
        self.cluster = Cluster("--tp", "2", "--spare-workers", str(spares), "--worker-metrics-address", self.workers[0])
        try:
            self.prometheus = Prometheus(self.cluster.ready()["metrics"], self.workers, hurried_rules())
        except BaseException:
            self.cluster.stop()
            raise

    def stop(self):
        self.prometheus.stop()
        self.cluster.stop()

    def kill_worker(self, rank):
        os.kill(self.cluster.ready()["pids"]["workers"][rank], signal.SIGKILL)

    def wait_until(self, condition, what):
        """For what a Prometheus sees; the bound only ends a test that hangs."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}\n{self.cluster.log()}\n{self.prometheus.log()}"
            time.sleep(.1)
