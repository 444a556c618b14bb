"""Classes that no validation frame shows: nothing chooses their thresholds or counts what is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from inspector.counting import counted
from inspector.types import Mask


def unshown_classes(
    classes: Sequence[str], train: Iterable[Mask], validation: Iterable[Mask]
) -> dict[str, int]:
    """Of each class that no validation mask shows: how many training masks do.

    classes: names of the ids from 1 on.
    """
    validated, trained = _frames_of_each(validation), _frames_of_each(train)
    return {name: int(trained[n]) for n, name in enumerate(classes, start=1) if not validated[n]}


def unshown_words(unshown: Mapping[str, int]) -> str:
    """What to say of them, and what to do."""
    each = " or ".join(f"{name} ({counted(frames, 'training frame')})" for name, frames in unshown.items())
    return (
        f"No validation frame shows {each}: nothing will choose a threshold there, which stays a guess, nor"
        " tell what is found. Label more parts with such defects."
    )


def _frames_of_each(masks: Iterable[Mask]) -> list[int]:
    """For each class id the masks that hold it."""
    frames = np.zeros(256, np.int64)
    for mask in masks:
        frames += np.bincount(mask.ravel(), minlength=256) > 0
    return [int(n) for n in frames]
