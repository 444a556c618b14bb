"""The section of the page that shows what it costs in false alarms to miss fewer defects."""

from __future__ import annotations

from html import escape
from typing import Any

from trainer.escapes import LEVELS, outcomes
from trainer.report.chart import Axis, Series, chart, key
from trainer.report.html import rows_table
from trainer.report.style import MISSED, SERIES
from trainer.report.words import COUNTED, count, interval, percent, percents, rate

OUTCOME = ("found", "missed", "95 % interval", "false alarms a frame", "95 % interval")
EVERY = "all classes"


def trade(figures: dict[str, Any]) -> str:
    """Escapes against false alarms: what the target asks for, and a chart and a table for each class."""
    if "escape" not in figures:
        return ""
    escapes = figures["escape"]
    rows = {**escapes["classes"], EVERY: escapes["all"]}
    if len(escapes["classes"]) == 1:
        del rows[EVERY]
    shown = {name: row for name, row in rows.items() if row["at_target"] is not None}
    plots = "".join(_figure(name, row, escapes["target"]) for name, row in shown.items())
    tables = "".join(_trade_table(name, row) for name, row in shown.items())
    one = " one" if len(shown) == 1 else ""
    return (
        f"<h2>Escapes against false alarms</h2><p>{_said(escapes)}</p>{_summary(rows)}{_note(COUNTED)}"
        f'<div class="charts{one}">{plots}</div>{tables}'
    )


def _said(escapes: dict[str, Any]) -> str:
    said = (
        f"The target: miss no more than {100 * escapes['target']:g} % of the defects. 'Serves' is the model"
        " as it is, each class at its own threshold. Each other point puts one threshold on all classes,"
        f" from {LEVELS[0] / 255:.3f} to {LEVELS[-1] / 255:.3f}; a lower one misses fewer defects and mostly"
        " raises more false alarms. So the served point need not lie on the curve, and the points of several"
        " classes do not add up: what they cost together stands in the row of all classes."
        " These frames only show the trade; thresholds are chosen on validation frames, by trainer fit"
        " with --escape-target."
    )
    if escapes["defects_needed"]:
        said += f" To prove the target, {escapes['defects_needed']:,} defects of a class must all be found."
    return said


def _note(words: str) -> str:
    return f'<p class="note">{escape(words)}</p>'


def nothing_found(row: dict[str, Any]) -> str:
    """What to say of a class without a curve."""
    total = row["served"]["total"]
    if not total:
        return "no frame shows such a defect"
    return (
        f"finds none of this class at any threshold tried, {LEVELS[0] / 255:.3f} to {LEVELS[-1] / 255:.3f}"
        f" ({count(0, total)})"
    )


def _summary(rows: dict[str, Any]) -> str:
    """How each class serves, and the threshold that does better by the target where there is one."""
    lines: list[list[str]] = []
    for name, row in rows.items():
        lines.append([name, _serves(row), *_point(row["served"])])
        if row["advice"] == "at_target":
            lines.append(["", f"all at {row['at_target']['threshold']:.3f}", *_point(row["at_target"])])
    said = "".join(f"<li>{escape(name)}: {escape(_verdict(row))}.</li>" for name, row in rows.items())
    return f"{rows_table(('class', 'threshold', *OUTCOME), lines)}<ul>{said}</ul>"


def _serves(row: dict[str, Any]) -> str:
    own = row["served_threshold"]
    return "serves" if own is None else f"serves at {own:.3f}"


def _verdict(row: dict[str, Any]) -> str:
    at = row["at_target"]
    if at is None:
        return nothing_found(row)
    kept = "keeps the target" if row["served_reached"] else "misses more than the target"
    if row["advice"] == "served":
        return f"{kept} as it serves, and no threshold tried does better"
    if row["served_reached"]:
        return f"keeps the target as it serves, and at {at['threshold']:.3f} with fewer false alarms"
    more = "" if row["reached"] else "; the target is out of reach, and fewest are missed"
    return f"{kept} as it serves{more or ', and keeps it'} at {at['threshold']:.3f}"


def _point(point: dict[str, Any]) -> list[str]:
    if not point["total"]:
        found = [count(0, 0), *["–"] * 2]
    else:
        missed = [1 - bound for bound in reversed(point["recall_95"])]
        found = [count(point["found"], point["total"]), percent(1 - point["recall"], None), percents(missed)]
    return [
        *found,
        rate(point["false_alarms_per_frame"], 2),
        interval(point["false_alarms_per_frame_95"], 2),
    ]


def _figure(name: str, row: dict[str, Any], target: float) -> str:
    points, served = outcomes(row["points"]), row["served"]
    alarms = [p["false_alarms_per_frame"] for p in points]
    missed = [1 - p["recall"] for p in points]
    bounds = tuple((1 - p["recall_95"][1], 1 - p["recall_95"][0]) for p in points)
    y = Axis("share of defects missed", 0.0, _top(max(1 - served["recall"], *(end for _, end in bounds))))
    x = _alarm_axis([*alarms, served["false_alarms_per_frame"]])
    marks = [(served["false_alarms_per_frame"], 1 - served["recall"], "serves")]
    if row["advice"] == "at_target":
        best = row["at_target"]
        words = f"{'target' if row['reached'] else 'fewest missed'}: t = {best['threshold']:.3f}"
        marks.append((best["false_alarms_per_frame"], 1 - best["recall"], words))
    curve = tuple(zip(alarms, missed, strict=True))
    words = f"{name}, one threshold for all classes, with 95 % interval"
    line = Series(words, SERIES[0], curve, bounds, whiskers=True, marks=tuple(marks))
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
    rows = [[_serves(row), *_point(row["served"])]]
    marked = {0: "mark"} if row["advice"] == "served" else {}
    for n, point in enumerate(row["points"], start=1):
        if row["advice"] == "at_target" and point["threshold"] == row["at_target"]["threshold"]:
            marked[n] = "mark"
        rows.append([f"{point['threshold']:.3f}", *_point(point)])
    table = rows_table(("threshold", *OUTCOME), rows, marked)
    return f"<details><summary>{escape(f'every threshold of {name}')}</summary>{table}</details>"


def _decade(value: float) -> int:
    power = -3
    while 10.0 ** (power + 1) <= value:
        power += 1
    return power


def _top(value: float) -> float:
    """A round upper end for a share."""
    return next((end for end in (0.05, 0.1, 0.2, 0.3, 0.5) if value <= end), 1.0)
