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

import check_layers

ROOT = pathlib.Path(__file__).resolve().parent.parent


def compiler_flags(command):
    """Of a compile command, what decides how a header is read: search paths, macros, language, warnings, machine."""
    words = shlex.split(command)
    kept = [w for w in words if w.startswith(("-I", "-D", "-std", "-W", "-f", "-m"))]
    return kept + [f"-isystem{w}" for flag, w in zip(words, words[1:]) if flag == "-isystem"]


def own_sources(build):
    """(path relative to the root, text, flags) of every compiled source of the repository."""
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        source = pathlib.Path(entry["file"])
        if source.is_relative_to(ROOT) and not source.is_relative_to(build) and source.is_file():
            yield source.relative_to(ROOT), source.read_text(encoding="utf-8"), compiler_flags(entry["command"])


def flags_for(header, sources):
    """Of a source that includes the header, else of one in its folder or the nearest folder above."""
    includers = [flags for _, text, flags in sources if f'#include "{header}"' in text]
    if includers:
        return includers[0]
    for folder in header.parents:
        near = [flags for path, _, flags in sources if path.is_relative_to(folder)]
        if near:
            return near[0]
    sys.exit("check_headers: compile_commands.json names no source of this repository")


def compile_alone(header, sources):
    command = ["g++", *flags_for(header, sources), "-fsyntax-only", "-x", "c++", "-"]
    done = subprocess.run(command, input=f'#include "{header}"\n', capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{header}:\n{done.stderr}"


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    sources = list(own_sources(build))
    headers = [pathlib.Path(name) for name in check_layers.sources(ROOT) if name.endswith(".h")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [fault for fault in pool.map(lambda header: compile_alone(header, sources), headers) if fault]
    print("\n".join(faults) or f"{len(headers)} headers compile alone")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
