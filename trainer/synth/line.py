"""The moving line: which part stands where in which frame, and what a user may ask of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspector.errors import UsageError
from trainer.synth.nuisances import NUISANCES
from trainer.synth.surfaces import SURFACES

MAX_PIXELS = 12_600_000
MIN_SIDE = 96


@dataclass(frozen=True, slots=True)
class LineSpec:
    """Everything that decides a generated line; the same spec gives the same pixels.

    Raises UsageError from `checked` for sizes, names or shares that cannot be generated.
    """

    size: tuple[int, int]
    seed: int
    surfaces: tuple[str, ...] = tuple(SURFACES)
    nuisances: tuple[str, ...] = NUISANCES
    clean_share: float = 0.5
    """Share of parts without any defect."""
    contrast: float = 1.0
    """Strength of every defect; 1 is the usual mix of strong and faint."""
    defects: int = 3
    """Mean number of defects on a part that is not clean; from 1 to twice that, less one."""
    drift: float = 0.13
    """Furthest that the part of a dataset frame stands from the middle along the belt, as a share of
    the width; across the belt it is 5/13 of that, as a share of the height."""
    relight: int = 8
    """Parts that pass before the lamps are set up anew, so that a dataset sees many lightings."""

    def checked(self) -> LineSpec:
        """The spec itself, when it can be generated."""
        height, width = self.size
        if min(height, width) < MIN_SIDE or height * width > MAX_PIXELS:
            raise UsageError(
                f"A frame of {height}x{width} cannot be generated; choose sides of at least {MIN_SIDE} px"
                " and at most 12.6 megapixels."
            )
        if not 0.0 <= self.clean_share <= 1.0:
            raise UsageError(f"A clean share of {self.clean_share} is no share; choose 0 to 1.")
        if not 0.0 < self.contrast <= 3.0:
            raise UsageError(f"A contrast of {self.contrast} cannot be drawn; choose more than 0, at most 3.")
        if not 1 <= self.defects <= 50:
            raise UsageError(f"A mean of {self.defects} defects on a part cannot be placed; choose 1 to 50.")
        if not 0.0 <= self.drift <= 0.7:
            raise UsageError(f"A drift of {self.drift} would lose the part; choose 0 to 0.7 of the width.")
        for kind, names, known in (
            ("surface", self.surfaces, SURFACES),
            ("nuisance", self.nuisances, NUISANCES),
        ):
            for name in names:
                if name not in known:
                    raise UsageError(f"There is no {kind} named {name!r}; choose from {', '.join(known)}.")
        return self


@dataclass(frozen=True, slots=True)
class View:
    """One part in one frame: which, and where its patch starts (y, x), possibly outside the frame."""

    part: int
    y: int
    x: int


@dataclass(frozen=True, slots=True)
class FramePlan:
    """One frame before it is rendered."""

    number: int
    """From 1, as the station counts."""
    views: tuple[View, ...]
    belt_x: int
    """Belt pixels that have passed the left edge of the view."""
    moment: int
    """Frames of one moment share the shadow, reflections and exposure that stand in the view."""
    sway: float = 0.0
    """How far the shadow has moved since its moment began, as a share of the view."""


def part_size(spec: LineSpec, part: int) -> tuple[int, int]:
    """Height and width of a part's patch: it fills most of the view."""
    rng = np.random.default_rng([spec.seed, 11, part])
    height, width = spec.size
    return int(height * rng.uniform(0.72, 0.9)), int(width * rng.uniform(0.72, 0.88))


def is_clean(spec: LineSpec, part: int) -> bool:
    """Whether a part has no defect: the share holds in every stretch of parts, the order is random."""
    block, at = divmod(part, 10)
    order = np.random.default_rng([spec.seed, 12, block]).permutation(10)
    shift = float(np.random.default_rng([spec.seed, 13, block]).random())
    return bool(order[at] < int(spec.clean_share * 10 + shift))


def still_frames(spec: LineSpec, frames: int) -> list[FramePlan]:
    """Frames of a dataset: each shows one part, and a part is seen in one to three of them."""
    rng = np.random.default_rng([spec.seed, 14])
    height, width = spec.size
    plans: list[FramePlan] = []
    part, across = 0, spec.drift * 5 / 13
    while len(plans) < frames:
        rows, columns = part_size(spec, part)
        for _ in range(min(int(rng.integers(1, 4)), frames - len(plans))):
            y = (height - rows) // 2 + int(height * rng.uniform(-across, across))
            x = (width - columns) // 2 + int(width * rng.uniform(-spec.drift, spec.drift))
            number, belt_x = len(plans) + 1, int(rng.integers(0, 8 * width))
            plans.append(FramePlan(number, (View(part, y, x),), belt_x, moment=number))
        part += 1
    return plans


def moving_frames(spec: LineSpec, frames: int, speed: int) -> list[FramePlan]:
    """Consecutive frames of a line whose parts move from right to left by `speed` px a frame."""
    height, width = spec.size
    pitch = int(1.08 * width)
    plans = []
    for number in range(1, frames + 1):
        passed = (number - 1) * speed + width // 2
        views = []
        for part in range(max(0, passed // pitch - 2), passed // pitch + 2):
            rows, columns = part_size(spec, part)
            x = part * pitch + width - passed
            if -columns < x < width:
                views.append(View(part, (height - rows) // 2, x))
        sway = 0.2 * float(np.sin(2 * np.pi * number / 120))  # four seconds to and fro at 30 frames a second
        plans.append(FramePlan(number, tuple(views), passed, moment=0, sway=sway))
    return plans
