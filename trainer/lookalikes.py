"""Validation frames that show what also trains: a score on them flatters, and so do thresholds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from inspector.inputs import to_input
from inspector.types import Image
from trainer.dataset import Sample
from trainer.lint.twins import crowded, grouped, shrunk, twins
from trainer.seen import picture_sha256

log = logging.getLogger(__name__)

MOST_FRAMES = 2000
"""Beyond, all pairs take too long for the start of a training; `trainer lint` looks at any number."""
MOST_NAMES = 3
Shown: TypeAlias = tuple[Sample, Image]
"""A frame and its picture, uint8 (H, W) or (H, W, 3)."""


def warn_of_lookalikes(train: Sequence[Shown], held_out: Sequence[Shown]) -> None:
    """Log one warning when validation frames show the same thing as training frames of another part.

    Says nothing of a folder with a parts.json, whose owner knows better, nor where the frames of a line
    all look alike, nor of more than MOST_FRAMES frames, nor where the same frames train and validate.
    """
    train, held_out = _of_unknown_part(train), _of_unknown_part(held_out)
    both = [*train, *held_out]
    same = {sample.image_path for sample, _ in train} & {sample.image_path for sample, _ in held_out}
    if not train or not held_out or same or len(both) > MOST_FRAMES:
        return
    sides = np.repeat([0, 1], [len(train), len(held_out)])
    pairs = twins(
        [shrunk(to_input(image, 1)) for _, image in both], [picture_sha256(image) for _, image in both], sides
    )
    crowd = {index for group in crowded(grouped(len(both), pairs), len(both)) for index in group}
    known = {pair.other: pair.one for pair in pairs if sides[pair.one] < sides[pair.other]}
    known = {other: one for other, one in sorted(known.items()) if other not in crowd}
    if known:
        names = [f"{both[other][0].stem} = {both[one][0].stem}" for other, one in known.items()]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        log.warning(
            "%d of %d validation frames show the same thing as a training frame, so that score and"
            " thresholds flatter the network: %s%s. If each pair shows one part, say so in a parts.json;"
            " `trainer lint %s --write-parts NEW.json` proposes one.",
            len(known),
            len(held_out),
            ", ".join(names[:MOST_NAMES]),
            more,
            held_out[0][0].folder,
        )


def _of_unknown_part(frames: Sequence[Shown]) -> list[Shown]:
    told = {sample.folder: (sample.folder / "parts.json").exists() for sample, _ in frames}
    return [(sample, image) for sample, image in frames if not told[sample.folder]]
