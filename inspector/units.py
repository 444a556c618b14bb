"""A value with its unit, as people write it, in the unit that a key or an option counts in."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_SIZES = {
    "um": ("length", 1e-3), "\u03bcm": ("length", 1e-3), "mm": ("length", 1.0), "cm": ("length", 10.0),
    "m": ("length", 1e3), "in": ("length", 25.4),
    "us": ("time", 1e-3), "\u03bcs": ("time", 1e-3), "usec": ("time", 1e-3),
    "ms": ("time", 1.0), "msec": ("time", 1.0), "s": ("time", 1e3), "sec": ("time", 1e3),
    "min": ("time", 6e4), "h": ("time", 3.6e6),
    "mm/s": ("speed", 1.0), "cm/s": ("speed", 10.0), "m/s": ("speed", 1e3), "m/min": ("speed", 1e3 / 60),
    "kb": ("memory", 1e-3), "mb": ("memory", 1.0), "gb": ("memory", 1e3), "tb": ("memory", 1e6),
    "px": ("pixels", 1.0), "fps": ("rate", 1.0), "hz": ("rate", 1.0), "1/s": ("rate", 1.0),
}  # fmt: skip
"""Unit -> what it measures, and how many of the first unit of that kind it is."""
_IN_NAMES = {"mm_s": "mm/s", "fps": "fps", "per_s": "1/s"}
"""How a name ends whose unit cannot be written in it."""


def unit_of(name: str) -> str | None:
    """The unit that a key such as `deadline_ms` or `speed-mm-s` counts in; None for one without."""
    name = name.replace("-", "_").lower()
    for ending, unit in _IN_NAMES.items():
        if name == ending or name.endswith(f"_{ending}"):
            return unit
    ending = name.rpartition("_")[2]
    return ending if "_" in name and ending in _SIZES else None


def in_unit(text: str, unit: str) -> float | None:
    """`20cm` in mm is 200.0; None for text that is no number with a unit of the same kind."""
    # Keyboards write micro as U+00B5, other programs as the Greek letter, some with a hard space before it.
    text = unicodedata.normalize("NFKC", text).strip().lower()
    found = re.fullmatch(r"([-+]?(?:\d+\.?\d*|\.\d+)) *([a-z\u03bc/0-9]+)", text)
    if found is None or found[2] not in _SIZES:
        return None
    (kind, size), (wanted, one) = _SIZES[found[2]], _SIZES[unit]
    return float(found[1]) * size / one if kind == wanted else None


def shown(value: float) -> str:
    """A measure as people read it, never as a power of ten: `0.1042`, `12.5`, `205,543`.

    value: a finite number. Four significant digits, and all of those before the point.
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{Decimal(f'{value:.4g}'):f}"


def remedy(name: str, text: str) -> str:
    """What to write in the place of `text`: `it counts in mm and takes no unit: 20cm is 200`.

    Only the unit where the text has none of its kind; empty where the name has none.
    """
    unit = unit_of(name)
    if unit is None:
        return ""
    value = in_unit(text, unit)
    return f"it counts in {unit} and takes no unit" + ("" if value is None else f": {text} is {value:.10g}")
