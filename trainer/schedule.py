"""Where a run stands between its start and its end, by steps or by the clock, and what follows from it."""

from __future__ import annotations

import time

from trainer.config import FitConfig


class Schedule:
    """Progress from 0 to 1. With `minutes` the clock runs from construction, so loading counts as well."""

    def __init__(self, config: FitConfig, elapsed_s: float = 0.0) -> None:
        """elapsed_s: what earlier sittings of a resumed run took."""
        self._config = config
        self._start = time.monotonic() - elapsed_s
        self._paced_from: tuple[int, float] | None = None
        """Step and time from which on the pace of this sitting is read, validations included."""

    def elapsed_s(self) -> float:
        """Seconds of all sittings."""
        return time.monotonic() - self._start

    def progress(self, step: int) -> float:
        """Share of the run that is done before `step` (0 is the first), 0 to 1."""
        if self._config.steps is not None:
            return min(1.0, step / self._config.steps)
        assert self._config.minutes is not None
        return min(1.0, self.elapsed_s() / (60 * self._config.minutes))

    def left_s(self, step: int) -> float | None:
        """Estimated seconds to the end when `step` steps are done; None until the pace is known.

        What comes before the first step is no part of the pace.
        """
        elapsed = self.elapsed_s()
        if self._config.steps is None:
            assert self._config.minutes is not None
            return max(0.0, 60 * self._config.minutes - elapsed)
        if self._paced_from is None:
            self._paced_from = (step, elapsed)
        done, began = self._paced_from
        if step >= self._config.steps:
            return 0.0
        if step <= done:
            return None
        return (self._config.steps - step) * (elapsed - began) / (step - done)

    def pace_anew(self) -> None:
        """What was just done is done once, and says nothing of the steps to come."""
        self._paced_from = None

    def learning_rate(self, progress: float) -> float:
        """Linear from 0 in the warm-up, then linear to 0 at the end."""
        warm_up, rate = self._config.warm_up, self._config.learning_rate
        if progress < warm_up:
            # Never quite 0: the first step must move.
            return rate * max(0.01, progress / warm_up)
        return rate * (1 - progress) / (1 - warm_up)
