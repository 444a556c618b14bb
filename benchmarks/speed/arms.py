"""What is run beside the line: one arm a tool, each from a whole uint8 frame to a class at each pixel."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inspector.package import ModelPackage
from inspector.types import Image
from trainer.unet import UNet

ClassIds: TypeAlias = NDArray[np.integer[Any]]
"""(H, W), 0 = good."""
LEAST_EQUAL, LEAST_IOU = 0.995, 0.8


@dataclass(frozen=True, slots=True)
class Task:
    """What every arm is given: the same weights, the same frame, the same threads."""

    net: UNet
    package: ModelPackage
    """The same network for the line."""
    normalisation: tuple[float, float]
    """Mean and standard deviation of gray values."""
    frame: Image
    """uint8 (H, W)."""
    threads: int
    folder: Path
    """For files that a tool wants to read."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One tool in one form."""

    name: str
    bar: str
    """Which bar it is held to, shared by the forms of one tool; empty: shown only."""
    version: str
    how: str
    """What exactly one frame is, for the table."""
    seconds: Callable[[], float]
    """Runs one frame, or several, and gives seconds a frame."""
    classes: Callable[[], ClassIds]
    """Runs the frame once and gives what it says, to see that it works."""


def timed_arm(
    labels: tuple[str, str, str, str], run: Callable[[], Any], classes: Callable[[Any], ClassIds]
) -> Arm:
    """An arm whose frame is one call of `run`. labels: name, bar, version, how."""

    def seconds() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return Arm(*labels, seconds, lambda: classes(run()))


def agreement(found: ClassIds, reference: ClassIds) -> dict[str, float]:
    """Share of equal pixels, and the lowest IoU of a class that the reference has."""
    if found.shape != reference.shape:
        return {"equal": 0.0, "lowest_iou": 0.0}
    overlaps = []
    for number in range(1, int(reference.max()) + 1):
        mine, theirs = found == number, reference == number
        union = np.count_nonzero(mine | theirs)
        overlaps.append(float(np.count_nonzero(mine & theirs)) / union if union else 1.0)
    equal = float(np.mean(found == reference))
    return {"equal": round(equal, 6), "lowest_iou": round(min(overlaps, default=0.0), 4)}


def sensible(one: dict[str, float]) -> bool:
    """Whether an arm sees what the line sees.

    Padding and other pooling grids move a pixel here and there, and model_api averages in the whole
    picture shrunk to one tile.
    """
    return one["equal"] >= LEAST_EQUAL and one["lowest_iou"] >= LEAST_IOU
