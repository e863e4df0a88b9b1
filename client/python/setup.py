"""Generates longhand/v1 from the repository's protos while it is built; the rest is in pyproject.toml."""
import importlib.resources
import pathlib

from setuptools import setup
from setuptools.command.build_py import build_py

PROTOS = pathlib.Path(__file__).resolve().parents[2] / "proto"


class BuildWithStubs(build_py):
    def run(self):
        from grpc_tools import protoc

        super().run()
        sources = sorted(str(path) for path in PROTOS.glob("longhand/v1/*.proto"))
        if not sources:
            raise FileNotFoundError(f"no protos under {PROTOS}: build from a checkout of the repository")
        well_known = importlib.resources.files("grpc_tools") / "_proto"
        arguments = ["protoc", f"-I{PROTOS}", f"-I{well_known}",
                     *(f"--{kind}_out={self.build_lib}" for kind in ("python", "pyi", "grpc_python")), *sources]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"protoc failed: {' '.join(arguments)}")


setup(cmdclass={"build_py": BuildWithStubs})
