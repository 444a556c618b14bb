"""Parts: a shaped piece of one material with edges, holes and defects, ready to be lit."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Mask
from trainer.synth.defects import Blemish, Setting, dent, pit, stain
from trainer.synth.fields import Field
from trainer.synth.grooves import crack, scratch
from trainer.synth.line import LineSpec, is_clean, part_size
from trainer.synth.nuisances import dust, oil_film
from trainer.synth.outline import Outline, outline
from trainer.synth.surfaces import SURFACES, Surface

_MAKERS = (scratch, crack, dent, stain, pit)
_BROWN = np.array([0.55, 0.97, 1.23], np.float32)  # BGR, luminance 1


@dataclass(frozen=True, slots=True)
class Part:
    """A part as a patch of layers, all (h, w) but the coarse colour."""

    index: int
    surface: str
    light: tuple[float, float]
    """(y, x) direction towards the lamp; parts of one line share it, lines do not."""
    cover: Field
    """1 on the part, 0 beside it and in its holes."""
    value: Field
    slope_y: Field
    slope_x: Field
    colour: NDArray[np.float32]
    """float32 (h / 4, w / 4, 3) BGR factors of luminance about 1."""
    gloss: float
    sharpness: float
    mask: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    """Defect number from 1 in this part; classes[n - 1] is its class."""
    classes: tuple[int, ...]


def make_part(spec: LineSpec, index: int) -> Part:
    """The part of that index on that line: the same one whenever it is asked for."""
    rng = np.random.default_rng([spec.seed, 21, index])
    shape = part_size(spec, index)
    name = spec.surfaces[int(rng.integers(len(spec.surfaces)))]
    surface = SURFACES[name](
        rng, shape, float(rng.uniform(0.6, 1.15)) if "texture" in spec.nuisances else 0.15
    )
    form = outline(rng, shape)
    turn = float(np.random.default_rng([spec.seed, 22, index // spec.relight]).uniform(0, 2 * np.pi))
    light = (float(np.sin(turn)), float(np.cos(turn)))
    layers = _Layers(surface, form)
    if not is_clean(spec, index):
        _damage(rng, spec, layers, light)
    if "oil" in spec.nuisances:
        film, rainbow = oil_film(rng, shape)
        layers.value *= film
        layers.colour *= cv2.resize(rainbow, layers.colour.shape[1::-1])
    if "dust" in spec.nuisances:
        dust(rng, layers.value)
    return Part(
        index, name, light, form.cover, layers.value, layers.slope_y, layers.slope_x, layers.even_colour(),
        surface.gloss, surface.sharpness, layers.mask, layers.instances, tuple(layers.classes),
    )  # fmt: skip


class _Layers:
    """The layers of a part while it is being made."""

    def __init__(self, surface: Surface, form: Outline) -> None:
        shape = surface.value.shape
        self.value = surface.value
        self.slope_y = surface.slope_y + form.slope_y
        self.slope_x = surface.slope_x + form.slope_x
        small = (max(8, shape[0] // 4), max(8, shape[1] // 4))
        self.colour = np.empty((*small, 3), np.float32)
        self.colour[:] = surface.colour
        self.mask: Mask = np.zeros(shape, np.uint8)
        self.instances = np.zeros(shape, np.uint16)
        self.classes: list[int] = []
        self.free = form.face.copy()
        """Where a defect may still be placed: flat, and clear of other defects."""

    def add(self, blemish: Blemish, y: int, x: int) -> None:
        """Blend one defect in, its patch starting at (y, x)."""
        rows, columns = blemish.mask.shape
        at = (slice(y, y + rows), slice(x, x + columns))
        self.value[at] = self.value[at] * blemish.gain + blemish.lift * (
            0.25 + 0.6 * float(self.value[at].mean())
        )
        self.slope_y[at] += blemish.slope_y
        self.slope_x[at] += blemish.slope_x
        self.classes.append(blemish.class_id)
        self.mask[at][blemish.mask] = blemish.class_id
        self.instances[at][blemish.mask] = len(self.classes)
        if blemish.tint.any():
            self._tint(blemish, y, x)
        keep_off = cv2.dilate(blemish.mask.astype(np.uint8), np.ones((17, 17), np.uint8))
        self.free[at] &= keep_off == 0

    def _tint(self, blemish: Blemish, y: int, x: int) -> None:
        """Turn the coarse colour towards brown where the defect is tinted."""
        height, width = blemish.mask.shape
        rows, columns = max(1, height // 4), max(1, width // 4)
        patch = self.colour[y // 4 : y // 4 + rows, x // 4 : x // 4 + columns]
        amount = cv2.resize(blemish.tint, (columns, rows), interpolation=cv2.INTER_AREA)[
            : patch.shape[0], : patch.shape[1]
        ]
        patch *= 1.0 + amount[..., None] * (_BROWN - 1.0)

    def even_colour(self) -> NDArray[np.float32]:
        """The colour with luminance 1 everywhere, so that tint and rainbow leave the gray picture alone."""
        luma = self.colour @ np.array([0.114, 0.587, 0.299], np.float32)
        return np.asarray(self.colour / luma[..., None], np.float32)


def _damage(rng: np.random.Generator, spec: LineSpec, layers: _Layers, light: tuple[float, float]) -> None:
    """Put defects on the part, classes in turn, each where it fits whole on the flat face."""
    scale = float(np.clip(min(spec.size) / 720.0, 0.5, 3.0) ** 0.8)
    first, count = int(rng.integers(5)), int(rng.integers(1, 2 * spec.defects))
    for turn in range(count):
        maker = _MAKERS[(first + 2 * turn) % 5]
        for attempt in range(4):
            faint = 0.45 if rng.random() < 0.08 else 1.0
            strength = spec.contrast * faint * float(rng.uniform(0.8, 1.25))
            blemish = maker(rng, Setting(scale * 0.75**attempt, strength, light))
            if _place(rng, layers, blemish):
                break


def _place(rng: np.random.Generator, layers: _Layers, blemish: Blemish) -> bool:
    """Blend the defect in at a random free spot; False when none of the tries fits."""
    rows, columns = blemish.mask.shape
    height, width = layers.mask.shape
    if rows >= height or columns >= width:
        return False
    for _ in range(60):
        y, x = int(rng.integers(0, height - rows)), int(rng.integers(0, width - columns))
        if not np.any(blemish.mask & ~layers.free[y : y + rows, x : x + columns]):
            layers.add(blemish, y, x)
            return True
    return False
