"""A qualification in its folder: written whole after each finished measurement, and gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspector.durable import unwritable, write_durably
from inspector.errors import UsageError

Figures = dict[str, Any]

FORMAT = 2
"""Of the JSON."""
JSON, PAGE = "qualification.json", "qualification.md"
REFERENCES = "reference-*.npy"
"""Answers that the engines of one network and frame are held against, until the last of them is done."""
_SAME = {
    "format": "in another form",
    "version": "of another version",
    "machine": "of another machine",
    "scope": "with other sizes, times or limits",
    "packages": "of other networks",
}
"""What must agree for a measurement to be gone on with -> what the other one is where it does not."""


class Kept:
    """The figures so far, and the folder that they lie in."""

    def __init__(self, out: Path, figures: Figures, page: Callable[[Figures], str]) -> None:
        self.out, self.figures, self._page = out, figures, page

    @property
    def finished(self) -> bool:
        return self.figures["finished"] is not None

    def row(self, network: str, frame: tuple[int, int], engine: str) -> Figures | None:
        """The row of this network, frame and engine, or None while it is not measured."""
        wanted = (network, list(frame), engine)
        return next((row for row in self.figures["rows"] if _key(row) == wanted), None)

    def with_row(self, row: Figures) -> list[Figures]:
        """The rows with this one, in the place of an earlier one of the same key."""
        rows = {str(_key(one)): one for one in self.figures["rows"]}
        return [*{**rows, str(_key(row)): row}.values()]

    def save(self, **changes: Any) -> None:
        """Write page and figures with these changes: the JSON last, whole or not at all.

        Raises UsageError or InspectionError where the folder cannot be written.
        """
        # As JSON gives it back, so that a page is the same now and later.
        self.figures = json.loads(json.dumps({**self.figures, **changes}))
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            write_durably(self.out / PAGE, [self._page(self.figures).encode()])
            write_durably(self.out / JSON, [(json.dumps(self.figures, indent=2) + "\n").encode()])
        except OSError as error:
            raise unwritable(self.out, error) from error


def begin(out: Path, head: Figures, page: Callable[[Figures], str], again: bool) -> Kept:
    """What the folder holds of this very qualification, else an empty one. Writes nothing yet.

    head: format, version, machine, scope and packages, which must agree, and the command. again: start
    over, whatever lies there. Raises UsageError where another qualification, or none that can be read,
    lies in the folder.
    """
    head = json.loads(json.dumps(head))
    found = None if again else _read(out / JSON)
    if found is None:
        for left in out.glob(REFERENCES):
            left.unlink(missing_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        empty: Figures = {
            "began": now,
            "finished": None,
            "notes": [],
            "engines": [],
            "rows": [],
            "soak": None,
        }
        return Kept(out, {**head, **empty}, page)
    for key, words in _SAME.items():
        if found.get(key) != head[key]:
            raise UsageError(
                f"{out} holds a qualification {words}; give another --out, or start over with --again."
            )
    return Kept(out, found, page)


def _key(row: Figures) -> tuple[str, list[int], str]:
    return row["network"], list(row["frame"]), row["engine_name"]


def _read(path: Path) -> Figures | None:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read ({type(error).__name__}); give another --out, or start over with --again."
        ) from error
    return found if isinstance(found, dict) else {}
