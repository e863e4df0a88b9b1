"""ControlPlane: Kubernetes without machines. etcd, kube-apiserver, kube-controller-manager and kube-scheduler are real;
nodes and the life of pods are kwok's: pods are admitted, scheduled and said to run, but no container is started."""
import json
import os
import pathlib
import secrets
import socket
import subprocess
import tempfile
import time

from tools import TOOLS, check, run, tool

PATIENCE_S = 180
GPU = "nvidia.com/gpu"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def node(name, gpus=0):
    room = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    taints = []
    if gpus:
        room[GPU] = str(gpus)
        labels |= {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "NVIDIA-H200"}
        taints = [{"key": GPU, "value": "present", "effect": "NoSchedule"}]
    return {"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
            "spec": {"taints": taints}, "status": {"allocatable": room, "capacity": room}}


class ControlPlane:
    """As a context: runs from enter to exit, on ports of its own."""

    def __init__(self, gpu_nodes=4, gpus=8):
        self._nodes = [node("cpu-0")] + [node(f"gpu-{i}", gpus) for i in range(gpu_nodes)]
        self._processes = []

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="longhand-k8s-")
        self.path = pathlib.Path(self._folder.name)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folder.cleanup()

    def kubectl(self, *arguments, **options):
        return check(tool("kubectl"), "--kubeconfig", self.kubeconfig, *arguments, **options)

    def try_kubectl(self, *arguments, **options):
        return run(tool("kubectl"), "--kubeconfig", self.kubeconfig, *arguments, **options)

    def get(self, *arguments):
        return json.loads(self.kubectl("get", "-o", "json", *arguments))

    def apply(self, *items):
        return self.kubectl("apply", "--server-side", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def helm(self, *arguments):
        return check(tool("helm"), "--kubeconfig", self.kubeconfig, *arguments)

    def wait(self, what, holds):
        """Waits until holds() is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            for process in self._processes:
                assert process.poll() is None, f"{process.args[3]} ended: {self._log(process)[-4000:]}"
            assert time.monotonic() < deadline, f"after {PATIENCE_S} s still not: {what}"
            time.sleep(0.2)

    def _log(self, process):
        return (self.path / f"{os.path.basename(process.args[3])}.log").read_text(errors="replace")

    def _run(self, name, *flags):
        with open(self.path / f"{name}.log", "w", encoding="utf-8") as log:
            # They end with this process, however it ends.
            self._processes.append(subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", tool(name), *flags], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL))

    def _start(self):
        api, etcd, peer = free_ports(3)
        token = secrets.token_hex(16)
        key = self.path / "service-account.key"
        check("openssl", "genrsa", "-out", key, "2048")
        (self.path / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
        self.kubeconfig = self.path / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"https://127.0.0.1:{api}", "insecure-skip-tls-verify": True}}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}]}))
        self._run("etcd", f"--data-dir={self.path}/etcd", "--unsafe-no-fsync", "--log-level=warn",
                  f"--listen-client-urls=http://127.0.0.1:{etcd}", f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                  f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                  f"--initial-cluster=default=http://127.0.0.1:{peer}")
        self._run("kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1",
                  "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--secure-port={api}",
                  f"--cert-dir={self.path}/certificates", f"--token-auth-file={self.path}/tokens.csv",
                  "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
                  f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC")
        self.wait("the API server is ready", lambda: self.try_kubectl("get", "--raw=/readyz").returncode == 0)
        for name in ("kube-controller-manager", "kube-scheduler"):
            extra = [f"--service-account-private-key-file={key}"] if name == "kube-controller-manager" else []
            self._run(name, f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0", *extra)
        self._run("kwok", f"--kubeconfig={self.kubeconfig}", f"--config={TOOLS}/stages.yaml", "--manage-all-nodes=true",
                  "--node-lease-duration-seconds=40")
        self.apply(*self._nodes)
        self.kubectl("apply", "--server-side", "-f", TOOLS / "crds")
        self.wait("all nodes are ready", lambda: self.try_kubectl(
            "wait", "--for=condition=Ready", "node", "--all", "--timeout=1s").returncode == 0)
        self.wait("the default namespace has its service account",
                  lambda: self.try_kubectl("get", "serviceaccount", "default").returncode == 0)
