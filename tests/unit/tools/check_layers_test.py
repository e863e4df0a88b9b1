"""A checker that sees nothing would pass every tree: each rule is shown a tree that breaks it."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECKER = pathlib.Path(__file__).resolve().parents[3] / "tools" / "check_layers.py"


def check(files):
    """Runs the checker over a tree of {path: text}; returns (exit status, output)."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            target = pathlib.Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, CHECKER, folder], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


class CheckLayers(unittest.TestCase):
    HEADER = "#pragma once\n"
    READMES = {f"{room}/README.md": "What it is.\n" for room in ("common", "kernels", "coordinator/input",
                                                                  "coordinator/engine", "coordinator/api")}

    def test_an_arrow_of_the_table_passes(self):
        status, output = check({**self.READMES, "common/status.h": self.HEADER,
                                "kernels/ops.h": self.HEADER + '#include <vector>\n#include "common/status.h"\n'})
        self.assertEqual(status, 0, output)

    def test_an_arrow_against_the_table_is_named_with_its_line(self):
        status, output = check({"kernels/ops.h": self.HEADER, "common/a.cc": '#include <vector>\n#include "kernels/ops.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn("common/a.cc:2: common/ may not include kernels/ (kernels/ops.h)", output)

    def test_a_library_outside_its_rooms_is_refused(self):
        status, output = check({"coordinator/engine/a.cc": "#include <grpcpp/grpcpp.h>\n"})
        self.assertEqual(status, 1)
        self.assertIn("coordinator/engine/a.cc:1: coordinator/engine/ may not include grpc", output)

    def test_generated_headers_belong_to_proto(self):
        status, output = check({"coordinator/engine/a.cc": '#include "longhand/v1/generation.pb.h"\n',
                                "coordinator/api/b.cc": '#include "longhand/v1/generation.pb.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn("coordinator/engine/a.cc:1", output)
        self.assertNotIn("coordinator/api/b.cc", output)

    def test_one_header_may_be_allowed_without_its_room(self):
        status, output = check({"coordinator/engine/text_state.h": self.HEADER, "coordinator/engine/sequence.h": self.HEADER,
                                "coordinator/input/a.cc": '#include "coordinator/engine/text_state.h"\n',
                                "coordinator/input/b.cc": '#include "coordinator/engine/sequence.h"\n'})
        self.assertEqual(status, 1)
        self.assertNotIn("a.cc", output)
        self.assertIn("coordinator/input/b.cc:1", output)

    def test_own_headers_are_included_from_the_root(self):
        status, output = check({"common/status.h": self.HEADER, "common/a.cc": '#include "status.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn('"status.h" must be written from the root', output)

    def test_a_header_without_pragma_once_is_refused(self):
        status, output = check({"common/status.h": "struct Status {};\n"})
        self.assertEqual(status, 1)
        self.assertIn("common/status.h:1: a header needs #pragma once", output)

    def test_a_room_needs_a_readme_of_at_most_a_page(self):
        status, output = check({"kernels/ops.h": self.HEADER})
        self.assertEqual(status, 1)
        self.assertIn("kernels/README.md: missing", output)
        status, output = check({"kernels/ops.h": self.HEADER, "kernels/README.md": "line\n" * 81})
        self.assertEqual(status, 1)
        self.assertIn("kernels/README.md: 81 lines", output)

    def test_a_part_of_a_room_shares_its_readme(self):
        status, output = check({**self.READMES, "common/status.h": self.HEADER, "common/config/a.h": self.HEADER})
        self.assertEqual(status, 0, output)


if __name__ == "__main__":
    unittest.main()
