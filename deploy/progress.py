"""How far a compilation is: TensorRT's nested phases as one share, and a line on stderr for people."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from inspector.engine.tensorrt_api import TensorRt

Report: TypeAlias = Callable[[float, str], bool]
"""(share done 0 to 1, phase) -> False to cancel."""

_PLAIN_EVERY_S = 10.0
_BAR = 30


@dataclass(slots=True)
class _Phase:
    name: str
    steps: int
    done: int = 0


class Phases:
    """Share done of the outermost phase, each inner one counting as a step of the one around it."""

    def __init__(self) -> None:
        self._open: list[_Phase] = []

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins. parent: the phase of which it is a step, None for an outermost one."""
        while self._open and self._open[-1].name != parent:
            self._open.pop()
        self._open.append(_Phase(name, max(1, steps)))

    def step(self, name: str, step: int) -> None:
        """Step number `step` (the first is 0) of a phase is done."""
        for phase in self._open:
            if phase.name == name:
                phase.done = min(phase.steps, step + 1)

    def finish(self, name: str) -> None:
        """A phase and all within it are over."""
        names = [phase.name for phase in self._open]
        if name in names:
            del self._open[names.index(name) :]

    def share(self) -> float:
        """0 to 1; 1 when nothing is open."""
        if not self._open:
            return 1.0
        inner = 0.0
        for phase in reversed(self._open):
            inner = min(1.0, (phase.done + inner) / phase.steps)
        return inner

    def name(self) -> str:
        """The innermost phase that is open."""
        return self._open[-1].name if self._open else "done"


def monitor_of(trt: TensorRt, report: Report) -> Any:
    """An IProgressMonitor that tells `report`; its base exists only once TensorRT is loaded."""
    base: Any = trt.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]
        """TensorRT may call it from several threads."""

        def __init__(self) -> None:
            base.__init__(self)  # super() does not reach a pybind class
            self.phases = Phases()
            self.lock = threading.Lock()
            self.going_on = True

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self.lock:
                self.phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self.lock:
                self.phases.step(phase_name, step)
                self.going_on = self.going_on and report(self.phases.share(), self.phases.name())
                return self.going_on

        def phase_finish(self, phase_name: str) -> None:
            with self.lock:
                self.phases.finish(phase_name)

    return Monitor()


class ProgressLine:
    """A bar on a terminal, a plain line each 10 s elsewhere; both on stderr."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = False
        self._began = self._said = time.monotonic()

    def show(self, share: float, phase: str) -> None:
        """So far."""
        now = time.monotonic()
        if self._terminal:
            self._shown = True
            full = round(_BAR * share)
            bar = "#" * full + "-" * (_BAR - full)
            print(
                f"\r[{bar}] {share:4.0%}  {now - self._began:.0f} s  {phase:<44.44}", end="", file=sys.stderr
            )
        elif now - self._said >= _PLAIN_EVERY_S:
            self._said = now
            print(f"{share:4.0%} after {now - self._began:.0f} s: {phase}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the line."""
        if self._shown:
            print(file=sys.stderr)
