"""docs/examples/go against a cluster whose coordinator is killed under it: the text of an undisturbed answer. Exits with 77 (skipped)
without Go 1.20."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from http_cluster import ROOT, Cluster

SOURCE = os.path.join(ROOT, "docs", "examples", "go")
GO = shutil.which("go")


def skip_without_go():
    version = subprocess.run([GO, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip() if GO else ""
    if not version or tuple(int(part) for part in version.removeprefix("go").split(".")[:2]) < (1, 20):
        print(f"skipped: Go 1.20 or later is needed, found {version or 'none'}")
        sys.exit(77)


class Example(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.program = os.path.join(folder.name, "stream")
        subprocess.run([GO, "build", "-o", cls.program, "."], cwd=SOURCE, env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}, check=True)
        cls.cluster = Cluster("--tp", "2", "--journal", os.path.join(folder.name, "journal"))
        cls.addClassCleanup(cls.cluster.stop)

    def run_example(self, *arguments):
        # The port stays when the coordinator restarts.
        return subprocess.Popen([self.program, f"http://{self.cluster.host}:{self.cluster.port}", *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def test_a_stream_survives_the_coordinator(self):
        calm = self.run_example("Write.", "800").communicate()[0]
        self.assertGreater(len(calm), 100)
        stirred = self.run_example("Write.", "800")
        head = stirred.stdout.read(20)
        for _ in range(2):
            killed = self.cluster.ready()["pids"]["coordinator"]
            self.cluster.kill_coordinator()
            self.cluster.wait_until(lambda: self.cluster.ready()["pids"]["coordinator"] != killed, "it is not replaced")
        rest, errors = stirred.stdout.read(), stirred.stderr.read()
        stirred.wait()
        self.assertEqual((head + rest, errors), (calm, ""))

    def test_a_refusal_is_said(self):
        done = self.run_example("Write.", "100000000")
        self.assertIn("400", done.communicate()[1])
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    skip_without_go()
    unittest.main(verbosity=2)
