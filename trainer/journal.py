"""What a run writes down while it goes: log.jsonl, and TensorBoard's files where asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.board import Board
from trainer.checkpoint import save_atomically, writing
from trainer.escapes import Trade
from trainer.validate import Validation

LOG = "log.jsonl"


class Journal:
    """One line an event. On ranks that do not write, and there alone, `folder` is None."""

    def __init__(
        self, folder: Path | None, elapsed_s: Callable[[], float], board: Board | None = None
    ) -> None:
        self._folder, self._elapsed_s, self.board = folder, elapsed_s, board

    def steps(self, step: int, loss: float, learning_rate: float) -> None:
        """The mean loss of the last steps, and the learning rate now."""
        self.note("steps", step, loss=loss, lr=learning_rate)
        if self.board is not None:
            self.board.steps(step, loss, learning_rate)

    def validated(self, step: int, found: Validation, kept: bool, classes: Sequence[str]) -> None:
        """kept: whether its network is the one that is served now."""
        choices = [asdict(choice) for choice in found.choices]
        self.note("validation", step, score=found.score, called=found.called, kept=kept, classes=choices)
        if self.board is not None:
            self.board.validated(step, found, classes)

    def escape_curve(self, step: int, name: str, trades: Sequence[Trade]) -> None:
        """What each threshold of a class would miss and invent."""
        self.note("escape curve", step, name=name, trades=[asdict(trade) for trade in trades])

    def go_back_to(self, step: int) -> None:
        """Drop the lines of later steps, which are done again, and one that a power cut has torn."""
        path = None if self._folder is None else self._folder / LOG
        if path is not None and path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = "".join(f"{line}\n" for line in lines if _step_of(line) <= step)
            save_atomically(path, lambda file: file.write(kept.encode()))
        self.note("resumed", step)

    def flush(self) -> None:
        """Write out what is still in memory."""
        if self.board is not None:
            self.board.flush()

    def note(self, kind: str, step: int, **values: Any) -> None:
        """Append one line to the log."""
        if self._folder is None:
            return
        line = {"kind": kind, "step": step, "elapsed_s": round(self._elapsed_s(), 2)}
        with writing(self._folder / LOG) as path, path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | values) + "\n")


def _step_of(line: str) -> float:
    """The step of a line of the log; infinite for a torn one."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf
