"""Draws the dashboards of what the test `monitoring` has kept: draw.py FOLDER-OF-ANSWERS FOLDER-OF-PICTURES

It is no Grafana: it shows each query's answer in the place, unit and form that the dashboard asks for, so that a person sees whether a
panel tells something.
"""

import json
import math
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from PIL import Image

WIDTH = 1600  # pixels
COLUMNS = 24
ROW = 33  # pixels of one unit of the grid's height
GAP = 8
LEGEND_LINES = 6
PALETTE = (
    "#7EB26D #EAB839 #6ED0E0 #EF843C #E24D42 #1F78C1 #BA43A9 #705DA0 #508642 #CCA300 #447EBC #C15C17 #890F02 #0A437C #6D1F62 #584477"
).split()
NAMED = {"text": "#555555", "green": "#56A64B", "orange": "#FF780A", "red": "#E02F44"}
GREY = "#666666"
STEPS = {
    "s": [(1, "s"), (1e-3, "ms"), (1e-6, "µs")],
    "bytes": [(2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")],
    "Bps": [(1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")],
    "reqps": [(1, "req/s")],
    "ops": [(1, "ops/s")],
}


def number(value, decimals=None):
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def shown(value, unit, decimals=None):
    """A value in its unit, as Grafana writes it."""
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return number(value * 100, decimals) + " %"
    if unit == "s" and abs(value) >= 120:
        return number(value / 60, decimals) + " min"
    steps = STEPS.get(unit)
    if not steps:
        return number(value, decimals)
    for size, name in steps:
        if abs(value) >= size * 0.9995 or (size, name) == steps[-1]:
            break
    if value == 0:
        size, name = (1, "s") if unit == "s" else steps[-1]
    return f"{number(value / size, decimals)} {name}"


def legend_of(template, metric):
    if template == "__auto" or not template.strip():
        return ", ".join(f"{name}={value}" for name, value in metric.items() if name != "__name__")
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: metric.get(found[1], ""), template).strip()


def numbers(series):
    """Times and values; a gap where there is no number."""
    times, values = [], []
    for time, value in ((float(time), float(value)) for time, value in series["values"]):
        if times and time > times[-1] + 1:
            times.append(times[-1] + 1)
            values.append(math.nan)
        times.append(time)
        values.append(value if math.isfinite(value) else math.nan)
    return times, values


def colour_at(value, panel):
    colour = GREY
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = NAMED.get(step["color"], step["color"])
    return colour


class Drawing:
    def __init__(self, kept):
        self.dashboard = kept["dashboard"]
        self.answers = kept["answers"]
        self.start, self.end = kept["from"], kept["to"]
        panels = self.dashboard["panels"]
        self.rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        self.height = (self.rows + 2) * ROW
        self.figure = plt.figure(figsize=(WIDTH / 100, self.height / 100), dpi=100, facecolor="#F4F5F5")

    def draw(self):
        self.text(GAP, 10, self.dashboard["title"], size=15, weight="bold")
        self.text(GAP, 38, "Drawn by a plotting library from the answers to the queries of the dashboard. This is not Grafana.", color=GREY)
        for place, panel in enumerate(self.dashboard["panels"]):
            answers = self.answers.get(str(place), [])
            self.panel(panel, answers)

    def text(self, left, top, words, size=9, **style):
        self.figure.text(left / WIDTH, 1 - top / self.height, words, fontsize=size, va="top", **style)

    def axes(self, left, top, width, height, **style):
        box = [left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height]
        return self.figure.add_axes(box, **style)

    def panel(self, panel, answers):
        place = panel["gridPos"]
        unit = (WIDTH - GAP) / COLUMNS
        left, top = GAP + place["x"] * unit, (place["y"] + 2) * ROW
        width, height = place["w"] * unit - GAP, place["h"] * ROW - GAP
        if panel["type"] == "row":
            self.text(left, top + 4, panel["title"], size=12, weight="bold")
            return
        frame = self.axes(left, top, width, height, facecolor="white", xticks=[], yticks=[])
        for side in frame.spines.values():
            side.set_color("#DDDDDD")
        self.text(left + 8, top + 6, panel["title"], weight="bold")
        inner = (left + 10, top + 28, width - 20, height - 36)
        series = [
            (legend_of(target.get("legendFormat", ""), one["metric"]), one)
            for target, answer in zip(panel["targets"], answers)
            for one in answer
        ]
        if not series:
            words = panel["fieldConfig"]["defaults"].get("noValue", "No data")
            self.text(left + width / 2, top + height / 2, words, size=11, color=GREY, ha="center")
            return
        {
            "stat": self.stat,
            "table": self.table,
            "timeseries": self.timeseries,
            "heatmap": self.heatmap,
            "state-timeline": self.states,
        }[panel["type"]](panel, series, *inner)

    def stat(self, panel, series, left, top, width, height):
        value = float(series[0][1]["value"][1])
        defaults = panel["fieldConfig"]["defaults"]
        words = shown(value, defaults.get("unit"), defaults.get("decimals"))
        self.text(left + width / 2, top + height / 3, words, size=22, weight="bold", color=colour_at(value, panel), ha="center")

    def table(self, panel, series, left, top, width, height):
        organized = next((one["options"] for one in panel.get("transformations", []) if one["id"] == "organize"), {})
        hidden = {name for name, is_hidden in organized.get("excludeByName", {}).items() if is_hidden}
        rows = [one["metric"] | {"Value": one["value"][1]} for _, one in series]
        names = sorted({name for row in rows for name in row} - hidden)
        order = organized.get("indexByName", {})
        names.sort(key=lambda name: order.get(name, len(order)))
        rename = organized.get("renameByName", {})
        longest = [max([len(name) + 1] + [len(row.get(name, "")) for row in rows]) + 2 for name in names]
        # What does not fit is cut.
        most = width / 6.2 / sum(longest)
        places = [left + width * sum(longest[:at]) / sum(longest) for at in range(len(names))]
        lines = int(height / 18) - 1
        for name, place in zip(names, places):
            self.text(place, top, rename.get(name) or name, size=8, weight="bold", color=GREY)
        for at, row in enumerate(rows[:lines]):
            for name, place in zip(names, places):
                words = row.get(name, "")
                self.text(place, top + 18 * (at + 1), words[: int((len(words) + 2) * min(most, 1))], size=8)

    def timeseries(self, panel, series, left, top, width, height):
        defaults = panel["fieldConfig"]["defaults"]
        unit, custom = defaults.get("unit"), defaults.get("custom", {})
        lines = min(len(series), LEGEND_LINES)
        below = 15 * (lines + 1) + 22
        axes = self.axes(left + 52, top, width - 56, height - below)
        base = None
        for at, (name, one) in enumerate(series):
            colour = PALETTE[at % len(PALETTE)]
            times, values = numbers(one)
            if custom.get("stacking", {}).get("mode") == "normal":
                base = base or {}
                bottom = [base.get(time, 0) for time in times]
                top_of = [low + value for low, value in zip(bottom, values)]
                axes.fill_between(times, bottom, top_of, color=colour, alpha=0.3, linewidth=0)
                axes.plot(times, top_of, color=colour, linewidth=1)
                base.update((time, high) for time, high in zip(times, top_of) if math.isfinite(high))
            else:
                axes.plot(times, values, color=colour, linewidth=1.2)
                axes.fill_between(times, 0, values, color=colour, alpha=0.08, linewidth=0)
            self.legend_line(at, name, colour, values, defaults, left, top + height - below + 24, width, len(series))
        self.text(left + width - 70, top + height - below + 24, "last", size=7.5, color=GREY, ha="right")
        self.text(left + width, top + height - below + 24, "max", size=7.5, color=GREY, ha="right")
        # A threshold that is far away leaves the axis as it is.
        axes.set_ylim(axes.get_ylim())
        if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
            for step in defaults["thresholds"]["steps"]:
                if step["value"] is not None:
                    axes.axhline(step["value"], color=NAMED.get(step["color"], step["color"]), linestyle="--", linewidth=1)
        self.time_axis(axes)
        axes.set_ylim(bottom=defaults.get("min"), top=defaults.get("max"))
        if axes.get_ylim()[1] <= 0:
            axes.set_ylim(top=1)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))

    def legend_line(self, at, name, colour, values, defaults, left, top, width, count):
        if at >= LEGEND_LINES:
            return
        top += 15 * (at + 1)
        name = name or "value"
        if at == LEGEND_LINES - 1 and count > LEGEND_LINES:
            name += f"  (and {count - LEGEND_LINES} more)"
        there = [value for value in values if math.isfinite(value)]
        self.text(left, top, "■", size=8, color=colour)
        self.text(left + 14, top, name, size=7.5)
        for place, value in ((left + width - 70, there and there[-1]), (left + width, there and max(there))):
            words = shown(value if there else None, defaults.get("unit"), defaults.get("decimals"))
            self.text(place, top, words, size=7.5, ha="right")

    def heatmap(self, panel, series, left, top, width, height):
        buckets = sorted(((float(name), numbers(one)) for name, one in series), key=lambda bucket: bucket[0])
        times = sorted({time for _, (some, _) in buckets for time in some})
        counts, below = [], dict.fromkeys(times, 0.0)
        for _, (some, values) in buckets:
            here = dict(zip(some, values))
            counts.append([max(here.get(time, 0) - below[time], 0) for time in times])
            below.update(here)
        axes = self.axes(left + 52, top, width - 56, height - 24)
        axes.pcolormesh(times, range(len(buckets)), counts, cmap="Oranges", shading="nearest")
        axes.set_yticks(range(len(buckets)), ["∞" if math.isinf(bound) else shown(bound, "s") for bound, _ in buckets], fontsize=6)
        self.time_axis(axes)

    def states(self, panel, series, left, top, width, height):
        axes = self.axes(left + 150, top, width - 160, height - 24)
        for at, (_, one) in enumerate(series):
            times, values = numbers(one)
            for time, value in zip(times, values):
                axes.barh(at, 1.05, left=time, height=0.8, color=colour_at(value, panel), linewidth=0)
        axes.set_yticks(range(len(series)), [name for name, _ in series], fontsize=8)
        axes.invert_yaxis()
        self.time_axis(axes)

    def time_axis(self, axes):
        axes.set_xlim(self.start, self.end)
        axes.xaxis.set_major_locator(FixedLocator([self.start + minute * 60 for minute in range(int(self.end - self.start) // 60 + 1)]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{int(time - self.start) // 60}:{int(time - self.start) % 60:02}"))
        axes.tick_params(labelsize=7.5, colors=GREY, length=0)
        axes.grid(color="#EEEEEE")
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)


def main():
    answers, pictures = map(Path, sys.argv[1:])
    for file in sorted(answers.glob("*.json")):
        drawing = Drawing(json.loads(file.read_text()))
        drawing.draw()
        to = pictures / f"dashboard-{file.stem}.png"
        drawing.figure.savefig(to)
        # Few colours: a third of the size.
        Image.open(to).convert("RGB").quantize(96).save(to, optimize=True)
        print(to)


main()
