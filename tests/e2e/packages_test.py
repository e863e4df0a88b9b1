"""The packages of deploy/build-packages: `longhand demo` runs from wherever they are unpacked, and on a Debian on which
nothing else was installed. The latter needs root, for debootstrap, and is skipped without it."""
import glob
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "build" / "release" / "packages"
BARE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nowhere"}
FIRST_TOKEN_S = 2  # from a call of `longhand demo`, which starts a cluster, to the first word of its plan


def check(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=900, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def seconds_to_first_token(*command):
    """Of `longhand demo`, which is ended then."""
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", env=BARE)
    try:
        text = b""
        while not text.partition(b"\nPlan\n\n")[2]:
            piece = os.read(process.stdout.fileno(), 4096)
            if not piece:
                raise AssertionError(f"{command} ended: {text.decode(errors='replace')}")
            text += piece
        return time.monotonic() - start
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(60)


def package(pattern):
    found, = glob.glob(str(PACKAGES / pattern))
    return found


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        check(ROOT / "deploy" / "build-packages")

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="a folder ")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def demo(self, longhand):
        text = check(longhand, "demo", "--words", "60", "--seed", "1", "--json", cwd="/", env=BARE)
        return json.loads(text.splitlines()[-1])

    def test_the_archive_runs_from_any_folder_with_its_own_libraries(self):
        check("tar", "-xzf", package("longhand-*-linux-*.tar.gz"), "-C", self.folder, "--strip-components=1")
        self.assertTrue(self.demo(self.folder / "bin" / "longhand")["sections"])
        # The best of three: what is asked is what Longhand takes, not what runs beside it.
        took = [seconds_to_first_token(self.folder / "bin" / "longhand", "demo") for _ in range(3)]
        print(f"first token of the demo after {', '.join(f'{seconds:.2f}' for seconds in took)} s")
        self.assertLess(min(took), FIRST_TOKEN_S)
        for program in (self.folder / "bin").iterdir():
            with self.subTest(program=program.name):
                libraries = [line.split(" => ")[1].split(" (")[0] for line in check("ldd", program).splitlines() if " => " in line]
                outside = {os.path.basename(path).split(".so")[0] for path in libraries if not os.path.realpath(path).startswith(str(self.folder))}
                self.assertLessEqual(outside, {"libc", "libm", "libdl", "librt", "libpthread", "libresolv"})

    def test_the_debian_package_runs_with_the_libraries_that_it_depends_on(self):
        deb = package("longhand_*.deb")
        check("dpkg-deb", "-x", deb, self.folder)
        self.assertTrue(self.demo(self.folder / "usr" / "bin" / "longhand")["sections"])
        depends = check("dpkg-deb", "-f", deb, "Depends")
        for library in ("libgrpc++1.51", "libboost-json1.81.0", "libsqlite3-0", "libc6"):
            self.assertIn(library, depends)
        files = check("dpkg-deb", "-c", deb)
        self.assertNotIn(".so", files)
        self.assertIn("./usr/share/longhand/model/model.safetensors", files)

    @unittest.skipUnless(os.geteuid() == 0, "debootstrap needs root")
    def test_the_debian_package_is_all_that_a_bare_debian_needs(self):
        if shutil.which("debootstrap") is None:
            check("apt-get", "-qq", "update")
            check("apt-get", "-qq", "-y", "--no-install-recommends", "install", "debootstrap", stdin=subprocess.DEVNULL)
        folder = tempfile.TemporaryDirectory(prefix="longhand-debian-")
        self.addCleanup(folder.cleanup)
        system = pathlib.Path(folder.name)
        check("debootstrap", "--variant=minbase", "bookworm", system)
        # How this machine reaches package registries.
        shutil.copytree("/etc/apt/apt.conf.d", system / "etc/apt/apt.conf.d", dirs_exist_ok=True)
        shutil.copy("/etc/resolv.conf", system / "etc/resolv.conf")
        deb = shutil.copy(package("longhand_*.deb"), system / "root")
        # In a mount namespace, which takes the mounts along when it ends.
        script = f"""
            mount --make-rprivate / && mount -t proc proc "$0/proc" && mkdir -p "$0/dev/shm" && mount -t tmpfs tmpfs "$0/dev/shm"
            exec chroot "$0" sh -ec '
                apt-get -qq update
                DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install /root/{os.path.basename(deb)}
                cd /
                longhand demo --words 60 --seed 1 --json
                apt-get -qq -y -o Dpkg::Use-Pty=0 purge longhand
                test ! -e /usr/bin/longhand && test ! -e /usr/share/longhand'"""
        out = check("unshare", "--mount", "--fork", "--pid", "--kill-child", "sh", "-c", script, system, env=BARE)
        self.assertTrue(json.loads(next(line for line in out.splitlines() if line.startswith("{")))["sections"])

    def test_the_bill_of_materials_names_what_is_in_the_archive(self):
        bill = json.loads((PACKAGES / "longhand.cdx.json").read_text(encoding="utf-8"))
        self.assertEqual((bill["bomFormat"], bill["specVersion"]), ("CycloneDX", "1.5"))
        files = {file["name"] for component in bill["components"] for file in component.get("components", [])}
        with tarfile.open(package("longhand-*-linux-*.tar.gz")) as archive:
            packed = {member.name.split("/", 1)[1] for member in archive if "/lib/longhand/" in member.name and member.isfile()}
        self.assertEqual(files, packed)
        for component in bill["components"]:
            if component["type"] == "library":
                self.assertIn("version", component, component["name"])


if __name__ == "__main__":
    unittest.main()
