"""deploy/compose.yaml without a container: as Docker's own loader reads it, and whether programs and Prometheus take what they
are given."""
import json
import pathlib
import re

import pytest

from tools import BINARIES, CHART, ROOT, check, run, tool

FILE = ROOT / "deploy" / "compose.yaml"
MONITORING = ROOT / "deploy" / "monitoring"


@pytest.fixture(scope="session")
def project():
    """What `docker compose config` shows."""
    return json.loads(check(tool("compose"), FILE))


def test_a_wrong_key_is_seen(tmp_path):
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(FILE.read_text(encoding="utf-8").replace("stop_grace_period", "stop_grace"), encoding="utf-8")
    done = run(tool("compose"), wrong)
    assert done.returncode == 1 and "stop_grace" in done.stderr


def test_what_is_mounted_exists(project):
    binds = [volume for service in project["services"].values() for volume in service.get("volumes", []) if volume["type"] == "bind"]
    assert len(binds) >= 5
    for volume in binds:
        assert pathlib.Path(volume["source"]).exists(), volume["source"]
        assert volume["read_only"]


def test_nothing_listens_beyond_this_machine(project):
    ports = [port for service in project["services"].values() for port in service.get("ports", [])]
    assert {port["target"] for port in ports} == {8000, 8001, 9090, 3000}
    assert all(port["host_ip"] == "127.0.0.1" for port in ports)


def test_longhand_runs_as_the_chart_runs_it(project):
    version = re.search(r'appVersion: "?([0-9.]+)', (CHART / "Chart.yaml").read_text(encoding="utf-8"))[1]
    for name in ("coordinator", "worker-0", "worker-1"):
        service = project["services"][name]
        assert service["image"] == f"longhand:{version}"
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_names_are_those_of_services(project):
    text = " ".join(project["services"]["coordinator"]["command"]) + (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\b(worker-\d+|coordinator):\d", text)) == {"worker-0", "worker-1", "coordinator"}
    assert (MONITORING / "datasources.yaml").read_text(encoding="utf-8").count("http://prometheus:9090") == 1
    assert {"prometheus", "worker-0", "worker-1", "coordinator"} < set(project["services"])


def test_the_programs_take_their_flags(project):
    command = project["services"]["coordinator"]["command"]
    done = run(BINARIES / "longhand-coordinator", *command, "--model", ROOT / "tests/data/nano", "--dry-run")
    assert done.returncode == 0, done.stderr
    worker = {word.lstrip("-") for word in project["services"]["worker-0"]["command"] if word.startswith("--")}
    assert worker <= set(re.findall(r"--([a-z][a-z-]+)", check(BINARIES / "longhand-worker", "--help")))


def test_prometheus_takes_its_configuration(tmp_path):
    for path in (MONITORING / "prometheus.yml", CHART / "rules" / "longhand.rules.yaml"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    check(tool("promtool"), "check", "config", tmp_path / "prometheus.yml")
