"""Where the chart and the tools are, and how they are called."""
import json
import os
import pathlib
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "longhand"
EXAMPLES = sorted((CHART / "examples").glob("values-*.yaml"))
BINARIES = pathlib.Path(os.environ.get("LONGHAND_BINARIES", ROOT / "build" / "release" / "bin"))
TOOLS = pathlib.Path(os.environ["LONGHAND_K8S_TOOLS"])


def tool(name):
    return str(TOOLS / "bin" / name)


def run(*command, **options):
    """The finished process; what it printed is text."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=300, **options)


def check(*command, **options):
    """What the command printed; it must succeed."""
    done = run(*command, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout


def values_arguments(values):
    """-f arguments for values files (paths) and dictionaries."""
    arguments = []
    for item in values:
        if isinstance(item, dict):
            with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
                json.dump(item, file)
            item = file.name
        arguments += ["-f", item]
    return arguments


def render(*values, name="cell", namespace="default"):
    """The finished `helm template`."""
    return run(tool("helm"), "template", name, CHART, "-n", namespace, *values_arguments(values))


def objects(*values):
    """The rendered objects by (kind, name)."""
    done = render(*values)
    assert done.returncode == 0, done.stderr
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(done.stdout) if item}
