"""The chart in a real API server: pods are admitted under Pod Security's strictest level, scheduled as the values mean, and
follow upgrades. kwok says that pods run: no container is started here, so probes and images are not tried."""
import json

import pytest

from tools import CHART, EXAMPLES, values_arguments

VALUES = {"demo": {}} | {path.stem: path for path in EXAMPLES}
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


def volume(name, mode):
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"capacity": {"storage": "500Gi"}, "accessModes": [mode], "persistentVolumeReclaimPolicy": "Delete",
                     "hostPath": {"path": f"/volumes/{name}"}}}


class Release:
    """The chart in a namespace of its own, with volumes for the journals and the models."""

    def __init__(self, cluster, namespace, volumes=1):
        self.cluster, self.namespace = cluster, namespace
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": RESTRICTED}})
        cluster.apply(volume(f"{namespace}-models", "ReadOnlyMany"),
                      {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models", "namespace": namespace},
                       "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}})
        cluster.apply(*(volume(f"{namespace}-{i}", "ReadWriteOnce") for i in range(volumes)))

    def helm(self, verb, *values, wait=True):
        arguments = [verb, "cell", CHART, "-n", self.namespace, *values_arguments(values)]
        return self.cluster.helm(*arguments, *(["--wait", "--timeout", "120s"] if wait else []))

    def get(self, *arguments):
        return self.cluster.get("-n", self.namespace, *arguments)["items"]

    def pods(self):
        return {pod["metadata"]["name"]: pod for pod in self.get("pods")}

    def stop(self):
        self.cluster.try_kubectl("delete", "namespace", self.namespace, "--timeout=60s")
        for item in self.cluster.get("persistentvolumes")["items"]:
            if item["metadata"]["name"].startswith(self.namespace + "-"):
                self.cluster.try_kubectl("delete", "persistentvolume", item["metadata"]["name"], "--timeout=60s")


@pytest.fixture
def release(cluster, request):
    made = []

    def make(namespace, **options):
        made.append(Release(cluster, namespace, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def uids(pods):
    return {name: pod["metadata"]["uid"] for name, pod in pods.items()}


def configuration(pods):
    return pods["cell-longhand-coordinator-0"]["metadata"]["annotations"]["checksum/config"]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_installed_upgraded_rolled_back_and_gone(release, cluster, values):
    cell = release("life")
    cell.helm("install", values)
    installed = cell.pods()
    assert installed and all(pod["status"]["phase"] == "Running" for pod in installed.values())
    cluster.helm("test", "cell", "-n", cell.namespace, "--timeout", "60s")

    cell.helm("upgrade", values, {"config": {"max-num-seqs": 8}})
    upgraded = cell.pods()
    changed = {name for name in upgraded if uids(upgraded)[name] != uids(installed)[name]}
    assert changed == {"cell-longhand-coordinator-0"}

    cluster.helm("rollback", "cell", "1", "-n", cell.namespace, "--wait", "--timeout", "120s")
    assert configuration(installed) != configuration(upgraded)
    assert configuration(cell.pods()) == configuration(installed)

    cluster.helm("uninstall", "cell", "-n", cell.namespace, "--wait", "--timeout", "60s")
    cluster.wait("the pods are gone", lambda: not cell.pods())
    left = {item["metadata"]["name"] for item in cell.get("all,configmap,secret,networkpolicy,pdb,pvc,serviceaccount")}
    assert left - {"kube-root-ca.crt"} == {"default", "models", "journal-cell-longhand-coordinator-0"}


def test_a_journal_that_is_not_to_be_kept_goes_with_the_chart(release, cluster):
    cell = release("unkept")
    cell.helm("install", {"journal": {"whenDeleted": "Delete"}})
    cluster.helm("uninstall", "cell", "-n", cell.namespace, "--wait", "--timeout", "60s")
    cluster.wait("only the models' claim is left", lambda: [claim["metadata"]["name"] for claim in cell.get("pvc")] == ["models"])


def example(name):
    return next(path for path in EXAMPLES if path.stem == name)


def test_one_gpu_means_one_pod_on_a_gpu_node(release):
    cell = release("seven")
    cell.helm("install", example("values-7b-1gpu"))
    nodes = {name: pod["spec"]["nodeName"] for name, pod in cell.pods().items()}
    assert nodes["cell-longhand-coordinator-0"] == "cpu-0"
    assert nodes["cell-longhand-worker-0"].startswith("gpu-")


def test_ranks_of_two_nodes_lie_on_two_nodes_in_rank_order(release):
    cell = release("two-nodes")
    cell.helm("install", example("values-72b-2nodes"))
    workers = {name: pod for name, pod in cell.pods().items() if "worker" in name}
    assert len({pod["spec"]["nodeName"] for pod in workers.values()}) == 2
    assert {name: pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] for name, pod in workers.items()} == {
        "cell-longhand-worker-0": "0", "cell-longhand-worker-1": "1"}


def test_cells_of_eight_gpus_take_a_node_each_and_no_more_than_there_are(release, cluster):
    cell = release("cells", volumes=5)
    cell.helm("install", example("values-72b-8gpu"), {"replicas": 5}, wait=False)
    cluster.wait("four cells run", lambda: sum(pod["status"]["phase"] == "Running" for pod in cell.pods().values()) == 4)
    running = [pod for pod in cell.pods().values() if pod["status"]["phase"] == "Running"]
    assert len({pod["spec"]["nodeName"] for pod in running}) == 4
    waiting, = (pod for pod in cell.pods().values() if pod["status"]["phase"] == "Pending")
    cluster.wait("the fifth says why it waits", lambda: any(
        "Insufficient nvidia.com/gpu" in condition.get("message", "")
        for condition in cell.pods()[waiting["metadata"]["name"]]["status"].get("conditions", [])))


def evict(cluster, namespace, pod):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    return cluster.try_kubectl("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", "-f", "-", input=json.dumps(body))


def test_a_drain_takes_one_rank_or_none(release, cluster):
    cell = release("drain")
    cell.helm("install", {"podDisruptionBudget": {"maxUnavailable": 0}})
    before = uids(cell.pods())
    cluster.wait("the budget is known", lambda: all(
        budget.get("status", {}).get("expectedPods") for budget in cell.get("pdb")))
    refused = evict(cluster, "drain", "cell-longhand-worker-1")
    assert refused.returncode != 0 and "disruption budget" in refused.stderr
    cell.helm("upgrade", {"podDisruptionBudget": {"maxUnavailable": 1}})
    cluster.wait("the budget allows one", lambda: all(budget["status"]["disruptionsAllowed"] == 1 for budget in cell.get("pdb")))
    assert evict(cluster, "drain", "cell-longhand-worker-1").returncode == 0

    def replaced():
        pods = cell.pods()
        return pods.keys() == before.keys() and uids(pods)["cell-longhand-worker-1"] != before["cell-longhand-worker-1"]
    cluster.wait("the rank has a new pod of the same name", replaced)
    assert uids(cell.pods())["cell-longhand-worker-0"] == before["cell-longhand-worker-0"]


def test_all_that_is_optional_is_taken_by_the_api(release, cluster):
    cell = release("everything")
    cell.helm("install", {
        "topology": "node", "autoscaling": {"enabled": True},
        "ingress": {"enabled": True}, "gateway": {"parentRefs": [{"name": "public"}]},
        "monitoring": {"monitors": True, "rules": True, "dashboards": True}})
    kinds = {item["kind"] for item in cell.get("hpa,ingress,httproute,grpcroute,servicemonitor,prometheusrule")}
    assert kinds == {"HorizontalPodAutoscaler", "Ingress", "HTTPRoute", "GRPCRoute", "ServiceMonitor", "PrometheusRule"}


def test_host_paths_are_what_restricted_refuses(release, cluster):
    cell = release("host-path")
    cell.helm("install", {"model": {"source": "hostPath", "hostPath": "/models"}}, wait=False)
    cluster.wait("the refusal is an event", lambda: any(
        "hostPath" in event.get("message", "") and "violates PodSecurity" in event["message"] for event in cell.get("events")))
