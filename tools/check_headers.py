#!/usr/bin/env python3
"""Checks that every header compiles alone, with the flags of the sources of its room.

    python3 tools/check_headers.py build/release     # needs compile_commands.json there
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def flags_by_folder(build):
    """The flags of one compiled source for each folder that has any, relative to the root."""
    flags = {}
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        source = pathlib.Path(entry["file"])
        if not source.is_relative_to(ROOT) or source.is_relative_to(build):
            continue
        words = [w for w in shlex.split(entry["command"]) if w.startswith(("-I", "-D", "-std", "-W", "-f", "-m"))]
        # `-isystem DIR` is two words.
        words += [f"-isystem{w}" for flag, w in zip(shlex.split(entry["command"]), shlex.split(entry["command"])[1:])
                  if flag == "-isystem"]
        flags.setdefault(str(source.parent.relative_to(ROOT)), words)
    return flags


def flags_for(header, flags):
    """Of the header's own folder, else of the nearest one: above it, or below."""
    for folder in map(str, header.parents):
        if folder in flags:
            return flags[folder]
        below = [name for name in sorted(flags) if name.startswith(folder + "/")]
        if below:
            return flags[below[0]]
    return ["-std=c++20", f"-I{ROOT}"]


def compile_alone(header, flags):
    command = ["g++", *flags_for(header, flags), f"-I{ROOT}", "-fsyntax-only", "-x", "c++", "-"]
    done = subprocess.run(command, input=f'#include "{header}"\n', capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{header}:\n{done.stderr}"


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    flags = flags_by_folder(build)
    listed = subprocess.run(["git", "ls-files", "*.h"], cwd=ROOT, capture_output=True, text=True, check=True)
    headers = [pathlib.Path(name) for name in listed.stdout.split() if (ROOT / name).is_file()]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [fault for fault in pool.map(lambda header: compile_alone(header, flags), headers) if fault]
    print("\n".join(faults) or f"{len(headers)} headers compile alone")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
