"""Alert rules and dashboards as files: Prometheus takes them, each alert has its runbook, each panel its place."""
import json
import re
import shutil

import pytest
import yaml

from tools import CHART, ROOT, check, tool

RULES = CHART / "rules" / "longhand.rules.yaml"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
ALERTS = [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"] if "alert" in rule]


def test_prometheus_takes_the_rules():
    check(tool("promtool"), "check", "rules", RULES)


def test_alerts_fire_when_they_should():
    check(tool("promtool"), "test", "rules", ROOT / "tests/k8s/longhand.rules.test.yaml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_a_runbook_and_a_test(alert):
    runbook = ROOT / alert["annotations"]["runbook_url"]
    assert runbook.name == f"{alert['alert']}.md"
    text = runbook.read_text(encoding="utf-8")
    for heading in (f"# {alert['alert']}", "## What it means", "## What to look at", "## What to do"):
        assert heading in text
    tests = yaml.safe_load((ROOT / "tests/k8s/longhand.rules.test.yaml").read_text(encoding="utf-8"))["tests"]
    fires = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert alert["alert"] in fires


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path):
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["uid"] == f"longhand-{path.stem}" and "id" not in board
    variables = {variable["name"] for variable in board["templating"]["list"]}
    taken = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        assert panel["datasource"]["uid"] == "$datasource"
        for target in panel["targets"]:
            used = {name for name in re.findall(r"\$(\w+)", target["expr"]) if not name.startswith("__")}
            assert used <= variables, target["expr"]
            assert "[$__" in target["expr"] or "rate(" not in target["expr"], target["expr"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_parses(path, tmp_path):
    board = json.loads(path.read_text(encoding="utf-8"))
    rules = [{"record": "panel:query", "expr": target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h")}
             for panel in board["panels"] for target in panel["targets"]]
    # One group a query: in one group they would be duplicates.
    groups = [{"name": str(i), "rules": [rule]} for i, rule in enumerate(rules)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    check(tool("promtool"), "check", "rules", file)


# @grafana/schema, pinned in tests/k8s/grafana.
def test_dashboards_have_grafanas_own_types(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("there is no npm: Grafana's types are a package of npm's")
    for name in ("package.json", "package-lock.json", "types.ts"):
        shutil.copy(ROOT / "tests/k8s/grafana" / name, tmp_path / name)
    check("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", tmp_path)
    for path in DASHBOARDS:
        (tmp_path / f"{path.stem}.ts").write_text('import type {Board} from "./types";\nexport const board: Board = '
                                                  + path.read_text(encoding="utf-8") + ";\n", encoding="utf-8")
    check(tmp_path / "node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler",
          *sorted(tmp_path.glob("*.ts")), cwd=tmp_path)


def test_what_dashboards_and_rules_read_is_in_the_table():
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^\| `([^`]+)` ", page, re.MULTILINE))
    known |= {name + suffix for name in known for suffix in ("_bucket", "_sum", "_count")}
    expressions = [target["expr"] for path in DASHBOARDS for panel in json.loads(path.read_text(encoding="utf-8"))["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
    for expression in expressions:
        assert set(re.findall(r"(?<![\w:])(?:longhand_|vllm:)\w+", expression)) <= known, expression
