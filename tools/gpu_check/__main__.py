"""scripts/gpu_check: parts of the check, each into its JSON file and a table. Exit 0: all goals met; 1: one was missed;
2: usage; 3: something could not be measured here."""
import argparse
import pathlib
import shutil
import sys
import tarfile
import tempfile

import cluster
import comm
import conformance
import kernels
import models
from processes import Bundle, run
from report import Goal, Report

PARTS = ["conformance", "kernels", "cluster", "sanitize", "comm", "models"]


def device_name():
    """The GPU as nvidia-smi calls it, with its driver, or None."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    asked = run([program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"], 20)
    return asked.stdout.strip().splitlines()[0] if asked.status == 0 and asked.stdout.strip() else None


def unpacked(folder: pathlib.Path, scratch: pathlib.Path) -> Bundle:
    if (folder / "bin").is_dir():
        return Bundle(folder)
    with tarfile.open(folder / "bundle.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "tar_filter", None)  # older Pythons have none, and need none
        archive.extractall(scratch)
    return Bundle(scratch)


def run_part(part, report, bundle, options):
    if options.backend == "cuda" and report.data["device"] is None:
        report.unavailable(part, "nvidia-smi finds no GPU")
    elif part == "conformance":
        conformance.conformance(report, bundle, options.backend)
    elif part == "kernels":
        kernels.kernels(report, bundle, ["--dry-run"] if options.backend == "emulated" else [])
    elif part == "models":
        models.models(report, bundle, options.backend)
    elif part == "cluster":
        cluster.cluster(report, bundle, options.backend)
    elif part == "sanitize":
        conformance.sanitize(report, bundle, options.backend, options.sanitize_seconds)
    else:
        comm.comm(report, bundle, options.backend)


def main():
    parser = argparse.ArgumentParser(prog="scripts/gpu_check")
    parser.add_argument("--root", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--part", action="append", choices=PARTS, required=True)
    parser.add_argument("--bundle", type=pathlib.Path, help="folder of scripts/gpu_bundle; build/gpu_bundle by default")
    parser.add_argument("--out", type=pathlib.Path, help="where <part>.json goes; build/gpu_check by default")
    parser.add_argument("--backend", choices=["cuda", "emulated"], default="cuda", help="emulated: tries the check itself")
    parser.add_argument("--sanitize-seconds", type=float, default=240, help="what part sanitize may take")
    options = parser.parse_args()
    folder = options.bundle or options.root / "build/gpu_bundle"
    out = options.out or options.root / "build/gpu_check"
    out.mkdir(parents=True, exist_ok=True)
    statuses = []
    with tempfile.TemporaryDirectory(prefix="longhand-gpu-check-") as scratch:
        try:
            bundle = unpacked(folder, pathlib.Path(scratch))
        except (OSError, tarfile.TarError) as error:
            print(f"gpu_check: no bundle in {folder} ({error}); scripts/gpu_bundle makes one", file=sys.stderr)
            return 2
        about = {"device": device_name(), "backend": options.backend,
                 "commit": " ".join((bundle.folder / "commit").read_text().split())}
        for part in options.part:
            print(f"== {part}: {about['device']}, commit {about['commit']}", flush=True)
            report = Report(out / f"{part}.json", part, about)
            try:
                run_part(part, report, bundle, options)
            except Exception as error:  # The other parts are to run whatever this one met.
                report.goal(Goal(part, "runs to its end", f"{type(error).__name__}: {error}"[:200], None, False))
            report.save()
            print(report.table(), f"{report.data['seconds']} s", sep="\n", flush=True)
            statuses.append(report.exit_status())
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
