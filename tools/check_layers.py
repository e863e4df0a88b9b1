#!/usr/bin/env python3
"""Checks that the include graph has only the arrows that this table draws.

Every source file belongs to the room with the longest matching folder. A room may include itself, the rooms it lists
here and the outside libraries it lists here; the standard library and POSIX are free to all. Also checked: own headers
are included from the root, every header has #pragma once, every room has a README.md of at most a page.

    python3 tools/check_layers.py [root]     # prints each fault as file:line: sentence; exit 1 on any
"""
import pathlib
import re
import sys

CONFIG = ["common", "common/config"]
WIRE = {"grpc", "protobuf"}

# room -> (rooms or single headers it may include, outside libraries it may include)
ROOMS = {
    "common": ([], set()),
    "common/agent_write": (["common"], set()),
    "common/adapter": (CONFIG + ["shim"], {"boost"}),
    "common/config": (["common"], {"boost"}),
    "common/curl": (["common"], {"curl"}),
    "common/digest": (["common"], {"openssl"}),
    "common/logging": (["common"], {"fmt", "spdlog"}),
    "common/options": (["common"], {"cli11", "yaml"}),
    "common/prometheus": (["common"], {"boost", "prometheus"}),
    "common/text": (["common"], {"pcre2"}),
    "proto": (["common"], WIRE),
    "kernels": (["common"], {"cuda"}),
    "shim": (["common"], set()),
    "worker/comm": (["common"], {"gloo", "cuda"}),
    "worker/model": (CONFIG + ["common/adapter", "kernels", "worker/comm", "shim"], {"boost"}),
    "worker/runner": (CONFIG + ["kernels", "worker/comm", "worker/model"], set()),
    "worker/service": (CONFIG + ["kernels", "worker/comm", "worker/model", "worker/runner", "proto"], WIRE | {"cuda"}),
    # The engine declares TextState and TokenConstraint, which input implements; nothing else passes between the two.
    "coordinator/input": (CONFIG + ["common/digest", "common/text", "shim", "coordinator/engine/text_state.h",
                                   "coordinator/engine/token_constraint.h"],
                          {"boost", "jpeg", "png", "webp", "gif", "exif"}),
    "coordinator/engine": (["common"], set()),
    "coordinator/journal": (["common"], {"boost", "sqlite"}),
    "coordinator/tracing": (["common", "common/curl"], {"boost", "curl", "spdlog"}),
    "coordinator/cluster": (CONFIG + ["common/adapter", "common/options", "coordinator/engine", "proto"], WIRE | {"boost", "fmt", "spdlog"}),
    "coordinator/api": (CONFIG + ["common/adapter", "common/digest", "coordinator/input", "coordinator/engine", "coordinator/journal", "proto", "shim"],
                        WIRE | {"boost", "openssl"}),
    "coordinator/documents": (["common", "common/agent_write", "common/text", "coordinator/api", "coordinator/journal", "proto"], WIRE),
    # The coordinator's own answer to whether it is ready, and nothing else of its cluster.
    "coordinator/http": (CONFIG + ["common/curl", "coordinator/api", "coordinator/input", "coordinator/engine", "coordinator/cluster/readiness.h",
                                   "proto", "shim"],
                         WIRE | {"absl", "boost", "curl"}),
    # Rows of files; those of the hub are pulled.
    "client/dataset": (["common", "common/digest", "client", "client/pull", "shim"], {"absl", "boost"}),
    # Needs a tokenizer and no cluster.
    "client/tokenize": (["common", "shim"], {"boost"}),
    # Speaks to the hub, and to no server of ours.
    "client/pull": (["common", "common/curl", "common/digest", "common/options"], {"boost", "cli11", "curl", "fmt"}),
    "client": (CONFIG + ["common/agent_write", "common/curl", "common/logging", "common/options", "common/text", "proto", "client/dataset", "client/pull", "client/tokenize"], WIRE | {"absl", "boost", "cli11", "curl", "fmt"}),
}
# These know every part: the programs' main files, benchmarks and tests.
KNOW_ALL = ["worker", "coordinator", "bench", "tests"]

