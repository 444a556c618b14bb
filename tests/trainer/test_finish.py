"""The end of a run: what the thresholds become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from trainer.finish import KeptMaps, _for_escapes
from trainer.thresholds import ClassChoice


class Maps:
    """One frame of twelve defects of each class, all of one probability (of 255)."""

    def __init__(self, *levels: int) -> None:
        self._levels = levels

    def __iter__(self) -> Iterator[Any]:
        truth = np.zeros((12 * len(self._levels), 100), np.uint8)
        probs = np.zeros((*truth.shape, len(self._levels)), np.uint8)
        for k, level in enumerate(self._levels):
            for n in range(12):
                where = slice(12 * k + 4, 12 * k + 8), slice(8 * n + 1, 8 * n + 5)
                truth[where], probs[where][..., k] = k + 1, level
        yield probs, (truth, truth, None)


def test_a_class_of_which_no_level_finds_anything_is_not_silenced() -> None:
    """A rare class's calibrated probabilities may all lie below the lowest level, 0.1."""
    before = tuple(ClassChoice(0.05, 0.3, 12, 192) for _ in range(2))
    chosen = _for_escapes(before, cast(KeptMaps, Maps(20, 200)), ("pit", "stain"), 0.01, lambda *_: None)
    assert chosen[0] == before[0]
    assert chosen[1].threshold == 179 / 255 and chosen[1].iou == 1.0
    assert chosen[0].escape_target is None and chosen[1].escape_target == 0.01
