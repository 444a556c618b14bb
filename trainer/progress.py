"""How a training run is seen: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from trainer.validate import Validation

PLAIN_EVERY_S = 10.0
SILENT_S = 50.0
"""Longest silence where no bar moves: a validation or a slow step must not look like a hang."""
LOOK_EVERY_S = 5.0
SMOOTHING = 0.05


def clock(seconds: float | None) -> str:
    """75 -> `1:15`, 3700 -> `1:01:40`, unknown -> `-`."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def line(text: str) -> None:
    """Print it on stderr at once."""
    print(text, file=sys.stderr, flush=True)


class StillAtWork:
    """Says that something is still at work whenever nothing else was said for a while."""

    def __init__(self, doing: str, say: Callable[[str], None] = line) -> None:
        """doing: what was done last, or is being done."""
        self.doing = doing
        self._say = say
        self._began = self._said = time.monotonic()
        self._over = threading.Event()

    def __enter__(self) -> StillAtWork:
        threading.Thread(target=self._keep_talking, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def silent_s(self) -> float:
        """Seconds since something was said."""
        return time.monotonic() - self._said

    def heard(self) -> None:
        """Something was said, by whomever."""
        self._said = time.monotonic()

    def say_when_silent(self) -> None:
        """A line, if none was printed for a while."""
        if self.silent_s() >= SILENT_S:
            self._say(f"still at work after {clock(time.monotonic() - self._began)}: {self.doing}")
            self.heard()

    def _keep_talking(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.say_when_silent()


class Display:
    """Shows steps, loss, time left and validation scores on stderr."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._console = Console(file=sys.stderr)
        self._loss: float | None = None
        self._score = "not yet"
        self._work = StillAtWork("no step is done yet", self._line)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            words = "  ".join(f"{name} {{task.fields[{name}]}}" for name in ("step", "loss", "score", "left"))
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn(words), console=self._console
            )
            fields: dict[str, Any] = {"step": 0, "loss": "-", "score": self._score, "left": "-"}
            self._task = self._bar.add_task("training", total=1.0, **fields)
            self._bar.start()
        else:
            self._work.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.__exit__(kind, error, trace)
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int, progress: float, left_s: float | None, loss: float) -> None:
        """One step is done. loss: its own; shown smoothed."""
        self._loss = loss if self._loss is None else self._loss + SMOOTHING * (loss - self._loss)
        self._work.doing = f"step {step} is done"
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                completed=progress,
                step=step,
                loss=f"{self._loss:.3f}",
                score=self._score,
                left=clock(left_s),
            )
        elif self._work.silent_s() >= PLAIN_EVERY_S:
            self._line(f"step {step}  {progress:4.0%}  loss {self._loss:.3f}  left {clock(left_s)}")

    def validated(self, step: int, found: Validation, kept: bool) -> None:
        """A validation is done; `kept` when its network is the one that is served now."""
        self._score = f"{found.score:.3f}"
        parts = [
            f"{name} {choice.iou:.3f}" if choice.iou is not None else f"{name} not shown"
            for name, choice in zip(self._classes, found.choices, strict=True)
        ]
        any_shown = any(choice.iou is not None for choice in found.choices)
        shown = ", ".join(parts) if any_shown else "no validation frame shows a defect"
        self._line(f"step {step}  validation IoU {found.score:.3f} ({shown}){'  kept' if kept else ''}")

    def notice(self, words: str) -> None:
        """What the run does now, where no step is made for a while."""
        self._line(words)

    def finishing(self, words: str, done: int, frames: int) -> None:
        """The training is over and its outcome is made ready; done: of the validation frames."""
        self._work.doing = f"{words}, {done} of {frames} validation frames"
        if self._bar is not None and self._task is not None:
            share = done / frames if frames else 1.0
            self._bar.update(self._task, description=words, completed=share, left="nearly done")
        elif done == 0 or self._work.silent_s() >= PLAIN_EVERY_S:
            self._line(f"{words}: {done} of {frames} validation frames")

    def alarm(self, words: str) -> None:
        """Something looks wrong, though the run goes on."""
        self._line(f"Warning: {words}")

    def _line(self, text: str) -> None:
        self._work.heard()
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        else:
            line(text)


class Quiet:
    """What the other processes of a run show: nothing."""

    def step(self, step: int, progress: float, left_s: float | None, loss: float) -> None: ...

    def validated(self, step: int, found: Validation, kept: bool) -> None: ...

    def notice(self, words: str) -> None: ...

    def finishing(self, words: str, done: int, frames: int) -> None: ...

    def alarm(self, words: str) -> None: ...