LIBRARIES = [  # how an #include <...> is recognised as a library's
    ("grpc", r"grpc(pp)?/|grpc\+\+"), ("protobuf", r"google/protobuf/"), ("boost", r"boost/"),
    ("prometheus", r"prometheus/"), ("gloo", r"gloo/"), ("dnnl", r"(oneapi/)?dnnl"), ("openssl", r"openssl/"),
    ("jpeg", r"j(peglib|error|config|morecfg)\.h"), ("png", r"png\.h"), ("webp", r"webp/"), ("gif", r"gif_lib\.h"),
    ("exif", r"libexif/"), ("cli11", r"CLI/"), ("spdlog", r"spdlog/"), ("fmt", r"fmt/"), ("yaml", r"yaml-cpp/"), ("absl", r"absl/"),
    ("gtest", r"g(test|mock)/"), ("cuda", r"cu(da|blas|rand)|nv"), ("nccl", r"nccl"), ("sqlite", r"sqlite3"),
    ("zlib", r"zlib\.h"), ("curl", r"curl/"), ("pcre2", r"pcre2\.h"),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
README_LINES = 80  # the engine's is its contract, and the longest
SUFFIXES = {".h", ".cc", ".cu", ".cuh"}


def room_of(path):
    """The room of a path relative to the root, or None: the longest folder of the tables that holds it."""
    folders = [str(p) for p in pathlib.PurePosixPath(path).parents]
    return next((f for f in folders if f in ROOMS or f in KNOW_ALL), None)


def library_of(header):
    return next((name for name, pattern in LIBRARIES if re.match(pattern, header)), None)


def check_include(room, source, header, quoted, root):
    """One sentence about what is wrong with an #include of `source`, or None."""
    library = library_of(header)
    if library and room not in KNOW_ALL and library not in ROOMS[room][1]:
        return f"{room}/ may not include {library} (<{header}>)"
    if not quoted or library:
        return None
    generated = header.startswith("longhand/") and header.endswith(".pb.h")
    if not generated and not (root / header).is_file():
        if (root / source).parent.joinpath(header).is_file():
            return f'"{header}" must be written from the root'
        return f'"{header}" is not in the repository'
    target = "proto" if generated else room_of(header)
    if room in KNOW_ALL or target == room or target in ROOMS[room][0] or header in ROOMS[room][0]:
        return None
    return f"{room}/ may not include {target}/ ({header})"


def check_file(source, root):
    lines = (root / source).read_text(encoding="utf-8").splitlines()
    room = room_of(source)
    if room is None:
        yield f"{source}:1: belongs to no room of tools/check_layers.py"
        return
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if match:
            fault = check_include(room, source, match[2], match[1] == '"', root)
            if fault:
                yield f"{source}:{number}: {fault}"
    if source.endswith((".h", ".cuh")) and not generated_c_header(lines) and "#pragma once" not in lines:
        yield f"{source}:1: a header needs #pragma once"


def generated_c_header(lines):
    """C headers of the shim may use an include guard, which C compilers of every age know."""
    return any(line.startswith("#ifndef LONGHAND_") for line in lines)


def check_readme(room, root):
    """A room has a README.md, or shares that of the room which it is a part of."""
    parent = str(pathlib.PurePosixPath(room).parent)
    readme = root / room / "README.md"
    if not readme.is_file() and parent in ROOMS:
        return
    if not readme.is_file():
        yield f"{room}/README.md: missing; a room states its one job, what it may include and its threads"
    elif (count := len(readme.read_text(encoding="utf-8").splitlines())) > README_LINES:
        yield f"{room}/README.md: {count} lines; at most {README_LINES}"


def sources(root):
    tops = {name.split("/")[0] for name in list(ROOMS) + KNOW_ALL}
    for top in sorted(tops):
        for path in sorted((root / top).rglob("*")):
            relative = path.relative_to(root)
            if path.suffix in SUFFIXES and "target" not in relative.parts:
                yield relative.as_posix()


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    files = list(sources(root))
    faults = [fault for source in files for fault in check_file(source, root)]
    rooms = {room_of(source) for source in files} & set(ROOMS)
    faults += [fault for room in sorted(rooms) for fault in check_readme(room, root)]
    print("\n".join(faults) or f"{len(files)} files in {len(rooms)} rooms: only allowed includes")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
