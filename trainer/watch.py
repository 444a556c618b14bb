"""Signs that a training goes wrong: a loss that explodes, a network that calls everything good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from inspector.counting import counted
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
CLASS_ALARM_AT = 0.4
"""Share of the run after which it should have begun to find something of each class. Rare and small ones
wake late: magnetic_tile's breaks had an IoU of 0.07 a third into a run that ended at 0.37."""
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
    of 50 so far, or what guessing costs where it was never better) and above half of what guessing costs.
    Single batches, or thirty in a row, cannot do it; a network that is thrown back to what it knew at
    first can, and one that is blown up before its first steps are done.
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
        high = ordered[WINDOW // 10] > max(FACTOR * min(self.best, guess), guess / 2)
        self.best = min(self.best, median(ordered))
        return high

    def held_against(self, guess: float) -> tuple[str, float]:
        """What the losses are measured by, in words, and its value."""
        return ("its best", self.best) if self.best < guess else ("what guessing costs", guess)


def guess_loss(config: FitConfig) -> float:
    """What a network pays that gives every class the same probability everywhere.

    At most ln K at the output and at each level that is supervised, and Dice's 1.
    """
    return math.log(len(config.classes) + 1) * (1 + sum(config.coarse_shares())) + config.dice


def background_only(found: Validation, progress: float) -> str | None:
    """What to say of a network that after a fifth of the run still calls nearly everything good."""
    true = sum(choice.pixels for choice in found.choices)
    if progress < ALARM_AT or not found.called or not true:
        return None
    called = sum(found.called) / true
    if called >= LEAST_CALLED or found.score >= LEAST_IOU:
        return None
    return (
        f"After {progress:.0%} of the run the network marks {called:.1%} as many pixels as the masks"
        " do: it calls everything good. If that stays, train longer, raise --weight-cap or lower"
        " --learning-rate; `trainer lint` checks the masks."
    )


def silent_classes(
    found: Validation, progress: float, classes: Sequence[str]
) -> dict[str, tuple[int, float]]:
    """Classes that after two fifths of the run the network still finds next to nothing of.

    Of each: its defects among the validation frames, and the pixels that it is given over its true
    ones. Classes that no validation frame shows are not among them: nothing tells.
    """
    if progress < CLASS_ALARM_AT or not found.called:
        return {}
    return {
        name: (choice.defects, called / choice.pixels)
        for name, choice, called in zip(classes, found.choices, found.called, strict=True)
        if choice.iou is not None and called < LEAST_CALLED * choice.pixels and choice.iou < LEAST_IOU
    }


def silent_words(silent: Mapping[str, tuple[int, float]], progress: float) -> str:
    """What to say of the classes that `silent_classes` found, and what to do."""
    each = [
        f"{name} ({called:.1%} as many pixels as its {counted(defects, 'defect')} there)"
        for name, (defects, called) in silent.items()
    ]
    return (
        f"After {progress:.0%} of the run the network marks hardly anything as {' or '.join(each)} on the"
        " validation frames. If that stays, such defects pass as good: label more of them, train longer or"
        " raise --weight-cap; `trainer lint` shows how rare they are and checks their masks."
    )
