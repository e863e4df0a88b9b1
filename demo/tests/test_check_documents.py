"""check_documents.py against writers of known behaviour, and its way through the command line."""
import json
import os
import random
import subprocess
import sys

import check_documents
import figures
import tasks

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TOTALS = [1000, 2000]


def perfect(seed, count):
    """{wish: (plan, sections)} of a model that has learnt everything."""
    made = {}
    for lang, total, world, wish in check_documents.wishes(seed, count, TOTALS):
        theme = None if world else tasks.random_theme(lang, random.Random(0), others=False)
        sections = tasks.plan_sections(total, lang, world, theme)
        made[wish] = ("\n".join(s.step for s in sections), [s.write(lang, random.Random(1)) for s in sections])
    return made


def judged(write, report=lambda line: None):
    return check_documents.check_documents(write, 3, 8, TOTALS, report)


def test_a_perfect_writer_gets_every_point():
    made, lines = perfect(3, 8), []
    result = judged(lambda wish, world, seed: made[wish], lines.append)
    assert {name: result[name] for name in ("documents_within_10pct", "plans_ok", "facts_right")} == \
        {"documents_within_10pct": 1, "plans_ok": 1, "facts_right": 1}
    assert result["repeated_20_word_windows"] < .01 and result["sentences_repeated"] == 0
    assert result["sections_within_10pct"] > .9 and result["S_l"] > 95
    assert len(lines) == 8 and " of 1000 words in 2 sections" in lines[0]


def test_a_writer_who_copies_out_one_section_is_found_out():
    made = perfect(3, 8)
    result = judged(lambda wish, world, seed: (made[wish][0], [made[wish][1][-1]] * len(made[wish][1])))
    assert result["repeated_20_word_windows"] > .3 and result["sentences_repeated"] > .3
    assert result["plans_ok"] == 1 and result["facts_right"] == 0


def test_documents_without_a_plan_count_as_wrong():
    made = perfect(3, 8)
    result = judged(lambda wish, world, seed: made[wish] if seed % 2 else ("", []))
    assert result["documents_within_10pct"] == result["plans_ok"] == result["facts_right"] == .5
    assert judged(lambda *_: ("", [])) == {**dict.fromkeys(result, 0)}


def test_the_same_window_is_counted_once():
    words = "one two three four five six seven eight nine ten"
    assert figures.repeated_windows(f"{words} {words}", size=10) == 1 / 11
    assert figures.repeated_windows("too short") == 0


STAND_IN = """
import json, sys
sys.path.insert(0, {demo!r}); sys.path.insert(0, {tests!r})
import test_check_documents
args = sys.argv[1:]
value = lambda name: args[args.index(name) + 1]
assert args[0] == "write" and "--json" in args and value("--endpoint") == "127.0.0.1:1"
assert value("--temperature") == "0.9" and int(value("--seed")) in range(3000, 3004)
if value("--seed") == "3003":
    print("longhand write: ABORTED: the plan cannot be read: it was noise", file=sys.stderr)
    sys.exit(1)
plan, sections = test_check_documents.perfect(3, 4)[value("--prompt")]
assert ("--image" in args) == (int(value("--seed")) % 4 < 2)
print(json.dumps({{"metadata": {{}}, "plan": plan, "sections": [{{"response": text}} for text in sections]}}))
"""


def run(client, *more):
    return subprocess.run([sys.executable, os.path.join(ROOT, "demo", "check_documents.py"), "--endpoint", "127.0.0.1:1",
                           "--seed", "3", "--count", "4", "--totals", "1000,2000", "--json", "--binary", str(client), *more],
                          capture_output=True, text=True, check=False)


def test_it_drives_the_client_by_its_contract(tmp_path):
    demo, tests = os.path.join(ROOT, "demo"), os.path.dirname(os.path.abspath(__file__))
    client = tmp_path / "longhand"
    client.write_text(f"#!{sys.executable}\n" + STAND_IN.format(demo=demo, tests=tests))
    client.chmod(0o755)
    done = run(client, "--temperature", "0.9")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["documents_within_10pct"] == result["plans_ok"] == .75 and result["facts_right"] == 1


def test_a_client_that_fails_otherwise_is_reported_with_its_message(tmp_path):
    client = tmp_path / "longhand"
    client.write_text("#!/bin/sh\necho 'longhand write: UNAVAILABLE: no route' >&2\nexit 1\n")
    client.chmod(0o755)
    done = run(client)
    assert done.returncode == 1 and "UNAVAILABLE: no route" in done.stderr and done.stdout == ""
    assert run(client, "--totals", "10,many").returncode == 2 and run(client, "--totals", "100").returncode == 2
