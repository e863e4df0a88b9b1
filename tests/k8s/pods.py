"""Node: runs the pods of rendered manifests as processes of this machine, out of an image, as a kubelet would.

Each pod has a network namespace with an address of its own, its container's root is the image's, read-only, and it runs as
the user of its security context, without capabilities. Volumes, environment, command and probes are those of the manifest.
What is left out: cgroups (limits of memory and processors), seccomp, and DNS, in whose place pods have /etc/hosts."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import tarfile
import tempfile
import time

from tools import check, run

PATIENCE_S = 120


def unpack(archive, folder):
    """The file system of an image of one layer, from an OCI archive."""
    with tarfile.open(archive) as outer:
        def blob(descriptor):
            return outer.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))
        manifest = json.load(blob(json.load(outer.extractfile("index.json"))["manifests"][0]))
        layer, = manifest["layers"]
        with tarfile.open(fileobj=blob(layer)) as inner:
            inner.extractall(folder)
        return json.load(blob(manifest["config"]))["config"]


class Pod:
    def __init__(self, name, spec, address, node):
        self.name, self.spec, self.address, self._node = name, spec, address, node
        self.container, = spec["containers"]
        self.process = None
        self._volumes = {}

    def start(self):
        self._log = open(self._node.path / f"{self.name}.log", "a+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self._node.namespace(self), "setpriv", "--pdeathsig", "KILL", "--no-new-privs",
             "unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "sh", "-euc", self._mounts() + "\n" + self._exec()],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, env=self._environment())

    def log(self):
        return (self._node.path / f"{self.name}.log").read_text(encoding="utf-8", errors="replace")

    def stop(self):
        """As the kubelet: SIGTERM, and after the grace period SIGKILL. Whether the first was enough."""
        if self.process.poll() is not None:
            return True
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.spec["terminationGracePeriodSeconds"])
            return True
        self.kill()
        return False

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number):
        """To the container's process 1. The process that waits for it cannot take it along when it ends: who changes users is
        not told of a parent's death any more."""
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        os.kill(int(children[0]) if children else pid, number)

    def probe(self, kind):
        """Whether the container's probe of this kind succeeds now."""
        probe = self.container[f"{kind}Probe"]
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        with contextlib.suppress(OSError, http.client.HTTPException):
            if "httpGet" in probe:
                port = probe["httpGet"]["port"]
                if probe["httpGet"]["scheme"] == "HTTPS":
                    # A kubelet does not check the certificate either.
                    context = ssl._create_unverified_context()
                    connection = http.client.HTTPSConnection(self.address, ports.get(port, port), timeout=5, context=context)
                else:
                    connection = http.client.HTTPConnection(self.address, ports.get(port, port), timeout=5)
                connection.request("GET", probe["httpGet"]["path"])
                return connection.getresponse().status < 400
            return self._node.serves(self.address, probe["grpc"]["port"])
        return False

    def _environment(self):
        fields = {"status.podIP": self.address, "metadata.name": self.name}
        environment = dict(pair.split("=", 1) for pair in self._node.image["Env"])
        environment["PATH"] += ":/usr/sbin:/usr/bin:/sbin:/bin"
        for entry in self.container.get("env", []):
            source = entry.get("valueFrom", {})
            if "fieldRef" in source:
                environment[entry["name"]] = fields[source["fieldRef"]["fieldPath"]]
            elif "secretKeyRef" in source:
                environment[entry["name"]] = self._node.secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
            elif "resourceFieldRef" in source:
                section, resource = source["resourceFieldRef"]["resource"].split(".")
                environment[entry["name"]] = str(self.container["resources"][section][resource])
            else:
                environment[entry["name"]] = entry["value"]
        return environment

    def _mounts(self):
        """The commands, in a mount namespace of its own, that lay out the container's file system."""
        root = f"{self._node.path}/roots/{self.name}"
        security = self.spec["securityContext"]
        owner = f"{security['runAsUser']}:{security['fsGroup']}"
        lines = ["mount --make-rprivate /", f"mkdir -p {root}", f"mount --bind {self._node.root} {root}",
                 f"mount -t proc proc {root}/proc", f"mount -t tmpfs -o mode=755 tmpfs {root}/dev"]
        for device in ("null", "zero", "random", "urandom"):
            lines += [f"touch {root}/dev/{device}", f"mount --bind /dev/{device} {root}/dev/{device}"]
        lines += [f"mkdir {root}/dev/shm", f"mount -t tmpfs -o size=64m tmpfs {root}/dev/shm"]
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes", [])}
        # Mount points come first: then the root may be read-only.
        read_only = []
        for mount in self.container.get("volumeMounts", []):
            source = self._source(volumes.get(mount["name"], {"persistentVolumeClaim": {}}), mount["name"], owner)
            if "subPath" in mount:
                source = f"{source}/{mount['subPath']}"
                lines += [f"mkdir -p $(dirname {root}{mount['mountPath']})", f"touch {root}{mount['mountPath']}"]
            else:
                lines.append(f"mkdir -p {root}{mount['mountPath']}")
            lines.append(f"mount --bind {source} {root}{mount['mountPath']}")
            if mount.get("readOnly"):
                read_only.append(f"mount -o remount,bind,ro {root}{mount['mountPath']}")
        lines += [f"touch {root}/etc/hosts", f"mount --bind {self._node.path}/hosts {root}/etc/hosts", *read_only]
        if self.container["securityContext"]["readOnlyRootFilesystem"]:
            lines.append(f"mount -o remount,bind,ro {root}")
        return "\n".join(lines)

    def _source(self, volume, name, owner):
        source = self._node.path / "volumes" / f"{self.name}-{name}"
        if not source.exists():
            source.mkdir(parents=True)
            files = self._node.config_maps.get(volume.get("configMap", {}).get("name"), {})
            if "secret" in volume:
                files = self._node.secrets[volume["secret"]["secretName"]]
                keys = {item["key"] for item in volume["secret"].get("items", [])} or set(files)
                files = {key: text for key, text in files.items() if key in keys}
            for file, text in files.items():
                (source / file).write_text(text, encoding="utf-8")
            check("chown", "-R", owner, source)
        return source

    def _exec(self):
        security = self.spec["securityContext"]
        words = [*self.container["command"], *self.container.get("args", [])]
        environment = self._environment()
        words = [re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], str(word)) for word in words]
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        return (f"exec unshare --root={self._node.path}/roots/{self.name} --wd=/ "
                f"--setgid={security['runAsGroup']} --setuid={security['runAsUser']} {quoted}")


