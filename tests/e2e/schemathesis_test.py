"""Schemathesis against /openapi.json: what the page allows is answered, what it forbids is refused, and answers look as it
says. Installs it once, from PyPI; exits with 77 (skipped) where that cannot be done. Prints its seed; `schemathesis_test.py SEED EXAMPLES`."""
import os
import subprocess
import sys
import tempfile

import environment

environment.enter("schemathesis")

from http_cluster import Cluster  # noqa: E402

SEED, EXAMPLES = (*sys.argv[1:], *("1", "20")[len(sys.argv) - 1:])


def main():
    cluster = Cluster("--tp", "2")
    folder = tempfile.TemporaryDirectory()  # for what it keeps of failures
    try:
        command = [os.path.join(sys.prefix, "bin", "schemathesis"), "run", f"http://{cluster.host}:{cluster.port}/openapi.json",
                   "--seed", SEED, "--max-examples", EXAMPLES, "--workers", "1", "--request-timeout", "60",
                   "--suppress-health-check", "too_slow"]  # How fast it draws cases is the machine's business.
        return subprocess.run(command, cwd=folder.name, env={**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
                                            "PYTHONPATH": environment.HERE}, check=False).returncode
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
