"""A virtual environment under ~/.cache/longhand with what a test needs from PyPI, made once."""
import filecmp
import os
import shutil
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "longhand")


def enter(name):
    """Runs this program again with NAME-requirements.txt at hand; ends it with 77 (skipped) where they cannot be had."""
    home = os.path.join(CACHE, name)
    if os.path.realpath(sys.prefix) == os.path.realpath(home):
        return
    requirements, stamp = os.path.join(HERE, f"{name}-requirements.txt"), os.path.join(home, "requirements.txt")
    python = os.path.join(home, "bin", "python")
    if not (os.path.exists(stamp) and filecmp.cmp(requirements, stamp, shallow=False)):
        venv.create(home, clear=True, with_pip=True)
        done = subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps",
                               "--require-hashes", "-r", requirements], check=False)
        if done.returncode != 0:
            print(f"skipped: {requirements} cannot be installed")
            sys.exit(77)
        shutil.copyfile(requirements, stamp)
    os.execv(python, [python, *sys.argv])
