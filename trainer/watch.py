"""Signs that a training goes wrong: a loss that explodes, a network that calls everything good."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median

from inspector.errors import InspectionError
from trainer.config import FitConfig
from trainer.validate import Validation

WINDOW = 50
"""Steps over which the loss must stay high."""
FIRST = 10
"""Steps whose median is the first best."""
FACTOR = 3.0
"""How far above its best the loss must stay."""
ALARM_AT = 0.2
"""Share of the run after which a network should have begun to find something."""
LEAST_CALLED = 0.1
"""A network that marks fewer pixels than this share of the true ones calls nearly everything good."""
LEAST_IOU = 0.1
"""On validation; below it a network has hardly begun to learn."""


class Diverged(InspectionError):
    """The loss exploded or is no number any more; further steps would not mend it."""


@dataclass(slots=True)
class LossWatch:
    """Tells a run that has diverged from one whose loss is merely noisy.

    Diverged: nine in ten of the last 50 losses lie above three times the best level (the lowest median
    of 50 so far) and above half of what guessing costs. Single batches, or thirty in a row, cannot
    do it; a network that is thrown back to what it knew at first can.
    """

    best: float = math.inf
    recent: list[float] = field(default_factory=list)

    def add(self, loss: float, guess: float) -> bool:
        """Note a step's loss; whether the run has diverged. guess: the loss of even probabilities."""
        self.recent = [*self.recent[1 - WINDOW :], loss]
        if len(self.recent) == FIRST:
            self.best = min(self.best, median(self.recent))
        if len(self.recent) < WINDOW:
            return False
        ordered = sorted(self.recent)
        high = ordered[WINDOW // 10] > max(FACTOR * self.best, guess / 2)
        self.best = min(self.best, median(ordered))
        return high


def guess_loss(config: FitConfig) -> float:
    """What a network pays that gives every class the same probability everywhere.

    At most ln K at the output and at each level that is supervised, and Dice's 1.
    """
    return math.log(len(config.classes) + 1) * (1 + sum(config.coarse_shares())) + config.dice


def background_only(found: Validation, progress: float) -> str | None:
    """What to say of a network that after a fifth of the run still calls nearly everything good."""
    if progress < ALARM_AT or found.called is None:
        return None
    if found.called >= LEAST_CALLED or found.score >= LEAST_IOU:
        return None
    return (
        f"After {progress:.0%} of the run the network marks {found.called:.1%} as many pixels as the masks"
        " do: it calls everything good. If that stays, train longer, raise --weight-cap or lower"
        " --learning-rate; `trainer lint` checks the masks."
    )
