"""What a part of the check leaves: a JSON file that is whole after every record, and a table of goals."""
import dataclasses
import json
import os
import pathlib
import time


@dataclasses.dataclass
class Goal:
    """One line of the table. `ratio` is measured / goal where both are numbers; `passed` None: it could not be measured."""
    name: str
    goal: str
    measured: str
    ratio: float | None = None
    passed: bool | None = None

    def verdict(self):
        return {True: "pass", False: "FAIL", None: "unavailable"}[self.passed]


class Report:
    def __init__(self, path: pathlib.Path, part: str, about: dict):
        self.path = path
        self._began = time.monotonic()
        self.data = {"part": part, **about, "seconds": 0.0, "records": [], "goals": []}
        self.save()

    @property
    def records(self):
        return self.data["records"]

    def add(self, record: dict):
        self.records.append(record)
        self.save()

    def goal(self, goal: Goal):
        self.data["goals"].append({**dataclasses.asdict(goal), "verdict": goal.verdict()})
        self.save()

    def unavailable(self, what: str, why: str):
        self.goal(Goal(what, "", why))

    def save(self):
        self.data["seconds"] = round(time.monotonic() - self._began, 1)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, self.path)

    def table(self) -> str:
        rows = [("goal", "wanted", "measured", "ratio", "")]
        for goal in self.data["goals"]:
            ratio = "" if goal["ratio"] is None else f"{goal['ratio']:.3f}"
            rows.append((goal["name"], goal["goal"], goal["measured"], ratio, goal["verdict"]))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)

    def exit_status(self) -> int:
        """0: every goal was met; 1: one was missed; 3: one could not be measured, and none was missed."""
        verdicts = {goal["verdict"] for goal in self.data["goals"]}
        return 1 if "FAIL" in verdicts else 3 if "unavailable" in verdicts or not verdicts else 0
