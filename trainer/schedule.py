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

    def elapsed_s(self) -> float:
        """Seconds of all sittings."""
        return time.monotonic() - self._start

    def progress(self, step: int) -> float:
        """Share of the run that is done before `step` (0 is the first), 0 to 1."""
        if self._config.steps is not None:
            return min(1.0, step / self._config.steps)
        assert self._config.minutes is not None
        return min(1.0, self.elapsed_s() / (60 * self._config.minutes))

    def left_s(self, step: int) -> float:
        """Estimated seconds to the end; 0 while nothing can be said."""
        progress = self.progress(step)
        return self.elapsed_s() * (1 - progress) / progress if progress > 0 else 0.0

    def learning_rate(self, progress: float) -> float:
        """Linear from 0 in the warm-up, then linear to 0 at the end."""
        warm_up, rate = self._config.warm_up, self._config.learning_rate
        if progress < warm_up:
            # Never quite 0: the first step must move.
            return rate * max(0.01, progress / warm_up)
        return rate * (1 - progress) / (1 - warm_up)
