"""The demo, as the chart starts it, out of the image: the pods' commands, users, read-only roots, volumes and probes."""
import os

import pytest

from pods import Node, unpack
from tools import ROOT, check, objects

VALUES = {"shutdownTimeout": 5, "test": {"timeout": 60}}


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    check(ROOT / "deploy/build-images", "cpu")
    config = unpack(ROOT / "build/release/images/longhand-cpu.tar", folder)
    return folder, config


def test_the_image_has_no_shell_and_is_small(image):
    root, config = image
    names = {path.name for path in root.rglob("*") if path.is_file() and os.access(path, os.X_OK)}
    assert not names & {"sh", "bash", "dash", "busybox", "python3", "perl"}
    assert config["User"] == "10001:10001"
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert size < 150e6


@pytest.mark.parametrize("topology", ["pods", "node"])
def test_the_demo_writes_a_paragraph_and_goes_on_after_a_restart(image, topology):
    root, config = image
    with Node(objects(VALUES | {"topology": topology}), root, config) as node:
        test = node.pods["cell-longhand-test"]
        cell = [pod for pod in node.pods.values() if pod is not test]
        coordinator = node.pods["cell-longhand-coordinator-0"]
        for pod in cell:
            pod.start()
        for kind in ("startup", "liveness", "readiness"):
            node.wait(f"all pods pass their {kind} probe", lambda kind=kind: all(pod.probe(kind) for pod in cell))

        test.start()
        assert test.process.wait(120) == 0, test.log()
        assert len(test.log().split()) > 10

        assert coordinator.stop()
        assert not coordinator.probe("readiness")
        coordinator.start()
        node.wait("the coordinator is ready again", lambda: coordinator.probe("readiness"))
        for pod in cell:
            if pod is not coordinator:
                worker = pod
                assert worker.stop()
                node.wait("without a rank it is not ready", lambda: not coordinator.probe("readiness"))
                assert coordinator.probe("liveness")
                worker.start()
                node.wait("the rank is back", lambda: coordinator.probe("readiness"))
                break


def test_nothing_but_volumes_can_be_written(image):
    root, config = image
    with Node(objects(VALUES), root, config) as node:
        pod = node.pods["cell-longhand-worker-0"]
        # A file that the worker cannot make: a socket in the image's folder, and one that it can.
        for path, works in (("/opt/longhand/s", False), ("/tmp/s", True)):
            pod.container["args"] = [f"--listen=unix:{path}", "--device=cpu"]
            pod.start()
            if works:
                node.wait("it listens", lambda: '"listen"' in pod.log())
                assert pod.stop()
            else:
                assert pod.process.wait(60) != 0
                assert "cannot listen" in pod.log()
