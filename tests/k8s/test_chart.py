"""The chart as text: what it renders is valid, documented, and understood by the programs that it starts."""
import json
import re
import shlex
import shutil

import pytest
import yaml

from tools import BINARIES, CHART, EXAMPLES, ROOT, TOOLS, check, objects, render, run, tool, values_arguments

DEMO = {}
EVERYTHING = {
    "ingress": {"enabled": True, "tlsSecretName": "edge"},
    "gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnames": ["longhand.example"]},
    "monitoring": {"monitors": True, "rules": True, "dashboards": True, "labels": {"release": "prometheus"}},
    "tls": {"secretName": "certificate"}, "apiKeys": {"secretName": "keys"},
    "config": {"allow-image-urls": True, "allowed-origins": ["https://longhand.example"]},
    "networkPolicy": {"clients": [{"namespaceSelector": {}}], "metrics": [{"podSelector": {}}], "extraEgress": [{"ports": [{"port": 443}]}]},
    "image": {"pullSecrets": ["registry"], "digest": "sha256:" + "0" * 64},
    "worker": {"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}]}}
CELLS = {"topology": "node", "autoscaling": {"enabled": True}}
VALUES = {"demo": DEMO, "everything": EVERYTHING, "cells": CELLS} | {path.stem: path for path in EXAMPLES}


def config_of(rendered):
    return yaml.safe_load(rendered["ConfigMap", "cell-longhand"]["data"]["longhand.yaml"])


def pod_specs(rendered):
    for (kind, name), item in rendered.items():
        if kind in ("StatefulSet", "Job"):
            yield name, item["spec"]["template"]["spec"]


def test_lint():
    check(tool("helm"), "lint", "--strict", CHART)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_rendered_objects_have_only_fields_that_the_api_knows(values, tmp_path):
    rendered = tmp_path / "rendered.yaml"
    done = render(values)
    assert done.returncode == 0, done.stderr
    rendered.write_text(done.stdout, encoding="utf-8")
    check(tool("kubeconform"), "-strict", "-schema-location", f"{TOOLS}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", rendered)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_no_pod_has_a_token_or_a_writable_root(values):
    for name, spec in pod_specs(objects(values)):
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert "resources" in container, name


def test_the_drain_fits_into_the_grace_period():
    pod = objects({"shutdownTimeout": 600})["StatefulSet", "cell-longhand-coordinator"]["spec"]["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= sleep + 600 + 5
    assert config_of(objects({"shutdownTimeout": 600}))["shutdown-timeout"] == 600


def test_ranks_are_found_in_order_by_the_names_of_their_pods():
    rendered = objects({"tensorParallelSize": 3})
    workers = rendered["StatefulSet", "cell-longhand-worker"]
    service = rendered["Service", workers["spec"]["serviceName"]]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert workers["spec"]["podManagementPolicy"] == "Parallel" and workers["spec"]["replicas"] == 3
    assert config_of(rendered)["workers"] == [f"cell-longhand-worker-{rank}.cell-longhand-worker:7001" for rank in range(3)]


def test_what_the_job_downloads_is_what_is_served():
    values = {"model": {"source": "persistentVolumeClaim", "claimName": "models", "download": {"enabled": True, "id": "a/b", "revision": "v1"}}}
    rendered = objects(values)
    job = rendered["Job", "cell-longhand-model"]["spec"]["template"]["spec"]["containers"][0]
    assert job["command"][1:] == ["pull", "a/b", "--revision", "v1"]
    config = config_of(rendered)
    assert (config["model"], config["revision"]) == ("a/b", "v1")
    coordinator = rendered["StatefulSet", "cell-longhand-coordinator"]["spec"]["template"]["spec"]["containers"][0]
    hub = {"name": "HF_HOME", "value": "/models"}
    assert hub in job["env"] and hub in coordinator["env"]


NAMES = {"model": {}, "THU-KEG/LongWriter-V-7B-DPO": CHART / "examples/values-7b-1gpu.yaml",
         "LongWriter-V-72B": CHART / "examples/values-72b-8gpu.yaml", "writer": {"model": {"servedName": "writer"}}}


@pytest.mark.parametrize("name", NAMES)
def test_the_notes_name_the_model_as_requests_do(name):
    notes = check(tool("helm"), "install", "cell", CHART, "--dry-run=client", *values_arguments([NAMES[name]])).split("NOTES:")[1]
    assert f'serves the model "{name}"' in notes and f'"model": "{name}"' in notes
    assert config_of(objects(NAMES[name]))["served-model-name"] == name


def test_addresses_are_of_the_family_of_the_pods():
    for topology in ("pods", "node"):
        values = {"topology": topology, "config": {"allow-image-urls": True}}
        for family, host, foreign in (("IPv4", "0.0.0.0:", "::"), ("IPv6", "[::]:", "0.0.0.0")):
            rendered = objects(values | {"ipFamily": family})
            config = config_of(rendered)
            assert all(value.startswith(host) for key, value in config.items() if key.endswith("-address"))
            assert foreign not in json.dumps(list(rendered.values()))
    workers, coordinator = (objects({"ipFamily": "IPv6"})["StatefulSet", f"cell-longhand-{name}"]["spec"]["template"]["spec"]["containers"][0]
                            for name in ("worker", "coordinator"))
    assert {"--listen=[::]:7001", "--metrics-address=[::]:8002"} < set(workers["args"])
    assert coordinator["args"][-2:] == ["--rendezvous-address", "[$(POD_IP)]:8003"]


def test_spares_come_after_the_ranks():
    rendered = objects({"tensorParallelSize": 2, "spareWorkers": 1})
    assert rendered["StatefulSet", "cell-longhand-worker"]["spec"]["replicas"] == 3
    config = config_of(rendered)
    assert (config["tensor-parallel-size"], config["spare-workers"], len(config["workers"])) == (2, 1, 3)


def test_groups_each_have_their_ranks_and_spares():
    values = {"tensorParallelSize": 2, "spareWorkers": 1, "dataParallelSize": 2}
    rendered = objects(values)
    config = config_of(rendered)
    assert (config["data-parallel-size"], len(config["workers"]), rendered["StatefulSet", "cell-longhand-worker"]["spec"]["replicas"]) == (2, 6, 6)
    node = dict(pod_specs(objects(values | {"device": "cuda", "topology": "node"})))["cell-longhand-coordinator"]
    assert node["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "6"


def test_gpus_follow_from_device_and_topology():
    def gpus(values):
        return {name: spec["containers"][0]["resources"].get("limits", {}).get("nvidia.com/gpu") for name, spec in pod_specs(objects(values))
                if not name.endswith("-test")}
    assert gpus({}) == {"cell-longhand-coordinator": None, "cell-longhand-worker": None}
    assert gpus({"device": "cuda"}) == {"cell-longhand-coordinator": None, "cell-longhand-worker": "1"}
    assert gpus({"device": "cuda", "topology": "node", "tensorParallelSize": 8, "spareWorkers": 1}) == {"cell-longhand-coordinator": "9"}


def test_a_change_of_configuration_restarts_the_coordinator_and_no_worker():
    before, after = objects({}), objects({"config": {"max-num-seqs": 8}})
    assert before["StatefulSet", "cell-longhand-worker"] == after["StatefulSet", "cell-longhand-worker"]
    name = ("StatefulSet", "cell-longhand-coordinator")
    assert before[name]["spec"]["template"] != after[name]["spec"]["template"]


@pytest.mark.parametrize("case", json.loads((ROOT / "tests/k8s/wrong_values.json").read_text(encoding="utf-8")),
                         ids=lambda case: json.dumps(case["values"]))
def test_wrong_values_are_refused_by_name(case):
    done = render(case["values"])
    assert done.returncode != 0
    for word in case["says"]:
        assert word in done.stderr, done.stderr


def test_the_readme_is_what_helm_docs_makes_of_the_values(tmp_path):
    shutil.copytree(CHART, tmp_path / "longhand", ignore=shutil.ignore_patterns("README.md"))
    check(tool("helm-docs"), "--chart-search-root", tmp_path)
    assert (tmp_path / "longhand/README.md").read_text(encoding="utf-8") == (CHART / "README.md").read_text(encoding="utf-8")


def flags_of(*command):
    return set(re.findall(r"--([a-z][a-z-]+)", check(*command, "--help")))


def test_every_setting_of_the_schema_is_a_flag():
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]["config"]["properties"]) <= flags_of(BINARIES / "longhand", "serve")


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_programs_take_their_configuration(values, tmp_path):
    rendered = objects(values)
    config = config_of(rendered) | {"model": str(ROOT / "tests/data/nano"), "tensor-parallel-size": 2}
    file = tmp_path / "longhand.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    container = rendered["StatefulSet", "cell-longhand-coordinator"]["spec"]["template"]["spec"]["containers"][0]
    program = [BINARIES / container["command"][0].rsplit("/", 1)[1], *container["command"][1:]]
    done = run(*program, "--config", file, "--dry-run")
    assert done.returncode == 0, done.stderr
    if ("StatefulSet", "cell-longhand-worker") in rendered:
        worker = rendered["StatefulSet", "cell-longhand-worker"]["spec"]["template"]["spec"]["containers"][0]
        assert {argument.split("=")[0][2:] for argument in worker["args"]} <= flags_of(BINARIES / "longhand-worker")


def commands():
    """`helm install` and `helm upgrade`, with their arguments, as the documents have them."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "deploy/README.md", CHART / "README.md"]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"\bhelm (?:install|upgrade) writer [^\n`&#]*", text):
            yield pytest.param(shlex.split(line)[3:], id=f"{page.relative_to(ROOT)}: {line.strip()}")


@pytest.mark.parametrize("words", commands())
def test_the_chart_takes_what_the_documents_say(words):
    assert words[0] == "helm/longhand"
    done = run(tool("helm"), "template", "writer", *(word for word in words if word != "--reuse-values"), cwd=ROOT)
    assert done.returncode == 0, done.stderr
