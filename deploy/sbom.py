"""The software bill of materials of an unpacked package, as CycloneDX 1.5: sbom.py FOLDER [DEBIAN-PACKAGE ...]

Each library in FOLDER/lib/longhand is named with the Debian package that it was copied from; crates and headers are what
the programs were compiled from. The named Debian packages are those of which files lie beside FOLDER, in an image."""
import ctypes
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Compiled in, so that no file of a package names them.
HEADERS = ["libboost1.81-dev", "libcli11-dev", "libgloo-dev"]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sha256(path):
    return {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}


def debian(packages):
    """Components of installed Debian packages."""
    lines = output("dpkg-query", "-W", "-f", "${Package}\t${Version}\t${source:Package}\n", *packages).splitlines()
    for name, version, source in (line.split("\t") for line in lines):
        yield {"type": "library", "name": name, "version": version, "purl": f"pkg:deb/debian/{name}@{version}?upstream={source}"}


def packages_of(names):
    """The Debian package of each of these libraries of the system; those that no package has are left out."""
    found = re.findall(r"^\t(\S+) \(libc6,x86-64.*\) => (\S+)", output("/sbin/ldconfig", "-p"), flags=re.MULTILINE)
    # Packages name /lib and /usr/lib as they please.
    names_of = {variant: name for name, path in found if name in names
                for variant in (path, "/usr" + path, path.removeprefix("/usr"))}
    done = subprocess.run(["dpkg-query", "-S", *names_of], check=False, capture_output=True, text=True)
    owners = (line.split(": ", 1) for line in done.stdout.splitlines())
    return {names_of[path]: owner.split(":")[0] for owner, path in owners}


def nccl(path):
    """NCCL, which says its version itself: its wheel is no package of Debian's."""
    version = ctypes.c_int()
    ctypes.CDLL(str(path)).ncclGetVersion(ctypes.byref(version))
    number = f"{version.value // 10000}.{version.value // 100 % 100}.{version.value % 100}"
    return {"type": "library", "name": "nccl", "version": number, "purl": f"pkg:github/NVIDIA/nccl@v{number}-1"}


def libraries(folder):
    paths = {path.name: path for path in sorted((folder / "lib/longhand").iterdir()) if not path.is_symlink()}
    # The system knows a library by the name that programs ask for, which is a link where the file's name has its version.
    file_of = {path.name: path.resolve().name for path in (folder / "lib/longhand").iterdir()}
    owners = {file_of[name]: package for name, package in packages_of(file_of).items()}
    components = {component["name"]: component for component in debian(set(owners.values()))}
    for name, path in paths.items():
        unowned = nccl(path) if name.startswith("libnccl.") else {"type": "library", "name": name}
        component = components.setdefault(owners.get(name, name), unowned)
        component.setdefault("components", []).append(
            {"type": "file", "name": str(path.relative_to(folder)), "hashes": [sha256(path)]})
    return sorted(components.values(), key=lambda component: component["name"])


def crates():
    lock = tomllib.loads((ROOT / "shim/Cargo.lock").read_text(encoding="utf-8"))
    for crate in lock["package"]:
        if "source" in crate:
            yield {"type": "library", "name": crate["name"], "version": crate["version"],
                   "purl": f"pkg:cargo/{crate['name']}@{crate['version']}",
                   "hashes": [{"alg": "SHA-256", "content": crate["checksum"]}]}


def main(folder, *beside):
    folder = pathlib.Path(folder)
    version = re.search(r"project\(longhand VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1]
    programs = [{"type": "application", "name": path.name, "version": version, "hashes": [sha256(path)]}
                for path in sorted((folder / "bin").iterdir())]
    model = folder / "share/longhand/model/model.safetensors"
    json.dump({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "application", "name": "longhand", "version": version,
                                   "licenses": [{"license": {"id": "Apache-2.0"}}]}},
        "components": [*programs, {"type": "machine-learning-model", "name": "longhand-demo", "hashes": [sha256(model)]},
                       *libraries(folder), *debian([*HEADERS, *beside]), *crates()]}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
