"""What a finished group of measurements leaves behind, and whether it has to be measured again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.rows import RESULTS, append_row, machine

Row: TypeAlias = dict[str, Any]
NAME = "speed"


def line_code() -> str:
    """Which line is measured: git's id of the folder inspector/, with `+changes` when it was edited since.

    Not the commit: rows, texts and tests are committed meanwhile, and the line stays the same.
    """
    root = Path(__file__).parent.parent.parent
    tree = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD:inspector"], cwd=root, capture_output=True, text=True
    )
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "inspector"], cwd=root, capture_output=True, text=True
    )
    return (tree.stdout.strip() or "unknown") + ("+changes" if changed.stdout.strip() else "")


def newest(results: Path = RESULTS) -> dict[str, Row]:
    """Group -> its newest row; without those of times when a row had no group."""
    path = results / f"{NAME}.jsonl"
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {row["group"]: row for row in rows if "group" in row}


def finished(group: str, settings: Row, results: Path = RESULTS) -> bool:
    """Whether the group was measured with these settings, on this processor and this very line."""
    row = newest(results).get(group)
    if row is None or row["settings"] != settings or row["machine"]["processor"] != machine()["processor"]:
        return False
    return bool(row["line"] == line_code() and not row["line"].endswith("+changes"))


def keep(group: str, settings: Row, figures: Row) -> None:
    """One more line in results/speed.jsonl, so that a run that is stopped loses one group at most."""
    append_row(NAME, {"group": group, "settings": settings, **figures, "line": line_code()})
