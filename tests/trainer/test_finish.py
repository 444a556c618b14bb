"""The end of a run: what the thresholds become."""

from __future__ import annotations

import numpy as np

from trainer.escapes import EscapeCurve
from trainer.finish import _for_escapes
from trainer.thresholds import ClassChoice


def curve(*levels: int) -> EscapeCurve:
    """Of one frame with twelve defects of each class, all of one probability (of 255)."""
    truth = np.zeros((12 * len(levels), 100), np.uint8)
    probs = np.zeros((*truth.shape, len(levels)), np.uint8)
    for k, level in enumerate(levels):
        for n in range(12):
            where = slice(12 * k + 4, 12 * k + 8), slice(8 * n + 1, 8 * n + 5)
            truth[where], probs[where][..., k] = k + 1, level
    found = EscapeCurve(("pit", "stain")[: len(levels)])
    found.add(probs, truth, None)
    return found


def test_a_class_of_which_no_level_finds_anything_is_not_silenced() -> None:
    """A rare class's calibrated probabilities may all lie below the lowest level, 0.03."""
    before = tuple(ClassChoice(0.05, 0.3, 12, 192) for _ in range(2))
    chosen = _for_escapes(before, curve(5, 200), 0.01)
    assert chosen[0] == before[0]
    assert chosen[1].threshold == 179 / 255 and chosen[1].iou == 1.0
    assert chosen[0].escape_target is None and chosen[1].escape_target == 0.01


def test_a_class_of_low_probabilities_keeps_the_target_as_well() -> None:
    """At 0.06, between the lowest threshold of the best outline, 0.03, and 0.1."""
    (chosen,) = _for_escapes((ClassChoice(0.04, 0.3, 12, 192),), curve(15), 0.0)
    assert chosen.threshold == 13 / 255 and chosen.escape_target == 0.0
