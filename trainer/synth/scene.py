"""The scene: belt, parts and light become one camera frame with its exact truth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Image, Mask
from trainer.synth import nuisances
from trainer.synth.belt import Belt
from trainer.synth.fields import Field
from trainer.synth.line import FramePlan, LineSpec
from trainer.synth.parts import Part, make_part
from trainer.synth.truth import TrueDefect, true_defects


@dataclass(frozen=True, slots=True)
class Rendered:
    """One finished frame and what is true of it."""

    number: int
    image: Image
    """uint8 (H, W, 3) BGR."""
    mask: Mask
    instances: NDArray[np.uint16]
    """0 = good, else the number of a defect in `defects` (1, 2 ...)."""
    defects: tuple[TrueDefect, ...]
    parts: tuple[int, ...]
    """Parts in view, left to right."""
    surfaces: tuple[str, ...]


class _Stage:
    """The layers of one view while parts are being laid on the belt."""

    def __init__(self, belt: Field) -> None:
        shape = belt.shape
        self.value = belt
        self.slope_y = np.zeros(shape, np.float32)
        self.slope_x = np.zeros(shape, np.float32)
        self.gloss = np.full(shape, 0.01, np.float32)
        self.colour: NDArray[np.float32] = np.ones((*shape, 3), np.float32)
        self.mask: Mask = np.zeros(shape, np.uint8)
        self.instances = np.zeros(shape, np.uint16)
        self.owners: list[tuple[Part, int]] = []
        """For each frame-wide defect number - 1: its part and its class."""

    def lay(self, part: Part, y: int, x: int) -> None:
        """Put a part down with its patch starting at (y, x); what lies outside the view is cut off."""
        height, width = self.value.shape
        rows, columns = part.cover.shape
        y0, x0, y1, x1 = max(0, y), max(0, x), min(height, y + rows), min(width, x + columns)
        if y0 >= y1 or x0 >= x1:
            return
        here = (slice(y0, y1), slice(x0, x1))
        there = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
        cover = part.cover[there]
        self._cast_shadow(part, y, x)
        self.value[here] += cover * (part.value[there] - self.value[here])
        self.slope_y[here] = part.slope_y[there] * cover
        self.slope_x[here] = part.slope_x[there] * cover
        self.gloss[here] += cover * (part.gloss - self.gloss[here])
        colour = cv2.resize(part.colour, (columns, rows), interpolation=cv2.INTER_LINEAR)[there]
        self.colour[here] += cover[..., None] * (colour - self.colour[here])
        self.mask[here] = part.mask[there]
        numbers = part.instances[there].astype(np.int64)
        self.instances[here] = np.where(numbers > 0, numbers + len(self.owners), 0)
        self.owners += [(part, class_id) for class_id in part.classes]

    def _cast_shadow(self, part: Part, y: int, x: int) -> None:
        """Darken the belt where the part keeps the lamp away; outside the part only."""
        height, width = self.value.shape
        away = 0.014 * min(height, width)
        shift = np.array([[1, 0, x - away * part.light[1]], [0, 1, y - away * part.light[0]]], np.float32)
        shade = cv2.warpAffine(part.cover, shift, (width, height))
        self.value *= 1.0 - 0.65 * cv2.GaussianBlur(shade, (0, 0), 0.5 * away + 0.5)


def _highlight(stage: _Stage, part: Part, rng: np.random.Generator) -> Field:
    """The mirror image of the lamp, a broad soft band that tilts of the surface move and break up."""
    height, width = stage.value.shape
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    turn = float(rng.normal(0, 0.15))
    middle, reach = float(rng.uniform(-0.45, 0.45)), float(rng.uniform(0.22, 0.4))
    tilt = part.light[0] * stage.slope_y + part.light[1] * stage.slope_x
    away = (y + turn * x - middle + part.sharpness * 0.35 * tilt) / reach
    return np.asarray(stage.gloss * np.exp(-0.5 * away * away), np.float32)


def _expose(spec: LineSpec, stage: _Stage, part: Part, plan: FramePlan) -> Image:
    """Light the stage, look through the lens, read the sensor: uint8 (H, W, 3) BGR."""
    fixed = np.random.default_rng([spec.seed, 41, part.index // spec.relight])  # lamps stand still
    frame = plan.number
    rng = np.random.default_rng([spec.seed, 42, plan.moment])
    shape = stage.value.shape
    shading = 1.0 + part.light[0] * stage.slope_y + part.light[1] * stage.slope_x
    diffuse = stage.value * np.maximum(shading, 0.15)
    shine = _highlight(stage, part, fixed)
    if "uneven_light" in spec.nuisances:
        diffuse *= nuisances.uneven_light(fixed, shape)
    if "reflections" in spec.nuisances:
        shine += nuisances.reflections(rng, shape) * (0.15 + 2.0 * stage.gloss) * (stage.gloss > 0.02)
    if "shadow" in spec.nuisances:
        shade = nuisances.shadow(rng, shape, plan.sway)
        diffuse *= shade
        shine *= shade
    gain = 255.0 * float(rng.uniform(0.92, 1.08))
    image = np.empty((*shape, 3), np.uint8)
    for channel in range(3):
        plane = gain * (diffuse * stage.colour[..., channel] + shine)
        image[..., channel] = _read_out(
            spec, plane, np.random.default_rng([spec.seed, 43, frame]), (frame, channel)
        )
    if "compression" in spec.nuisances:
        image = nuisances.compression(rng, image)
    return image


def _read_out(spec: LineSpec, plane: Field, lens: np.random.Generator, key: tuple[int, int]) -> Image:
    """Lens, shutter and sensor for one colour: blur, photon and read noise, 8 bits."""
    if "defocus" in spec.nuisances:
        plane = nuisances.defocus(lens, plane)
    if "vibration" in spec.nuisances:
        plane = nuisances.motion_blur(lens, plane)
    noise = np.random.default_rng([spec.seed, 44, *key]).standard_normal(plane.shape, dtype=np.float32)
    plane = plane + noise * np.sqrt(0.8 + 0.012 * np.maximum(plane, 0.0))
    return np.asarray(np.clip(np.rint(plane), 0, 255), np.uint8)


class Scene:
    """Renders the frames of one line; parts are kept while they are in view."""

    def __init__(self, spec: LineSpec) -> None:
        self._spec = spec.checked()
        self._belt = Belt(spec.seed, spec.size)
        self._parts: OrderedDict[int, Part] = OrderedDict()

    def render(self, plan: FramePlan) -> Rendered:
        """The frame of that plan; the same pixels and truth in whatever order frames are asked for."""
        spec = self._spec
        stage = _Stage(self._belt.view(plan.belt_x, spec.size[1]))
        shake = (0, 0)
        if "vibration" in spec.nuisances:
            shake = nuisances.vibration_offset(np.random.default_rng([spec.seed, 45, plan.number]))
        views = sorted(plan.views, key=lambda view: view.x)
        parts = [self._part(view.part) for view in views]
        for part, view in zip(parts, views, strict=True):
            stage.lay(part, view.y + shake[0], view.x + shake[1])
        # In a moment without a part the lamps of the next one stand already.
        lit = parts[0] if parts else self._part(0)
        image = _expose(spec, stage, lit, plan)
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
        instances, defects = true_defects(gray, stage.mask, stage.instances, stage.owners)
        return Rendered(
            plan.number, image, stage.mask, instances, defects,
            tuple(part.index for part in parts), tuple(part.surface for part in parts),
        )  # fmt: skip

    def frames(self, plans: Sequence[FramePlan]) -> Iterator[Rendered]:
        """Every planned frame, one at a time."""
        return (self.render(plan) for plan in plans)

    def _part(self, index: int) -> Part:
        if index not in self._parts:
            self._parts[index] = make_part(self._spec, index)
            while len(self._parts) > 3:
                self._parts.popitem(last=False)
        return self._parts[index]
