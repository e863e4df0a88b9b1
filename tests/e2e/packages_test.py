"""The packages of deploy/build-packages, unpacked: `longhand demo` runs from wherever they lie."""
import glob
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "build" / "release" / "packages"


def check(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=900, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


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
        text = check(longhand, "demo", "--words", "60", "--seed", "1", "--json", cwd="/", env={"PATH": "/usr/bin", "HOME": "/nowhere"})
        return json.loads(text.splitlines()[-1])

    def test_the_archive_runs_from_any_folder_with_its_own_libraries(self):
        check("tar", "-xzf", package("longhand-*-linux-*.tar.gz"), "-C", self.folder, "--strip-components=1")
        self.assertTrue(self.demo(self.folder / "bin" / "longhand")["sections"])
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
