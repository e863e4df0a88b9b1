"""OpenAI's Node client, unchanged, against the gateway (openai_node/client.test.mjs). Installs it once, from the npm registry, under
~/.cache/longhand; exits with 77 (skipped) without Node 20 or where that cannot be done."""
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile

from environment import CACHE, HERE
from http_cluster import Cluster, picture_url

SOURCE = os.path.join(HERE, "openai_node")
HOME = os.path.join(CACHE, "openai-node")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def install():
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip() if node else "none"
    if not node or int(version.lstrip("v").split(".")[0]) < 20:
        skip(f"Node 20 or later is needed, found {version}")
    stamp = os.path.join(HOME, "installed.json")
    if not (os.path.exists(stamp) and filecmp.cmp(os.path.join(SOURCE, "package-lock.json"), stamp, shallow=False)):
        shutil.rmtree(HOME, ignore_errors=True)
        shutil.copytree(SOURCE, HOME)
        if subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HOME, check=False).returncode != 0:
            skip("the client cannot be installed")
        shutil.copyfile(os.path.join(SOURCE, "package-lock.json"), stamp)
    shutil.copyfile(os.path.join(SOURCE, "client.test.mjs"), os.path.join(HOME, "client.test.mjs"))
    return node


def main():
    node = install()
    with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
        keys.write("tester:sk-test\n")
        keys.flush()
        cluster = Cluster("--tp", "2", "--api-key-file", keys.name)
        try:
            environment = {**os.environ, "LONGHAND_URL": f"http://{cluster.host}:{cluster.port}/v1", "LONGHAND_PICTURE": picture_url()}
            return subprocess.run([node, "--test", "--test-reporter", "spec", "client.test.mjs"], cwd=HOME, env=environment,
                                  check=False).returncode
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
