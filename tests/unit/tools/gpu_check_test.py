"""scripts/gpu_check without a GPU: programs that crash, hang or find something must show as that."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import time
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools" / "gpu_check"))
import cluster  # noqa: E402
import comm  # noqa: E402
import conformance  # noqa: E402
import join  # noqa: E402
import kernels  # noqa: E402
import models  # noqa: E402
import processes  # noqa: E402
import report as reports  # noqa: E402

# Three cases of Add; the second ends the process. Mul is sound.
CONFORMANCE = f"""#!{sys.executable}
import json, os, signal, sys
if "--list" in sys.argv:
    sys.exit(print("Add 3\\nMul 1"))
value = dict(zip(sys.argv, sys.argv[1:]))
op, records = value["--op"], []
for n in range(int(value.get("--first", 0)), 3 if op == "Add" else 1):
    print("case", n, f"{{op}} number {{n}}", flush=True)
    print("kernel", op + ("Untimed" if "--untimed" in sys.argv else "Timed"), flush=True)
    if op == "Add" and n == 1:
        print("an illegal address", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    records.append({{"op": op, "case": f"{{op}} number {{n}}", "status": "pass", "error": 0, "tolerance": 0}})
    if "--json" in value:
        open(value["--json"], "w").write(json.dumps(records))
print("wgmma has mma.sync's bits in: " + op)
"""
# Runs what it is given, and finds a hazard in Mul.
SANITIZER = f"""#!{sys.executable}
import subprocess, sys
program = next(i for i, word in enumerate(sys.argv) if word.endswith("conformance"))
subprocess.run(sys.argv[program:])
found = sys.argv[2] == "racecheck" and "Mul" in sys.argv
print("========= RACECHECK SUMMARY: %d hazards displayed" % found if sys.argv[2] == "racecheck"
      else "========= ERROR SUMMARY: 0 errors")
sys.exit(9 if found else 0)
"""


class GpuCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.bundle = processes.Bundle(self.folder)
        self.report = reports.Report(self.folder / "part.json", "part", {})
        (self.folder / "bin").mkdir()
        self.program("conformance", CONFORMANCE)

    def program(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def quietly(self, function, *arguments):
        with contextlib.redirect_stdout(io.StringIO()):
            function(*arguments)

    def verdicts(self):
        return {goal["name"]: goal["verdict"] for goal in json.loads((self.folder / "part.json").read_text())["goals"]}

    def test_a_crash_is_named_and_the_cases_behind_it_run(self):
        records = conformance.run_operation(self.bundle, "cuda", "Add", time.monotonic() + 60)
        self.assertEqual([(r["case"], r["status"]) for r in records],
                         [("Add number 0", "pass"), ("Add number 1", "fail"), ("Add number 2", "pass")])
        self.assertIn("SIGABRT: an illegal address", records[1]["message"])

    def test_an_operation_that_crashes_hides_no_other(self):
        self.quietly(conformance.conformance, self.report, self.bundle, "cuda")
        self.assertEqual(self.verdicts(), {"conformance Add": "FAIL", "conformance Mul": "pass"})
        self.assertEqual(self.report.exit_status(), 1)

    def test_a_hazard_fails_and_a_crash_under_the_sanitizer_is_no_pass(self):
        program = self.program("compute-sanitizer", SANITIZER)
        with mock.patch.object(conformance, "sanitizer_program", lambda: program):
            self.quietly(conformance.sanitize, self.report, self.bundle, "cuda", 60)
        self.assertEqual(self.verdicts()["G16 racecheck"], "FAIL")
        mul = [r for r in self.report.records if r["op"] == "Mul"]
        self.assertEqual({r["tool"]: r["status"] for r in mul}, {"memcheck": "pass", "racecheck": "fail"})
        self.assertEqual(mul[0]["trials"], ["wgmma has mma.sync's bits in: Mul"])
        self.assertEqual(mul[0]["kernels"], ["MulUntimed"])

    def test_what_has_ended_is_in_the_report_while_another_operation_runs(self):
        for part, function, arguments in (("conformance", conformance.conformance, ()), ("sanitize", conformance.sanitize, (20,))):
            report = reports.Report(self.folder / f"{part}.json", part, {})
            self.program("conformance", f"""#!{sys.executable}
import pathlib, sys, time
if "--list" in sys.argv:
    sys.exit(print("Add 1\\nMul 1"))
while "Add" in sys.argv and '"Mul"' not in pathlib.Path({str(report.path)!r}).read_text():
    time.sleep(0.01)
""")
            program = self.program("compute-sanitizer", SANITIZER)
            with mock.patch.object(conformance, "sanitizer_program", lambda: program), \
                    mock.patch.object(conformance, "PART_S", {"cuda": 20}):
                self.quietly(function, report, self.bundle, "cuda", *arguments)
            self.assertEqual(report.records[0]["op"], "Mul")
            of_add = [record for record in report.records if record["op"] == "Add"]
            self.assertEqual({record.get("status", "pass") if not record.get("fail") else "fail" for record in of_add}, {"pass"})

    def test_kernels_by_wgmma_count_where_a_clean_run_launched_them(self):
        kernels_of = sorted(conformance.WGMMA_KERNELS)
        clean = [{"status": "pass", "kernels": ["RmsNorm", *kernels_of[1:]]}, {"status": "unavailable"}]
        conformance.judge_kernels(self.report, "memcheck", [*clean, {"status": "fail", "kernels": kernels_of[:1]}])
        self.assertEqual(set(self.verdicts().values()), {"unavailable"})
        self.assertIn(f"not {kernels_of[0]}", self.report.data["goals"][0]["measured"])
        conformance.judge_kernels(self.report, "racecheck", [*clean, {"status": "pass", "kernels": kernels_of[:1]}])
        self.assertEqual(self.verdicts()["G16 racecheck of kernels by wgmma"], "pass")

    def test_without_a_sanitizer_the_part_is_unavailable(self):
        with mock.patch.object(conformance, "sanitizer_program", lambda: None):
            conformance.sanitize(self.report, self.bundle, "cuda", 60)
        self.assertEqual(set(self.verdicts().values()), {"unavailable"})
        self.assertEqual(self.report.exit_status(), 3)

    def test_a_program_that_hangs_is_stopped_and_keeps_what_it_said(self):
        done = processes.run([sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"], 5)
        self.assertIsNone(done.status)
        self.assertEqual(done.stdout, "begun\n")

    def test_a_divergence_tells_what_the_choice_hung_on(self):
        expected = {"token_ids": [5, 6, 7], "gaps": [1.0, 0.25, 2.0], "logprobs": [-1.0, -2.0, -3.0]}
        actual = {"token_ids": [5, 9, 7], "gaps": [1.0, 0.1, 2.0], "logprobs": [-1.5, -2.0, -3.0]}
        self.assertEqual(cluster.compare(expected, actual),
                         {"tokens": 3, "equal_tokens": 1, "first_divergence": 1, "expected_gap_there": 0.25,
                          "largest_logprob_error": 0.5})

    def test_goals_are_judged_by_the_worst_case(self):
        roof = {"op": "roof", "case": "read", "ns": 1000, "bytes": 3_000_000, "status": "pass"}

        def decode(name, share):
            return {"op": "PagedAttention", "case": f"decode {name}", "status": "pass", "ns": 300e6 / (3000 * share),
                    "bytes": 300e6, "flops": 0, "shape": {}}

        def linear(ns):
            return {"op": "Linear", "case": "a", "status": "pass", "ns": ns, "bytes": 1e6, "flops": 0, "shape": {"rows": 1}}

        self.report.data["records"] = [roof, decode("a", 0.95), decode("b", 0.85), linear(100)]
        self.report.data["peers"] = [{"peer": "torch", "op": "Linear", "case": "a", "ns": 110}]
        kernels.judge(self.report)
        verdicts = self.verdicts()
        self.assertEqual(verdicts["G1 decode attention, >= 256 MB"], "FAIL")
        self.assertEqual(verdicts["G6 Linear, 1 to 1 rows, beside cuBLAS"], "pass")
        self.assertEqual(verdicts["G2 decode attention, 32 to 256 MB"], "unavailable")

    def test_codes_are_judged_beside_our_own_bf16(self):
        def case(op, ns, variant="", **more):
            return {"op": op, "case": "decode a", "variant": variant, "ns": ns, "bytes": 300e6, "status": "pass", **more}

        rows = {"shape": {"rows": 16}}
        self.report.data["records"] = [case("PagedAttention", 100), case("PagedAttention", 50, "int8"),
                                       case("PagedAttention", 70, "fp8"), case("Linear", 100, **rows),
                                       case("Linear", 55, "fp8", **rows), case("Linear", 40, "int4", **rows)]
        kernels.judge(self.report)
        verdicts = self.verdicts()
        self.assertEqual(verdicts["G4 decode attention, KV in int8, >= 256 MB in bf16"], "pass")
        self.assertEqual(verdicts["G4 decode attention, KV in fp8, >= 256 MB in bf16"], "FAIL")
        self.assertEqual(verdicts["G7 Linear in fp8, 1 to 64 rows"], "pass")
        self.assertEqual(verdicts["G7 Linear in int4, 1 to 16 rows"], "FAIL")

    def test_a_peer_that_is_not_there_is_named_as_unavailable(self):
        self.report.data["records"] = [{"op": "PagedAttention", "case": "decode a", "ns": 10, "bytes": 1e6, "status": "pass"}]
        self.report.data["peers"] = [{"op": "peer", "case": "flashinfer", "message": "ImportError: no module"}]
        kernels.judge(self.report)
        goals = {goal["name"]: goal for goal in json.loads((self.folder / "part.json").read_text())["goals"]}
        self.assertEqual(goals["G3 decode attention beside FlashInfer"]["verdict"], "unavailable")
        self.assertIn("no module", goals["G3 decode attention beside FlashInfer"]["measured"])

    def test_a_mean_can_miss_where_no_case_does(self):
        peers = {"a": 100, "b": 100}
        self.report.data["records"] = [{"op": "PagedAttention", "case": f"decode {name}", "ns": 100, "bytes": 1e6,
                                        "status": "pass"} for name in peers]
        self.report.data["peers"] = [{"peer": "flashinfer", "op": "PagedAttention", "case": f"decode {name}", "ns": ns}
                                     for name, ns in peers.items()]
        kernels.judge(self.report)
        self.assertEqual(self.verdicts()["G3 decode attention beside FlashInfer"], "FAIL")
        self.assertEqual(self.verdicts()["G2 decode attention, < 32 MB, beside FlashInfer"], "pass")

    def test_models_are_judged_by_shape_and_quantisation(self):
        def decode(quantization, share):
            return {"kind": "decode", "shape": "72b-tp8", "quantization": quantization, "batch": 1, "context": 1024,
                    "share_of_read": share, "device_share_of_read": share, "ms_a_step": 3, "tokens_per_second": 300}

        equal = {"shape": "7b", "quantization": "none", "other_logits": 0}
        self.report.data["records"] = [decode("none", 0.9), decode("fp8", 0.5), {"kind": "batches", **equal},
                                       {"kind": "recomputed", **equal}, {"kind": "graphs", **equal, "other_tokens": 1}]
        models.judge(self.report)
        verdicts = self.verdicts()
        self.assertEqual(verdicts["G10 72B rank of TP 8 alone, batch 1"], "pass")
        self.assertEqual(verdicts["G10 72B rank of TP 8 alone, fp8, batch 1"], "FAIL")
        self.assertEqual(verdicts["G11 72B in fp8, one GPU, batch 1, context 1k"], "unavailable")
        self.assertEqual(verdicts["G14 replayed steps bit-equal to eager ones"], "FAIL")
        self.assertEqual(verdicts["G15 the same bits in batches of 1, 7 and 64, and recomputed"], "pass")

    def test_the_rate_of_matmul_comes_from_the_part_kernels(self):
        images = {"kind": "images", "shape": "7b", "quantization": "none", "count": 16, "tflop_per_second": 300, "wall_ms": 9}
        self.report.data["records"] = [images]
        models.judge_vision(self.report)
        self.assertEqual(self.verdicts()["G12 16 images"], "unavailable")
        roof = {"op": "roof", "case": "matmul", "flops": 1e12, "ns": 2e6}
        (self.folder / "kernels.json").write_text(json.dumps({"peers": [roof]}))
        models.judge_vision(self.report)
        self.assertEqual(self.verdicts()["G12 16 images"], "pass")

    def test_parts_are_joined_as_one_list_that_reads_the_same(self):
        self.report.add({"op": "a", "case": "b"})
        out = self.folder / "results" / "joined.json"
        with mock.patch.object(sys, "argv", ["join.py", str(self.folder), str(out)]):
            join.main()
        self.assertEqual(json.loads(out.read_text()), [json.loads((self.folder / "part.json").read_text())])

    def test_every_run_of_a_model_fits_the_part(self):
        # Making a model is in its budget; the last one may take STARTED_LAST_S more.
        self.assertLessEqual(sum(run.budget_s for run in models.RUNS["cuda"]), models.PART_S - models.STARTED_LAST_S)
        self.assertLess(models.PART_S, 8 * 60)
        self.assertLess(kernels.PART_TIMEOUT_S, 8 * 60)

    def steps(self, name, ranks_that_fail=(), version="2.30.7"):
        """A program that says two steps for its --ranks, and what exit status that makes."""
        self.program(name, f"""#!{sys.executable}
import json, sys
ranks = int(dict(zip(sys.argv, sys.argv[1:])).get("--ranks", 1))
failed = ranks in {tuple(ranks_that_fail)!r}
print(json.dumps({{"op": "x", "case": "NCCL {version}", "ranks": ranks, "status": "pass"}}))
print(json.dumps({{"op": "x", "case": "sum", "ranks": ranks, "status": "fail" if failed else "pass", "us": 7.5}}))
sys.exit(failed)
""")

    def test_exchanges_are_checked_with_one_rank_and_with_two(self):
        self.steps("peer_check", ranks_that_fail=[2])
        self.steps("nccl_check")
        with mock.patch.object(comm, "nccl_libraries", return_value=[(23007, "libnccl.so.2")]):
            self.quietly(comm.comm, self.report, self.bundle, "cuda")
        self.assertEqual(self.verdicts(), {"kernels that read their peers, one rank": "pass",
                                           "kernels that read their peers, two processes": "FAIL",
                                           "NCCL, one rank: form, collectives, abort, form again": "pass",
                                           "NCCL and kernels over it, two ranks": "pass"})
        self.assertEqual(len(self.report.records), 8)

    def test_ranks_share_a_gpu_only_where_nccl_lets_them(self):
        self.steps("peer_check")
        self.steps("nccl_check", version="2.28.9")
        with mock.patch.object(comm, "nccl_libraries", return_value=[(22809, "libnccl.so.2")]):
            self.quietly(comm.comm, self.report, self.bundle, "cuda")
        self.assertEqual(self.verdicts()["NCCL and kernels over it, two ranks"], "unavailable")

    def test_the_newest_nccl_is_taken(self):
        versions = {}
        for name, version in (("old", 22809), ("new", 23007)):
            library = self.folder / name / "nvidia/nccl/lib/libnccl.so.2"
            library.parent.mkdir(parents=True)
            library.touch()
            versions[str(library)] = version

        def opened(library):
            if library not in versions:
                raise OSError(library)

            def get_version(pointer):
                pointer._obj.value = versions[library]
            return mock.Mock(ncclGetVersion=get_version)

        with mock.patch.object(comm.ctypes, "CDLL", opened), \
                mock.patch.object(sys, "path", [*sys.path, str(self.folder / "old"), str(self.folder / "new")]):
            found = comm.nccl_libraries()
        self.assertEqual([version for version, _ in found], [23007, 22809])
        self.assertIn("/new/", found[0][1])

    def test_the_slowdown_of_determinism_compares_the_same_prefill(self):
        for on, ms in ((1, 300.0), (0, 250.0)):
            self.report.add({"kind": "prefill", "shape": "7b", "tokens": 8192, "deterministic": on, "wall_ms": ms})
        models.judge_slowdown(self.report)
        self.assertEqual(self.verdicts(), {"G15 slowdown of being deterministic, prefill of 8k, 7B": "FAIL"})

    def test_products_that_may_vary_are_set_beside_ours(self):
        for variant, ns in (("", 1100.0), ("cublaslt", 1000.0)):
            self.report.add({"op": "Linear", "case": "a", "variant": variant, "ns": ns, "bytes": 1.0})
        kernels.judge_varying(self.report)
        self.assertEqual(self.verdicts(), {"G15 slowdown of being deterministic, Linear of 2048 rows": "pass"})


if __name__ == "__main__":
    unittest.main()
