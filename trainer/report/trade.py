"""The section of the page that shows what it costs in false alarms to miss fewer defects."""

from __future__ import annotations

from html import escape
from typing import Any

from trainer.escapes import LEVELS, outcomes
from trainer.report.chart import Axis, Series, chart, key
from trainer.report.html import rows_table
from trainer.report.style import MISSED, SERIES
from trainer.report.words import count, interval, rate

OUTCOME = ("found", "missed", "95 % interval", "false alarms a frame", "95 % interval")


def trade(figures: dict[str, Any]) -> str:
    """Escapes against false alarms: what the target asks for, and a chart and a table for each class."""
    if "escape" not in figures:
        return ""
    escapes = figures["escape"]
    said = (
        f"The target: miss no more than {100 * escapes['target']:g} % of the defects. Each point is one"
        f" threshold for all classes, from {LEVELS[0] / 255:.2f} to {LEVELS[-1] / 255:.3f}; a lower one"
        " misses fewer defects and raises more false alarms."
        " These frames only show the trade; thresholds are chosen on validation frames, by trainer fit"
        " with --escape-target."
    )
    if escapes["defects_needed"]:
        said += f" To prove the target, {escapes['defects_needed']:,} defects of a class must all be found."
    shown = {name: row for name, row in escapes["classes"].items() if row["at_target"] is not None}
    plots = "".join(_figure(name, row, escapes["target"]) for name, row in shown.items())
    tables = "".join(_trade_table(name, row) for name, row in shown.items())
    one = " one" if len(shown) == 1 else ""
    return (
        f"<h2>Escapes against false alarms</h2><p>{said}</p>{_summary(shown)}"
        f'<div class="charts{one}">{plots}</div>{tables}'
    )


def _summary(shown: dict[str, Any]) -> str:
    """The threshold that the target asks for, by class."""
    rows = []
    for name, row in shown.items():
        point = row["at_target"]
        asks = (
            f"{point['threshold']:.3f}" if row["reached"] else f"out of reach; best {point['threshold']:.3f}"
        )
        rows.append([name, f"{row['served_threshold']:.3f}", asks, *_point(point)])
    return rows_table(("class", "serves at", "target asks for", *OUTCOME), rows)


def _point(point: dict[str, Any]) -> list[str]:
    missed = [1 - bound for bound in reversed(point["recall_95"])]
    return [
        count(point["found"], point["total"]),
        rate(1 - point["recall"]),
        interval(missed),
        rate(point["false_alarms_per_frame"], 2),
        interval(point["false_alarms_per_frame_95"], 2),
    ]


def _figure(name: str, row: dict[str, Any], target: float) -> str:
    points = outcomes(row["points"])
    alarms = [p["false_alarms_per_frame"] for p in points]
    missed = [1 - p["recall"] for p in points]
    bounds = tuple((1 - p["recall_95"][1], 1 - p["recall_95"][0]) for p in points)
    y = Axis("share of defects missed", 0.0, _top(max(end for _, end in bounds)))
    x = _alarm_axis(alarms)
    best = row["at_target"]
    words = f"{'target' if row['reached'] else 'fewest missed'}: t = {best['threshold']:.3f}"
    mark = best["false_alarms_per_frame"], 1 - best["recall"], words
    curve = tuple(zip(alarms, missed, strict=True))
    line = Series(f"{name}, with 95 % interval", SERIES[0], curve, bounds, whiskers=True, marks=(mark,))
    limit = Series("target", MISSED, ((x.low, target), (x.high, target)))
    drawn = chart([limit, line], x, y, f"escapes against false alarms of {name}")
    return f"<figure><h3>{escape(name)}</h3>{key([line, limit])}{drawn}</figure>"


def _alarm_axis(alarms: list[float]) -> Axis:
    """Decades, since false alarms span them; none at all stands at the left edge."""
    above = [value for value in alarms if value]
    none = len(above) < len(alarms)
    low = 10.0 ** (_decade(min(above, default=0.1)) - none)
    high = max(10.0 * low, 10.0 ** (_decade(max(above, default=0.1)) + 1))
    return Axis(f"false alarms a frame{' (left edge: none)' if none else ''}", low, high, log=True)


def _trade_table(name: str, row: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    marked: dict[int, str] = {}
    for n, point in enumerate(row["points"]):
        if point["threshold"] == row["at_target"]["threshold"]:
            marked[n] = "mark"
        rows.append([f"{point['threshold']:.3f}", *_point(point)])
    words = f"every threshold of {name} (serves at {row['served_threshold']:.3f})"
    table = rows_table(("threshold", *OUTCOME), rows, marked)
    return f"<details><summary>{escape(words)}</summary>{table}</details>"


def _decade(value: float) -> int:
    power = -3
    while 10.0 ** (power + 1) <= value:
        power += 1
    return power


def _top(value: float) -> float:
    """A round upper end for a share."""
    return next((end for end in (0.05, 0.1, 0.2, 0.3, 0.5) if value <= end), 1.0)
