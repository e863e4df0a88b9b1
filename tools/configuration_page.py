#!/usr/bin/env python3
"""Makes docs/configuration.md from what the programs say themselves with --help.

    tools/configuration_page.py build/release/bin >docs/configuration.md
    tools/configuration_page.py build/release/bin --check docs/configuration.md     # exit 1 when the page is another
"""
import os
import re
import subprocess
import sys

HEAD = """# Configuration

Made by `tools/configuration_page.py` from the programs' own `--help`; a test compares them.

A setting has one name in three places: the flag `--max-model-len`, the environment variable `LONGHAND_MAX_MODEL_LEN`, and the key
`max-model-len:` of the YAML file that `--config` names. The last word counts: the file, then the environment, then the command line; of a list, too, whose values are
never those of two of them.
Flags have vLLM's names where the meaning is the same. Unknown keys of the file are errors that name the line; unknown flags are errors, too. A variable that is nearly
a setting's name is told, others that begin with `LONGHAND_` are not looked at.
What holds in the end is a line of the coordinator's log, as flags.
Sizes take units (`16GiB`, `512MiB`). Addresses are `host:port`, those of IPv6 in brackets: `[::1]:8000`, `[::]:8000` for all. Lists are `A,B` on the
command line and in the environment, and may be lists in the file.

```yaml
model: /models/LongWriter-V-7B
tensor-parallel-size: 2
journal: /var/lib/longhand/journal
log-format: json
```

Files for some machines are in `helm/longhand/examples`; the chart's `config` takes the same keys ([kubernetes.md](kubernetes.md)).
"""
SECTIONS = [
    ("longhand serve", ["longhand", "serve"], "The cluster on one machine: a coordinator and its workers. It hands its settings on to them."),
    ("longhand-coordinator", ["longhand-coordinator"],
     "Takes all of the above but `--ready-file`, and where its workers are. Of the above, `--threads` and "
     "`--worker-metrics-address` say nothing to it."),
    ("longhand-worker", ["longhand-worker"], "One rank. Everything else is told by the coordinator."),
]
# For one call: no setting of the environment or the file.
ONE_CALL = {"--dry-run", "--json", "--ready-file"}
COLUMN = 30  # where --help has the meanings


def settings(command):
    """(names, values, default, meaning) of each flag, as --help has them."""
    done = subprocess.run(command + ["--help"], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    lines = done.stdout.splitlines() + [""]
    for line, following in zip(lines, lines[1:]):
        if not line.startswith("  -") or "--help" in line:
            continue
        # A flag that does not fit before the column has its meaning in a line of its own.
        flag, meaning = (line, following) if following.startswith(" " * COLUMN) else (line[:COLUMN], line[COLUMN:])
        names, _, taken = flag.strip().partition(" ")
        yield parts(names, taken.strip(), meaning.strip())


def parts(names, taken, meaning):
    names = re.sub(r"\{.*?\}", "", names).split(",")
    kind, values, default = re.match(r"^([A-Z]+)?(.*?)(?:=(?![^\[(]*[\])])(.*))?$", taken).groups()
    values, default = values.strip(": "), (default or "").removesuffix(" ...")
    size = re.match(r"SIZE \[.*?\]:?(.*)", values)
    if size:
        values = ("size, " + size.group(1)).strip(", ")
    choice = re.match(r"\{(.*)\}$", values)
    values = ", ".join(f"`{one}`" for one in choice.group(1).split(",")) if choice else values.replace("INT in ", "").replace("...", "list")
    if kind is None and not values:
        values = "on or off"
    return names, values, default, meaning


def rows(command, skip):
    for names, values, default, meaning in settings(command):
        name = names[-1] if names[0].count("-") < 2 else names[0]
        if name in skip:
            continue
        skip.add(name)
        key = name.removeprefix("--")
        variable = "" if name in ONE_CALL else f"`LONGHAND_{key.upper().replace('-', '_')}`"
        others = ", ".join(f"`{other}`" for other in names if other != name)
        cell = lambda text: (text or "").replace("|", "\\|")
        yield (f"| `{name}`{' (' + others + ')' if others else ''} | {variable} | {cell(values)} | "
               f"{'`' + default + '`' if default else ''} | {cell(meaning)} |")


def page(binaries):
    lines, skip = [HEAD], set()
    for title, command, text in SECTIONS:
        own = set() if command[0] == "longhand-worker" else skip
        lines += [f"## {title}", "", text, "", "| flag, key | environment | values | default | meaning |", "|---|---|---|---|---|"]
        lines += rows([os.path.join(binaries, command[0]), *command[1:]], own)
        lines.append("")
    return "\n".join(lines)


def main():
    text = page(sys.argv[1])
    if sys.argv[2:3] != ["--check"]:
        sys.stdout.write(text)
        return
    with open(sys.argv[3], encoding="utf-8") as file:
        if file.read() != text:
            sys.exit(f"{sys.argv[3]} is not what the programs say: tools/configuration_page.py {sys.argv[1]} >{sys.argv[3]}")


if __name__ == "__main__":
    main()
