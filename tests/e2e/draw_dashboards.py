#!/usr/bin/env python3
"""Draws the dashboards of the chart as PNGs: their own queries, places, units and titles, over what a real Prometheus scraped of a
real cluster under load, with a worker killed on the way. Grafana is not run; this is what it would show, not how.

    pip install matplotlib
    tests/e2e/draw_dashboards.py docs/images
"""
import json
import math
import pathlib
import re
import sys
import time

import matplotlib

matplotlib.use("Agg")
from matplotlib import dates, pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

from monitored_cluster import DASHBOARDS, Load, MonitoredCluster, expand  # noqa: E402

LOAD_S = 80
STEP_S = 1
ROW = .45  # inches a row of Grafana's grid
INK, MUTED, PAPER, EDGE = "#1f2328", "#656d76", "#ffffff", "#d0d7de"


def prefixed(value, unit, base, prefixes):
    index = 0
    while abs(value) >= base and index + 1 < len(prefixes):
        value, index = value / base, index + 1
    return f"{value:.3g} {prefixes[index]}{unit}".strip()


def written(value, unit):
    """A number as a person reads it."""
    if not math.isfinite(value):
        return "no value"
    if unit in ("s", "ms"):
        value = value / 1000 if unit == "ms" else value
        return f"{value * 1e6:.3g} µs" if 0 < abs(value) < 1e-3 else f"{value * 1e3:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit == "percent":
        return f"{value:.3g}%"
    if unit in ("bytes", "Bps", "decbytes"):
        return prefixed(value, "B/s" if unit == "Bps" else "B", 1024, ["", "Ki", "Mi", "Gi", "Ti"])
    return prefixed(value, {"reqps": "/s"}.get(unit, ""), 1000, ["", "k", "M", "G"])


def mapped(panel, value, unit):
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        text = mapping.get("options", {}).get(f"{value:g}", {}).get("text") if mapping["type"] == "value" else None
        if text is not None:
            return text
    return written(value, unit)


def label_of(legend, metric):
    return re.sub(r"{{(\w+)}}", lambda match: metric.get(match.group(1), ""), legend)


def points(series):
    return [(float(at), float(value)) for at, value in series["values"] if math.isfinite(float(value))]


def draw_stat(axes, panel, answers, unit):
    values = [points(series)[-1][1] for _, found in answers for series in found if points(series)]
    defaults = panel["fieldConfig"]["defaults"]
    text = mapped(panel, values[0], unit) if values else defaults.get("noValue", "no data")
    axes.text(.5, .42, text, ha="center", va="center", fontsize=20 if values else 12, color=INK if values else MUTED, weight="bold" if values else "normal")
    axes.set_axis_off()


def draw_lines(axes, panel, answers, unit):
    lines = [(label_of(legend, series["metric"]), points(series)) for legend, found in answers for series in found]
    lines = [(label, line) for label, line in lines if line]
    if not lines:
        axes.text(.5, .5, panel["fieldConfig"]["defaults"].get("noValue", "no data"), ha="center", va="center", color=MUTED, transform=axes.transAxes)
        axes.set_axis_off()
        return
    for label, line in lines:
        axes.plot([at / 86400 for at, _ in line], [value for _, value in line], linewidth=1.2, label=label)
    axes.set_ylim(0, 1.25 * max(max(value for _, value in line) for _, line in lines) or 1)  # Room for the legend.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    axes.xaxis.set_major_locator(dates.AutoDateLocator(maxticks=4))
    axes.grid(True, color=EDGE, linewidth=.5)
    axes.tick_params(labelsize=6, colors=MUTED, length=2)
    if any(label for label, _ in lines):
        axes.legend(fontsize=5.5, loc="upper left", frameon=False, ncol=2 if len(lines) > 3 else 1)


def draw_heatmap(axes, panel, answers, unit):
    found = sorted((series for _, all_ in answers for series in all_), key=lambda series: float(series["metric"]["le"]))
    times = sorted({float(at) for series in found for at, _ in series["values"]})
    if not times:
        return draw_lines(axes, panel, [], unit)
    rows, below = [], dict.fromkeys(times, 0.0)
    for series in found:  # Cumulative: a bucket is what it has beyond the one below.
        now = {float(at): float(value) for at, value in series["values"]}
        rows.append([max(0, now.get(at, 0) - below.get(at, 0)) for at in times])
        below = now
    used = [index for index, row in enumerate(rows) if any(row)] or [0]
    first, last = used[0], used[-1] + 1
    axes.pcolormesh([at / 86400 for at in times], range(first, last), rows[first:last], cmap="Blues", shading="nearest")
    axes.set_yticks(range(first, last), [written(float(series["metric"]["le"]), unit) for series in found[first:last]])
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    axes.xaxis.set_major_locator(dates.AutoDateLocator(maxticks=4))
    axes.tick_params(labelsize=6, colors=MUTED, length=2)


def draw(board, answers_of, path):
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    figure = pyplot.figure(figsize=(14, ROW * height + .5), facecolor="#f6f8fa")
    figure.text(.012, 1 - .2 / (ROW * height + .5), board["title"], fontsize=12, weight="bold", color=INK, va="center")
    scale = ROW * height / (ROW * height + .5)
    for panel in board["panels"]:
        place = panel["gridPos"]
        box = [place["x"] / 24 + .005, (1 - (place["y"] + place["h"]) / height) * scale + .004, place["w"] / 24 - .01, place["h"] / height * scale - .008]
        figure.add_axes(box, facecolor=PAPER, xticks=[], yticks=[])
        figure.text(box[0] + .006, box[1] + box[3] - .16 / (ROW * height + .5), panel["title"], fontsize=8, weight="bold", color=INK, va="center")
        inner = [box[0] + .045, box[1] + .06 * box[3] + .006, box[2] - .055, box[3] * .8 - .008]
        axes = figure.add_axes(inner if panel["type"] != "stat" else [box[0], box[1], box[2], box[3] * .85], facecolor=PAPER)
        for spine in axes.spines.values():
            spine.set_color(EDGE)
        answers = [(target["legendFormat"], answers_of[target["expr"]]) for target in panel["targets"]]
        kind = {"stat": draw_stat, "heatmap": draw_heatmap}.get(panel["type"], draw_lines)
        kind(axes, panel, answers, panel["fieldConfig"]["defaults"].get("unit", "short"))
    figure.savefig(path, dpi=100, facecolor=figure.get_facecolor())
    pyplot.close(figure)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    monitored = MonitoredCluster(spares=1)
    try:
        load = Load(monitored.cluster)
        time.sleep(LOAD_S * .6)
        monitored.kill_worker(1)
        time.sleep(LOAD_S * .4)
        now = time.time()
        load.stop()
        boards = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS}
        queries = {target["expr"] for board in boards.values() for panel in board["panels"] for target in panel["targets"]}
        answers = {query: monitored.prometheus.series(expand(query, range_=f"{LOAD_S}s"), LOAD_S, STEP_S, now) for query in queries}
    finally:
        monitored.stop()
    for name, board in boards.items():
        draw(board, answers, folder / f"dashboard-{name}.png")


if __name__ == "__main__":
    main()
