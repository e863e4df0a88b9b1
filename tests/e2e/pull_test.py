"""`longhand pull` against a stand-in hub. Where huggingface_hub is installed, it reads and continues the same cache."""
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest

import stand_in_hub
from stand_in_hub import StandInHub

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
LONGHAND = os.path.join(os.environ.get("LONGHAND_BINARIES", os.path.join(ROOT, "build", "release", "bin")), "longhand")
PATIENCE_S = 120
MODEL = "an-org/Some_Model-7B"
TOKEN = "hf_aTokenThatNobodyMaySee"
WEIGHTS = "model-00001-of-00002.safetensors"


def files():
    return {
        "config.json": b'{"model_type":"qwen2_5_vl"}',
        "tokenizer.json": b"{}\n" * 1000,
        "chat_template.jinja": b"{{ messages }}",
        "merges.txt": b"",
        WEIGHTS: bytes(range(256)) * 4096,
        "model-00002-of-00002.safetensors": b"\x07" * 70001,
        "pytorch_model.bin": b"a pickle",
        "README.md": b"# A model",
        "training_args.bin": b"a pickle",
        "checkpoint-100/model.safetensors": b"another",
    }


NEEDED = {"config.json", "tokenizer.json", "chat_template.jinja", "merges.txt", WEIGHTS, "model-00002-of-00002.safetensors"}


class PullTestCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = folder.name
        self.hub = StandInHub(MODEL, files(), {name for name in files() if name.endswith((".safetensors", ".bin"))})
        self.addCleanup(self.hub.close)

    @property
    def folder(self):
        return os.path.join(self.home, "hub", "models--an-org--Some_Model-7B")

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "LONGHAND_")) and "proxy" not in k.lower()}
        return {**kept, "HF_HOME": self.home, "HF_ENDPOINT": self.hub.hub.url, **more}

    def start(self, *flags, **environment):
        process = subprocess.Popen([LONGHAND, "pull", MODEL, *flags], env=self.environment(**environment),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def pull(self, *flags, **environment):
        process = self.start(*flags, **environment)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def pulled(self, *flags, **environment):
        code, out, err = self.pull(*flags, **environment)
        self.assertEqual(code, 0, err)
        return out, err

    def assert_snapshot(self, snapshot):
        self.assertEqual(set(os.listdir(snapshot)), NEEDED)
        for name in NEEDED:
            link = os.path.join(snapshot, name)
            self.assertEqual(os.readlink(link), f"../../blobs/{self.hub.digest(name)}")
            with open(link, "rb") as file:
                self.assertEqual(file.read(), self.hub.files[name], name)
        self.assertFalse([name for name in os.listdir(os.path.join(self.folder, "blobs")) if "." in name])

    def file_requests(self):
        return [r for r in self.hub.hub.requests + self.hub.store.requests if "/api/" not in r[1]]


class Pull(PullTestCase):
    def test_the_files_a_server_needs_are_laid_out_as_the_hubs_own_tools_do(self):
        out, err = self.pulled()
        snapshot = out.strip()
        self.assertEqual(snapshot, os.path.join(self.folder, "snapshots", self.hub.commit))
        self.assert_snapshot(snapshot)
        with open(os.path.join(self.folder, "refs", "main"), encoding="utf-8") as file:
            self.assertEqual(file.read(), self.hub.commit)
        self.assertIn("6 of 6 files", err)
        self.assertNotIn("\r", err)

        num_requests = len(self.file_requests())
        out, _ = self.pulled("--json")
        result = json.loads(out)
        self.assertEqual(len(self.file_requests()), num_requests)
        self.assertEqual((result["path"], result["downloaded_bytes"]), (snapshot, 0))
        self.assertEqual({file["name"] for file in result["files"]}, NEEDED)

    def test_a_mirror_that_lists_no_digests_is_asked_for_each_files(self):
        self.hub.lists_digests = False
        out, _ = self.pulled("--json")
        self.assert_snapshot(json.loads(out)["path"])
        sizes = [file["size"] for file in json.loads(out)["files"]]
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertEqual(sum(method == "HEAD" for method, _, _ in self.hub.hub.requests), len(NEEDED))
        self.assertFalse([path for method, path, _ in self.hub.store.requests if method == "HEAD"])

    def test_a_data_sets_parquet_files_are_laid_out_alike_and_eval_finds_them(self):
        name = "data/train-00000-of-00001.parquet"
        with open(os.path.join(ROOT, "tests", "data", "benchmarks", "ruler.parquet"), "rb") as file:
            content = {name: file.read(), "README.md": b"# Data", "other/x.parquet": b"no", "config.json": b"{}"}
        hub = StandInHub("an-org/Data", content, {name}, kind="datasets")
        self.addCleanup(hub.close)
        environment = self.environment(HF_ENDPOINT=hub.hub.url)
        def run(*args):
            return subprocess.run([LONGHAND, *args], env=environment, capture_output=True, text=True, timeout=PATIENCE_S,
                                  check=False, cwd=self.home)
        done = run("pull", "--dataset", "an-org/Data")
        self.assertEqual(done.returncode, 0, done.stderr)
        snapshot = os.path.join(self.home, "hub", "datasets--an-org--Data", "snapshots", hub.commit)
        self.assertEqual((done.stdout.strip(), os.listdir(snapshot)), (snapshot, ["data"]))
        self.assertEqual(os.readlink(os.path.join(snapshot, name)), "../../../blobs/" + hub.digest(name))
        num_requests = len(hub.hub.requests)
        # Nobody is there to write; the data set is taken from the cache.
        done = run("eval", "longwrite-v-ruler", "--data", "an-org/Data", "--base-url", "http://127.0.0.1:1", "--model", "m", "--json",
                   "--tries", "1")
        self.assertEqual((done.returncode, json.loads(done.stdout)["failed"], len(hub.hub.requests)), (1, 4, num_requests))
        missing = run("pull", "--dataset", "an-org/Other")
        self.assertIn("/datasets/an-org/Other", missing.stderr)

    def test_the_token_goes_to_the_hub_alone_and_into_no_output(self):
        out, err = self.pulled(HF_TOKEN=TOKEN)
        self.assertTrue(self.hub.store.requests)
        for _, _, headers in self.hub.hub.requests:
            self.assertEqual(headers.get("Authorization"), "Bearer " + TOKEN)
        for _, path, headers in self.hub.store.requests:
            self.assertNotIn("Authorization", headers)
            self.assertNotIn(TOKEN, path)
        self.assertNotIn(TOKEN, out + err)
        for refused in (401, 403):
            self.hub.refusal = (refused, {"X-Error-Message": "No."})
            _, out, err = self.pull(HF_TOKEN=TOKEN)
            self.assertNotIn(TOKEN, out + err)

    def test_a_token_file_is_read(self):
        with open(os.path.join(self.home, "token"), "w", encoding="utf-8") as file:
            file.write(TOKEN + "\n")
        self.pulled()
        self.assertEqual(self.hub.hub.requests[0][2].get("Authorization"), "Bearer " + TOKEN)

    def test_a_cut_connection_goes_on_where_it_ended(self):
        self.hub.faults = [stand_in_hub.cut_after(100_000), stand_in_hub.cut_after(0), stand_in_hub.cut_after(200_000)]
        out, err = self.pulled("--jobs", "1")
        self.assert_snapshot(out.strip())
        ranges = [headers.get("Range") for _, path, headers in self.hub.store.requests if path.startswith("/" + WEIGHTS)]
        self.assertEqual(ranges, [None, "bytes=100000-", "bytes=100000-", "bytes=300000-"])
        self.assertIn("from byte 100000", err)

    def test_a_killed_download_is_continued_by_the_next_one(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.hub.faults = [stand_in_hub.cut_after(100_000), stand_in_hub.wait_for(gate)]
        process = self.start("--jobs", "1")
        for line in process.stderr:
            if "from byte 100000" in line:
                break
        process.kill()
        process.wait(PATIENCE_S)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "refs", "main")))
        gate.set()
        self.hub.faults = []
        out, _ = self.pulled("--jobs", "1", "--json")
        self.assert_snapshot(json.loads(out)["path"])
        self.assertEqual(json.loads(out)["downloaded_bytes"], sum(len(files()[n]) for n in NEEDED) - 100_000)

    def test_a_host_without_ranges_sends_all_of_it_again(self):
        self.hub.honours_ranges = False
        self.hub.faults = [stand_in_hub.cut_after(100_000)]
        out, _ = self.pulled("--jobs", "1")
        self.assert_snapshot(out.strip())

    def test_a_wrong_digest_is_tried_once_more_and_then_refused(self):
        self.hub.faults = [stand_in_hub.spoil]
        out, err = self.pulled("--jobs", "1")
        self.assert_snapshot(out.strip())
        self.assertIn("has the digest", err)

        os.remove(os.path.realpath(os.path.join(out.strip(), WEIGHTS)))
        self.hub.faults = [stand_in_hub.spoil, stand_in_hub.spoil]
        code, _, err = self.pull("--jobs", "1")
        self.assertEqual(code, 1)
        self.assertIn(f"the hub says {self.hub.digest(WEIGHTS)}", err)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "blobs", self.hub.digest(WEIGHTS))))

    def test_a_spoiled_small_file_is_found_by_gits_digest(self):
        self.hub.large = set()
        self.hub.faults = [stand_in_hub.spoil] * 2
        code, _, err = self.pull("--jobs", "1")
        self.assertEqual(code, 1)
        self.assertIn("has the digest", err)

    def test_refusals_say_what_to_do(self):
        self.hub.refusal = (401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        code, _, err = self.pull()
        self.assertEqual(code, 1)
        self.assertIn("set HF_TOKEN", err)
        self.hub.refusal = (403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        code, _, err = self.pull(HF_TOKEN=TOKEN)
        self.assertEqual(code, 1)
        self.assertIn(f"ask for access at {self.hub.hub.url}/{MODEL}", err)
        self.hub.refusal = None
        code, _, err = self.pull("--revision", "v2")
        self.assertEqual(code, 1)
        self.assertIn("at revision v2", err)
        self.assertEqual(self.pull("--revision", "../../etc")[0], 2)
        self.assertEqual(self.pull(HF_ENDPOINT="huggingface.co")[0], 2)
        self.assertEqual(self.pull(HF_HUB_OFFLINE="1")[0], 1)

    def test_a_busy_hub_is_asked_again_when_it_says(self):
        self.hub.listing_refusals = [(429, b"", {"Retry-After": "1"}), (503, b"", {})]
        self.hub.faults = [stand_in_hub.refuse(429, {"Retry-After": "1"})]
        out, err = self.pulled("--jobs", "1")
        self.assert_snapshot(out.strip())
        self.assertEqual(err.count("again in 1000 ms"), 3)  # The 503's pause has doubled to it.
        self.hub.listing_refusals = [(429, b"", {"Retry-After": "86400"})]
        self.assertEqual(self.pull()[0], 1)

    def test_pickles_alone_are_refused(self):
        for name in [name for name in self.hub.files if name.endswith(".safetensors")]:
            del self.hub.files[name]
        code, _, err = self.pull()
        self.assertEqual(code, 1)
        self.assertIn("pickles, which are never loaded", err)

    def test_two_processes_download_each_file_once(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.hub.faults = [stand_in_hub.wait_for(gate)]
        first = self.start("--jobs", "1")
        while not self.hub.store.requests:
            self.assertIsNone(first.poll())
        second = self.start("--jobs", "1")
        for line in second.stderr:
            if "another process" in line:
                break
        gate.set()
        for process in (first, second):
            self.assertEqual(process.wait(PATIENCE_S), 0)
        self.assertEqual(len(self.hub.store.requests), 2)
        self.assert_snapshot(os.path.join(self.folder, "snapshots", self.hub.commit))

    def test_a_branch_has_a_name_of_its_own(self):
        self.hub.branch = "refs/pr/1"
        self.pulled("--revision", "refs/pr/1")
        with open(os.path.join(self.folder, "refs", "refs", "pr", "1"), encoding="utf-8") as file:
            self.assertEqual(file.read(), self.hub.commit)

    def test_a_model_larger_than_the_disk_is_refused_before_it_comes(self):
        listing = self.hub._listing()
        for entry in listing["siblings"]:
            if entry["rfilename"] == WEIGHTS:
                entry["lfs"]["size"] = 1 << 55
        self.hub._listing = lambda: listing
        code, _, err = self.pull()
        self.assertEqual(code, 1)
        self.assertIn("bytes are to be downloaded, and the disk of", err)
        self.assertFalse(self.file_requests())

    def test_serve_says_how_to_get_what_is_not_there(self):
        done = subprocess.run([LONGHAND, "serve", "--model", MODEL, "--dry-run"], env=self.environment(), capture_output=True,
                              text=True, timeout=PATIENCE_S, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"`longhand pull {MODEL}`", done.stderr)

    def test_serve_finds_what_was_pulled(self):
        nano = os.path.join(ROOT, "tests", "data", "nano")
        self.hub.files = {}
        for name in os.listdir(nano):
            with open(os.path.join(nano, name), "rb") as file:
                self.hub.files[name] = file.read()
        self.pulled()
        done = subprocess.run([LONGHAND, "serve", "--model", MODEL, "--dry-run", "--json"], env=self.environment(),
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(json.loads(done.stdout.splitlines()[-1])["kv_tokens"], 0)


@unittest.skipUnless(importlib.util.find_spec("huggingface_hub"), "huggingface_hub is not installed")
class WithHuggingFacesOwn(PullTestCase):

    def python(self, code):
        done = subprocess.run([sys.executable, "-c", code], env=self.environment(HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1"),
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_the_library_reads_what_was_pulled_and_downloads_none_of_it(self):
        out, _ = self.pulled()
        self.assertEqual(self.python("from huggingface_hub import snapshot_download as s;"
                                     f"print(s({MODEL!r}, local_files_only=True))"), out.strip())
        num_requests = len(self.hub.store.requests)
        self.assertEqual(self.python("from huggingface_hub import snapshot_download as s;"
                                     f"print(s({MODEL!r}, allow_patterns=['*.safetensors', '*.json', '*.jinja', 'merges.txt'],"
                                     " ignore_patterns=['*/*']))"), out.strip())
        self.assertFalse([r for r in self.hub.store.requests[num_requests:] if r[0] == "GET"])
        self.assertEqual(self.python("from huggingface_hub import scan_cache_dir as s; r = s();"
                                     "print(len(r.warnings), [x.repo_id for x in r.repos], [x.nb_files for x in r.repos])"),
                         f"0 ['{MODEL}'] [6]")

    def test_what_the_library_has_is_not_downloaded_again(self):
        self.python("from huggingface_hub import snapshot_download as s;"
                    f"s({MODEL!r}, allow_patterns=['*.safetensors', '*.json', '*.jinja', 'merges.txt'], ignore_patterns=['*/*'])")
        out, _ = self.pulled("--json")
        self.assertEqual(json.loads(out)["downloaded_bytes"], 0)
        self.assert_snapshot(json.loads(out)["path"])


if __name__ == "__main__":
    unittest.main()
