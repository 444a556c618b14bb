"""Numbers as a reader meets them, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

NOTHING = "–"
COUNTED = (
    "Found: predicted pixels of its own class cover at least a tenth of the true defect. False alarm: less"
    " than three tenths of the predicted defect lies within 3 px of true ones."
)
"""The line's matching rule, as it stands under each table that counts by it."""
MARKED = (
    "Good: the truth shows no defect. Marked: the network calls a pixel a defect, wherever it lies. The"
    " line's own limits (line.toml) come on top: they may pass what is marked."
)
INTERVALS = (
    "95 % intervals: of 100 such measurements on other parts, about 95 give an interval that holds the true"
    " value. Promise no better than its worse end."
)
"""How to read an interval."""


def reject_rows(marked: dict[str, Any]) -> list[tuple[str, str, dict[str, Any], int]]:
    """(what, what went wrong, its figures, their count) of frames, and of parts where they are told apart."""
    rows = []
    for what in ("frames", "parts"):
        if marked[what] is not None:
            good, bad = marked[what]["good"], marked[what]["bad"]
            rows.append((f"good {what}", "marked", good, good["marked"]))
            rows.append((f"bad {what}", "nothing marked", bad, bad["unmarked"]))
    return rows


def edge(figures: dict[str, Any]) -> str:
    """IoU near the frame's edge beside that of the same classes on whole frames; nothing without any."""
    border, classes = figures["border"], figures["per_class"]
    names = [name for name, iou in border["iou"].items() if iou is not None and name != "background"]
    if not names:
        return ""
    near, whole = (
        sum(ious) / len(names)
        for ious in ([border["iou"][n] for n in names], [classes[n]["iou"] for n in names])
    )
    return (
        f"Within {border['px']} px of the frame's edge the mean IoU of {', '.join(names)} is {rate(near)};"
        f" on whole frames it is {rate(whole)}."
    )


def rate(value: float | None, digits: int = 3) -> str:
    """0.982; a dash for what was not measured."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def interval(bounds: Sequence[float | None] | None, digits: int = 3) -> str:
    """0.955 to 0.990; a dash without one, an open end as `more`."""
    if not bounds or bounds[0] is None:
        return NOTHING
    high = "more" if bounds[1] is None else f"{bounds[1]:.{digits}f}"
    return f"{bounds[0]:.{digits}f} to {high}"


def with_interval(value: float | None, bounds: Sequence[float | None] | None, digits: int = 3) -> str:
    """0.982 (0.955-0.990); without brackets where there is no interval, a dash for what was not measured."""
    between = interval(bounds, digits).replace(" to ", "-")
    return rate(value, digits) + ("" if value is None or between == NOTHING else f" ({between})")


def percent(value: float | None, bounds: Sequence[float | None] | None) -> str:
    """98.2 % (95.5-99.0), as `with_interval`."""
    if value is None:
        return NOTHING
    between = with_interval(100 * value, [None if b is None else 100 * b for b in bounds or ()], 1)
    return " % ".join(between.split(" ")) if " " in between else f"{between} %"


def percents(bounds: Sequence[float | None] | None) -> str:
    """95.5 to 99.0 %, as `interval`."""
    between = interval([None if b is None else 100 * b for b in bounds or ()], 1)
    return between if between == NOTHING else f"{between} %"


def measured(value: float | None, bounds: Sequence[float | None] | None) -> tuple[str, str]:
    """(value, interval) with no digit that the interval does not bear: 0.016 and 0.006 to 0.028.

    Two digits of the interval's own width; three of the value where there is no interval.
    """
    width = 0.0
    if bounds and None not in bounds[:2]:
        low, high = bounds[0] or 0.0, bounds[1] or 0.0
        width = high - low
    scale, kept = (width, 1) if width > 0 else (value or 0.0, 2)
    digits = 3 if not scale else max(2, kept - math.floor(math.log10(abs(scale))))
    return rate(value, digits), interval(bounds, digits)


def count(found: int, total: int) -> str:
    """280 of 286."""
    return f"{found:,} of {total:,}"


def band(row: dict[str, Any]) -> str:
    """The widths of one band in pixels."""
    low, high = row["from_px"], row["to_px"]
    if high is None:
        return f"over {low:g} px"
    return f"up to {high:g} px" if not low else f"{low:g} to {high:g} px"


def many(number: int, word: str) -> str:
    """1 part, 2 parts."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
