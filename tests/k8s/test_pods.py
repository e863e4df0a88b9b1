"""The demo, as the chart starts it, out of the image: the pods' commands, users, read-only roots, volumes and probes."""
import json
import os

import pytest

from pods import Node, unpack
from tools import ROOT, check, objects

VALUES = {"shutdownTimeout": 5, "test": {"timeout": 60}}


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)  # The image's root is for all users.
    check(ROOT / "deploy/build-images", "cpu")
    config = unpack(ROOT / "build/release/images/longhand-cpu.tar", folder)
    return folder, config


def test_the_bill_of_materials_has_what_is_in_the_image(image):
    root, _ = image
    bill = json.loads((ROOT / "build/release/images/longhand-cpu.cdx.json").read_text(encoding="utf-8"))
    files = {file["name"] for component in bill["components"] for file in component.get("components", [])}
    assert files == {f"lib/longhand/{path.name}" for path in (root / "opt/longhand/lib/longhand").iterdir() if not path.is_symlink()}
    versions = {component["name"]: component["version"] for component in bill["components"] if component["type"] == "library"}
    assert {"libc6", "ca-certificates"} <= set(versions)


def test_the_image_has_no_shell_and_is_small(image):
    root, config = image
    names = {path.name for path in root.rglob("*") if path.is_file() and os.access(path, os.X_OK)}
    assert not names & {"sh", "bash", "dash", "busybox", "python3", "perl"}
    assert config["User"] == "10001:10001"
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    # A third of it is the worker, whose kernels are there for CPUs, for GPUs, and for GPUs on CPUs.
    assert size < 130e6


def start(node):
    """Starts the cell's pods, waits until their probes pass, and runs helm test; its log."""
    test = node.pods["cell-longhand-test"]
    cell = [pod for pod in node.pods.values() if pod is not test]
    for pod in cell:
        pod.start()
    for kind in ("startup", "liveness", "readiness"):
        node.wait(f"all pods pass their {kind} probe", lambda kind=kind: all(pod.probe(kind) for pod in cell))
    test.start()
    assert test.process.wait(120) == 0, test.log()
    assert len(test.log().split()) > 10
    return cell


@pytest.mark.parametrize(("topology", "family"), [("pods", "IPv4"), ("node", "IPv4"), ("pods", "IPv6"), ("node", "IPv6")])
def test_the_demo_writes_a_paragraph_and_goes_on_after_a_restart(image, topology, family):
    root, config = image
    with Node(objects(VALUES | {"topology": topology, "ipFamily": family}), root, config, family=family) as node:
        cell = start(node)
        coordinator = node.pods["cell-longhand-coordinator-0"]
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


def certificate(folder, *names):
    """A key, and a certificate for these names that is its own authority."""
    check("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={names[0]}",
          "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
          "-keyout", folder / "tls.key", "-out", folder / "tls.crt")
    key, crt = ((folder / name).read_text(encoding="utf-8") for name in ("tls.key", "tls.crt"))
    return {"tls.key": key, "tls.crt": crt, "ca.crt": crt}


def test_with_secrets_it_speaks_tls_and_asks_for_a_key(image, tmp_path):
    root, config = image
    secrets = {"certificate": certificate(tmp_path, "cell-longhand"), "keys": {"keys": "test:k-123456789\n", "client": "k-123456789"}}
    values = VALUES | {"tls": {"secretName": "certificate"}, "apiKeys": {"secretName": "keys"}}
    with Node(objects(values), root, config, secrets) as node:
        start(node)
        address = node.pods["cell-longhand-coordinator-0"].address
        for key, status in (("k-123456789", "200"), ("another", "401")):
            assert check("curl", "-s", "--cacert", tmp_path / "tls.crt", "--resolve", f"cell-longhand:8000:{address}", "-o", "/dev/null",
                         "-w", "%{http_code}", "-H", f"authorization: Bearer {key}", "https://cell-longhand:8000/v1/models") == status


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
