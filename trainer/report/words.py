"""Numbers as a reader meets them, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NOTHING = "–"


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
