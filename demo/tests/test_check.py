"""check.py against models of known behaviour, and its way through the command line."""
import json
import os
import subprocess
import sys

import check
import world as world_lib

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def perfect(seed, count):
    """Answers of a model that is always right, by prompt and picture."""
    answers = {}
    for request in check.requests(seed, count):
        for name in ("describe", "text", "plan"):
            example = request[name]
            answers[example.prompt, tuple(w.seed for w in example.worlds)] = example.answer
        describe = request["describe"]
        answers[describe.prompt, (request["other"].seed,)] = world_lib.describe(request["other"], describe.lang)
    return answers


def test_a_perfect_model_gets_every_point():
    answers = perfect(3, 8)
    shares = check.check(lambda prompt, worlds, _: answers[prompt, tuple(w.seed for w in worlds)], 3, 8, print)
    assert shares == {"facts_right": 1, "length_within_10pct": 1, "plans_ok": 1, "swapped_image_changes": 1}


def test_a_model_that_always_says_the_same_gets_none():
    shares = check.check(lambda *_: "It is a clear night on the beach.", 3, 8, print)
    assert set(shares.values()) == {0}


def test_plans_must_parse_count_on_and_add_up():
    line = "Section {} - Main Point: the mill, with the wooden wheel and the grain bins - Word Count: {}"
    good = "\n".join((line.format(1, 400), line.format(2, 600)))
    assert check.plan_is_right(good, 1000) and check.plan_is_right(good, 1040)
    assert not check.plan_is_right(good, 1100)
    assert not check.plan_is_right(good.replace("Section 2", "Section 3"), 1000)
    assert not check.plan_is_right(good + "\nThat is all.", 1000)
    assert not check.plan_is_right("", 1000)


def test_the_last_object_of_the_output_counts():
    assert check.last_object('text {"a": 1}\n{"text": "x {y}", "usage": {}}\n')["text"] == "x {y}"
    assert check.last_object('{\n "text": "two\\nlines"\n}\n') == {"text": "two\nlines"}


STAND_IN = """
import json, sys
sys.path.insert(0, {demo!r}); sys.path.insert(0, {tests!r})
import test_check
args = sys.argv[1:]
value = lambda name: args[args.index(name) + 1]
assert args[0] == "generate" and "--json" in args and value("--endpoint") == "127.0.0.1:1"
images = tuple(int(args[i + 1].split("/")[-1][:-4]) for i, a in enumerate(args) if a == "--image")
print("progress"); print(json.dumps({{"text": test_check.perfect(5, 3)[value("--prompt"), images]}}))
"""


def test_it_drives_the_client_by_its_contract(tmp_path):
    demo, tests = os.path.join(ROOT, "demo"), os.path.dirname(os.path.abspath(__file__))
    client = tmp_path / "longhand"
    client.write_text(f"#!{sys.executable}\n" + STAND_IN.format(demo=demo, tests=tests))
    client.chmod(0o755)
    run = subprocess.run([sys.executable, os.path.join(demo, "check.py"), "--endpoint", "127.0.0.1:1", "--seed", "5",
                          "--count", "3", "--json", "--binary", str(client)], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == {"facts_right": 1, "length_within_10pct": 1, "plans_ok": 1,
                                      "swapped_image_changes": 1}


def test_a_client_that_fails_is_reported_with_its_message(tmp_path):
    client = tmp_path / "longhand"
    client.write_text("#!/bin/sh\necho 'no route to the cluster' >&2\nexit 1\n")
    client.chmod(0o755)
    run = subprocess.run([sys.executable, os.path.join(ROOT, "demo", "check.py"), "--endpoint", "127.0.0.1:1", "--json",
                          "--binary", str(client)], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "no route to the cluster" in run.stderr and run.stdout == ""
