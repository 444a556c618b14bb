"""What the line's bounds on memory, cost and start say for themselves, row by row; both pages show them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rows import RESULTS

Row = dict[str, Any]


class Bound(NamedTuple):
    """One benchmark that has a script and a bar of its own."""

    name: str
    """Of its script in benchmarks/, and of its rows."""
    what: str
    least: str
    figure: Callable[[Row], str]


def memory(row: Row) -> str:
    """Of each size: what was resident, whether one tile is refused, and whether the result is the same."""

    def words(name: str, case: Row) -> str:
        line, same = case["line"], "equal" if case["defects_equal"] else "NOT equal"
        return (
            f"{name} MP: {line['rss_mb']:.0f} MB resident over {line['frames']} frames, as one tile"
            f" {'refused' if case['refusal'] else 'NOT refused'}; against one piece"
            f" {case['mask_pixels_changed']} pixels of the mask differ, {case['defects']} defects {same}"
        )

    return "; ".join(words(name, case) for name, case in row["cases"].items())


def flat(row: Row) -> str:
    """The slope with its interval."""
    growth, rss = row["growth_per_10000"], row["rss_mb"]
    return (
        f"{growth['mb']:+.2f} MB over 10,000 frames (95 % interval {growth['low']:+.2f} to"
        f" {growth['high']:+.2f}), {rss['first']:.0f} MB at first and {rss['last']:.0f} MB {row['frames']}"
        f" frames later, {row['verdicts']['REJECT']} rejects with evidence"
    )


def linear(row: Row) -> str:
    """Milliseconds a megapixel at each size."""
    each = ", ".join(f"{mp} MP {ms:.0f}" for mp, ms in row["ms_per_mp"].items())
    return (
        f"furthest from linear {row['off']:.1%}, in processor time {row['off_cpu']:.1%}; milliseconds a"
        f" megapixel: {each} ({row['precision']['100']}, medians of {row['rounds']} rounds)"
    )


def second_start(row: Row) -> str:
    """First and second start of each case."""
    return "; ".join(
        f"{name}: {one['median_s']:.2f} s, at most {one['max_s']:.2f} of {row['rounds']} (the first"
        f" {one['first_s']:.2f})"
        for name, one in row["cases"].items()
    )


BOUNDS = (
    Bound("memory", "resident memory, base 16 depth 4", "12 MP <= 1.0 GB, 100 MP <= 1.5 GB", memory),
    Bound("flat", "resident memory over 10,000 frames", "<= 10 MB more", flat),
    Bound("linear", "time a frame against pixels, 1 to 100 MP", "linear within 15 %", linear),
    Bound("second_start", "second start of the engine, from the compiled-model cache", "< 1 s", second_start),
)


def newest_row(name: str, results: Path = RESULTS) -> Row | None:
    """The newest row of one of these; None before its first run. Of memory, rows from before it had cases
    do not count."""
    path = results / f"{name}.jsonl"
    if not path.exists():
        return None
    rows: list[Row] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return next((row for row in reversed(rows) if name != "memory" or "cases" in row), None)
