"""How much of the time between two frames each stage uses, and a warning before frames are late.

The stages work side by side, so a line keeps up while each one is done with a frame before the next
comes; and a verdict is in time while all of them together stay within the deadline. The budget
looks at the slowest frame in twenty of the last seconds, since those are the first to be late.
"""

from __future__ import annotations

import itertools
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from inspector.recorder import Recorded
from inspector.speed import WARN_SHARE

CLEAR_SHARE = 0.7
"""A warning ends below this share, so that a line at the limit does not warn each second anew."""
WINDOW_S = 10.0
LEAST_FRAMES = 20
"""With fewer frames in the window nothing is said: one in twenty is not a number yet."""
TOTAL = "total"
ONE_BY_ONE = ("infer", "judge")
"""Stages that take one frame at a time; the recorder takes several in one commit."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one committed frame took."""

    number: int
    grab_s: float
    """Monotonic seconds."""
    committed_s: float
    ms: dict[str, float] = field(default_factory=dict)
    """infer, judge, record, and total from grab to commit; empty for a frame that was not computed."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What the frames of the last seconds took: 95th percentiles, in milliseconds."""

    frames: int = 0
    """So many of them were computed."""
    ms: dict[str, float] = field(default_factory=dict)
    """By stage, and total."""
    period_ms: float | None = None
    """Median time between two grabs; None where frames wait for the line, as those of a file do."""
    deadline_ms: float | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Of the time between frames by stage, of the deadline for the total; without what has no limit."""
        limits = {name: self.deadline_ms if name == TOTAL else self.period_ms for name in self.ms}
        return {name: self.ms[name] / limit for name, limit in limits.items() if limit}

    @property
    def worst(self) -> tuple[str, float] | None:
        """The largest share that makes frames late, by name; None when nothing is limited."""
        late = {name: share for name, share in self.shares.items() if name in (*ONE_BY_ONE, TOTAL)}
        return max(late.items(), key=lambda one: one[1], default=None)

    def words(self) -> str:
        """The largest share, short enough for one line of a screen."""
        if self.worst is None:
            return ""
        name, share = self.worst
        if name == TOTAL:
            return f"grab to ledger uses {share:.0%} of the deadline"
        return f"{name} uses {share:.0%} of the frame period"


def spent(record: Recorded) -> Spent:
    """What this frame took, by stage."""
    inspection = record.inspection
    frame, stages = inspection.frame, inspection.stages_ms
    committed_s, grab_s = record.committed_mono_ns / 1e9, frame.mono_ns / 1e9
    if "infer" not in stages:
        return Spent(frame.number, grab_s, committed_s)
    ms = {
        "infer": stages["infer"],
        "judge": stages.get("defects", 0.0) + stages.get("judge", 0.0),
        "record": (record.committed_mono_ns - inspection.judged_mono_ns) / 1e6,
        TOTAL: 1000 * (committed_s - grab_s),
    }
    return Spent(frame.number, grab_s, committed_s, ms)


def budget_of(frames: Sequence[Spent], deadline_ms: float | None, *, live: bool) -> Budget:
    """The budget of these frames, in any order. live: they come whether the line is ready or not."""
    computed = [one.ms for one in frames if one.ms]
    names = computed[0] if computed else {}
    ms = {name: _p95([one[name] for one in computed]) for name in names}
    return Budget(len(computed), ms, _period_ms(frames) if live else None, deadline_ms)


def _p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def _period_ms(frames: Sequence[Spent]) -> float | None:
    """Median time from one number to the next: a pause is one long interval and does not count."""
    ordered = sorted(frames, key=lambda one: one.number)
    steps = [
        1000 * (after.grab_s - before.grab_s) / (after.number - before.number)
        for before, after in itertools.pairwise(ordered)
        if after.number > before.number
    ]
    return statistics.median(steps) if steps else None


class BudgetWatch:
    """Remembers the last seconds, and says once when the budget runs out and once when it is well again.

    Frames are added by the recorder's thread; looked at by one other.
    """

    def __init__(
        self, deadline_ms: float | None, *, live: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._deadline_ms, self._live, self._clock = deadline_ms, live, clock
        self._frames: deque[Spent] = deque(maxlen=3000)
        self._lock = threading.Lock()
        self.budget = Budget()
        self.warning = ""
        """What an operator reads while the budget is nearly used up; empty while all is well."""

    def add(self, records: Iterable[Recorded]) -> None:
        """Count committed records."""
        with self._lock:
            self._frames.extend(spent(record) for record in records)

    def look(self) -> tuple[str, str] | None:
        """Sum up the last seconds; (kind, words) of an event when the warning begins or ends."""
        oldest = self._clock() - WINDOW_S
        with self._lock:
            frames = [one for one in self._frames if one.committed_s >= oldest]
        budget = self.budget = budget_of(frames, self._deadline_ms, live=self._live)
        if budget.frames < LEAST_FRAMES or budget.worst is None:
            return None
        share, warned = budget.worst[1], bool(self.warning)
        if share > WARN_SHARE or (warned and share >= CLEAR_SHARE):
            self.warning = budget.words()
            return None if warned else ("budget_warning", self._advice(budget))
        self.warning = ""
        return ("budget_ok", f"The line has time to spare again: {budget.words()}.") if warned else None

    @staticmethod
    def _advice(budget: Budget) -> str:
        period = "" if budget.period_ms is None else f", with {budget.period_ms:.0f} ms between frames"
        late = "late" if budget.worst is not None and budget.worst[1] > 1 else "close to late"
        return (
            f"One frame in twenty is {late}: {budget.words()}{period}; slow the line down, or see"
            " `inspector plan` for what this computer can do."
        )