class Node:
    """As a context: the pods of `rendered` (objects by kind and name), on a bridge of their own, with addresses of one family.
    `secrets` are those of the namespace: texts by secret and key."""

    def __init__(self, rendered, root, image, secrets=None, family="IPv4"):
        self.root, self.image, self.secrets = root, image, secrets or {}
        self.config_maps = {name: item["data"] for (kind, name), item in rendered.items() if kind == "ConfigMap"}
        self._tag = f"lhp{os.getpid() % 10000}"
        self._net = f"fd00:{os.getpid() % 65536:x}::" if family == "IPv6" else f"10.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}."
        self._bits, self._options = ("64", ["nodad"]) if family == "IPv6" else ("24", [])
        self._local = "::1" if family == "IPv6" else "127.0.0.1"
        self.pods = {}
        names = []
        for (kind, name), item in sorted(rendered.items()):
            if kind == "StatefulSet":
                for i in range(item["spec"]["replicas"]):
                    pod = self._add(f"{name}-{i}", item["spec"]["template"]["spec"])
                    names.append(f"{pod.address} {pod.name}.{item['spec']['serviceName']} {pod.name}")
            elif kind == "Job":
                self._add(name, item["spec"]["template"]["spec"])
        service, = (name for (kind, name), item in rendered.items() if kind == "Service" and item["spec"].get("clusterIP") != "None")
        names.append(f"{next(pod.address for name, pod in self.pods.items() if 'coordinator' in name)} {service}")
        self._hosts = f"{self._local} localhost\n" + "\n".join(names) + "\n"

    def _add(self, name, spec):
        self.pods[name] = Pod(name, spec, f"{self._net}{len(self.pods) + 2}", self)
        return self.pods[name]

    def namespace(self, pod):
        return f"{self._tag}-{list(self.pods).index(pod.name)}"

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="longhand-pods-")
        self.path = pathlib.Path(self._folder.name)
        self.path.chmod(0o755)
        (self.path / "hosts").write_text(self._hosts, encoding="utf-8")
        check("ip", "link", "add", self._tag, "type", "bridge")
        check("ip", "address", "add", f"{self._net}1/{self._bits}", "dev", self._tag, *self._options)
        check("ip", "link", "set", self._tag, "up")
        for i, pod in enumerate(self.pods.values()):
            namespace = self.namespace(pod)
            check("ip", "netns", "add", namespace)
            check("ip", "link", "add", f"{self._tag}.{i}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
            check("ip", "link", "set", f"{self._tag}.{i}", "master", self._tag, "up")
            check("ip", "-n", namespace, "address", "add", f"{pod.address}/{self._bits}", "dev", "eth0", *self._options)
            check("ip", "-n", namespace, "link", "set", "eth0", "up")
            check("ip", "-n", namespace, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        for pod in self.pods.values():
            pod.kill()
        for i, pod in enumerate(self.pods.values()):
            run("ip", "link", "delete", f"{self._tag}.{i}")
            run("ip", "netns", "delete", self.namespace(pod))
        run("ip", "link", "delete", self._tag)
        self._folder.cleanup()

    def serves(self, address, port):
        """grpc.health.v1 of the whole server says SERVING."""
        answer = self.path / "health"
        (self.path / "health-request").write_bytes(bytes(5))  # an empty message
        done = run("curl", "-s", "--max-time", "5", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers",
                   "--data-binary", f"@{self.path}/health-request", "-o", answer, f"http://{f'[{address}]' if ':' in address else address}:{port}/grpc.health.v1.Health/Check")
        return done.returncode == 0 and answer.read_bytes()[5:] == b"\x08\x01"

    def wait(self, what, holds):
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            logs = "".join(f"--- {name}\n{pod.log()[-3000:]}" for name, pod in self.pods.items() if pod.process)
            assert time.monotonic() < deadline, f"after {PATIENCE_S} s still not: {what}\n{logs}"
            time.sleep(0.2)
