"""A journal on a disk that is full, at the start or while streams run: the server says so, begins nothing new, loses nothing, and goes
on by itself when there is room. Exits with 77 (skipped) where no file system can be mounted."""
import contextlib
import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from http_cluster import NANO, PATIENCE_S, Cluster, Connection, Reporting, program

ANY = "127.0.0.1:0"
FULL = r"the disk of /.*/journal is full: \d+ bytes are free, and the journal needs \d+"


class Disk:
    def __init__(self, size):
        self._folder = tempfile.TemporaryDirectory()
        self.path = self._folder.name
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.path], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            self._folder.cleanup()
            raise OSError(done.stderr)
        self.journal = os.path.join(self.path, "journal")
        self._filler = os.path.join(self.path, "filler")

    def fill(self):
        """To the last byte."""
        with open(self._filler, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error

    def empty(self):
        os.remove(self._filler)

    @contextlib.contextmanager
    def kept_full(self):
        """Whatever the journal gives back, others take."""
        is_over = threading.Event()

        def fill():
            while not is_over.wait(.005):
                self.fill()
        filler = threading.Thread(target=fill)
        filler.start()
        try:
            yield
        finally:
            is_over.set()
            filler.join()
            self.empty()

    def remove(self):
        subprocess.run(["umount", self.path], check=True)
        self._folder.cleanup()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(.02)


def story(**fields):
    return {"prompt": "A long story", "max_tokens": 3000, "ignore_eos": True, "temperature": 0, "stream": True,
            "on_disconnect": "continue", **fields}


def text_of(answer):
    return "".join(choice["text"] for event in answer.events() if event.data != "[DONE]" for choice in event.json()["choices"])


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.disk = Disk("6m")
        self.addCleanup(self.disk.remove)

    def start(self, *flags):
        coordinator = Reporting("longhand-coordinator", "--model", NANO, "--http-address", ANY, "--grpc-address", ANY,
                                "--metrics-address", ANY, "--journal", self.disk.journal, *flags)
        self.at = coordinator.report("http")
        return coordinator

    def ask(self, method, path, body=None):
        with Connection(*self.at["http"].rsplit(":", 1)) as connection:
            return connection.ask(method, path, body)

    def is_healthy(self):
        return "longhand_journal_healthy 1" in Cluster.page(self.at["metrics"]).splitlines()

    def test_it_starts_on_one_and_comes_up_when_there_is_room(self):
        socket = os.path.join(tempfile.mkdtemp(), "worker")
        worker = Reporting("longhand-worker", "--listen", f"unix:{socket}", "--metrics-address", ANY, "--device", "cpu",
                           "--threads", "1")
        self.addCleanup(worker.stop)
        worker.report("listen")
        coordinator = self.start("--workers", f"unix:{socket}")
        wait_until(lambda: self.ask("GET", "/readyz").status == 200)
        whole = text_of(self.ask("POST", "/v1/completions", story()))
        with Connection(*self.at["http"].rsplit(":", 1)) as connection:
            connection.post("/v1/completions", story(request_id="kept"))
            connection.head()
            connection.chunk()
        coordinator.kill()
        # Nothing that could be used again: no log, no reserve.
        database = sqlite3.connect(os.path.join(self.disk.journal, "journal.db"))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        os.remove(os.path.join(self.disk.journal, "reserve"))
        self.disk.fill()

        coordinator = self.start("--workers", f"unix:{socket}")
        self.addCleanup(lambda: coordinator.stop())
        self.assertEqual(self.ask("GET", "/livez").status, 200)
        wait_until(lambda: self.ask("GET", "/readyz").json()["phase"] == "journal")
        ready = self.ask("GET", "/readyz")
        self.assertEqual(ready.status, 503)
        self.assertRegex(ready.json()["detail"], "requests cannot be kept now: .*is full")
        self.assertEqual(self.ask("GET", "/startupz").status, 200)
        self.assertFalse(self.is_healthy())
        # Neither "not found" nor a second beginning.
        for refused in (self.ask("GET", "/v1/streams/kept"), self.ask("POST", "/v1/completions", story(request_id="kept")),
                        self.ask("POST", "/v1/completions", story())):
            self.assertEqual(refused.status, 503)
            self.assertRegex(refused.json()["error"]["message"], "what is kept cannot be read yet: .*is full")

        self.disk.empty()
        wait_until(lambda: self.ask("GET", "/readyz").status == 200)
        self.assertTrue(self.is_healthy())
        self.assertEqual(text_of(self.ask("GET", "/v1/streams/kept")), whole)

    def test_streams_pause_while_it_is_full_and_go_on_with_the_same_text(self):
        cluster = Cluster("--journal", self.disk.journal)
        self.addCleanup(cluster.stop)
        self.at = cluster.ready()
        whole = text_of(self.ask("POST", "/v1/completions", story()))
        with cluster.connect() as connection:
            connection.post("/v1/completions", story(request_id="pauses"))
            connection.head()
            connection.chunk()

            with self.disk.kept_full():
                wait_until(lambda: self.ask("GET", "/readyz").json()["phase"] == "journal")
                self.assertRegex(self.ask("GET", "/readyz").json()["detail"], f"requests cannot be kept now: {FULL}")
                refused = self.ask("POST", "/v1/completions", story())
                self.assertEqual(refused.status, 503)
                self.assertRegex(refused.json()["error"]["message"], f"requests cannot be kept now: {FULL}")
                self.assertFalse(self.is_healthy())
                wait_until(lambda: re.search(FULL, cluster.log()))
        wait_until(lambda: self.ask("GET", "/readyz").status == 200)
        self.assertEqual(text_of(self.ask("GET", "/v1/streams/pauses")), whole)

    def test_a_ready_file_is_whole_or_not_there(self):
        self.disk.fill()
        ready_file = os.path.join(self.disk.path, "ready.json")
        serve = Reporting("longhand", "serve", "--model", NANO, "--threads", "1", "--http-address", ANY, "--grpc-address", ANY,
                          "--metrics-address", ANY, "--ready-file", ready_file)
        self.addCleanup(serve.stop)
        wait_until(lambda: f"--ready-file {ready_file} cannot be written" in serve.log())
        self.assertFalse(os.path.exists(ready_file))
        self.disk.empty()
        wait_until(lambda: os.path.exists(ready_file))
        with open(ready_file, encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)["pids"]["workers"]), 1)

    def test_a_place_that_cannot_be_right_is_an_error_at_once(self):
        with open(os.path.join(self.disk.path, "file"), "wb"):
            pass
        done = subprocess.run([program("longhand"), "serve", "--model", NANO, "--journal",
                               os.path.join(self.disk.path, "file", "journal")], capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("file/journal cannot be made: Not a directory", done.stderr)


if __name__ == "__main__":
    try:
        Disk("1m").remove()
    except OSError as why:
        print(f"skipped: no file system can be mounted here: {why}")
        sys.exit(77)
    unittest.main()
