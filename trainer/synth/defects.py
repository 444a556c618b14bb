"""Defects: what each class does to the light that a part returns, and exactly where.

A Blemish is a small patch. Its mask holds the pixels that it alters visibly: those where its own
alteration reaches a third of its strongest (for a dent, the hollow up to where its slope has
faded to a third). Lines are in `grooves.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.synth.fields import Field, smooth

CLASSES: tuple[str, ...] = ("scratch", "crack", "dent", "stain", "pit")
"""Class id k is CLASSES[k - 1]."""
VISIBLE = 0.33
"""Share of a defect's strongest alteration that still counts as altered."""


@dataclass(frozen=True, slots=True)
class Blemish:
    """One defect as a patch: value' = value * gain + lift, slopes added, tint mixed in."""

    class_id: int
    mask: NDArray[np.bool_]
    gain: Field
    lift: Field
    slope_y: Field
    slope_x: Field
    tint: Field
    """0 = colour of the part, 1 = brown."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a defect needs to know of its surroundings."""

    scale: float
    """Size factor: 1 for a frame of 720 lines."""
    strength: float
    """Contrast factor: 1 is well visible."""
    light: tuple[float, float]
    """(y, x) direction towards the lamp, length about 1."""


def grid(half_y: float, half_x: float) -> tuple[Field, Field]:
    """Coordinates (y, x) of a patch around its centre, for half sizes in pixels."""
    rows, columns = int(np.ceil(half_y)), int(np.ceil(half_x))
    y, x = np.mgrid[-rows : rows + 1, -columns : columns + 1].astype(np.float32)
    return y, x


def altered(amount: Field) -> NDArray[np.bool_]:
    """Where an alteration (0 or more) reaches the visible share of its peak."""
    visible: NDArray[np.bool_] = amount >= VISIBLE * float(amount.max())
    return visible


def dent(rng: np.random.Generator, setting: Setting) -> Blemish:
    """A smooth hollow: its far wall is lit, its near wall is in shade; it bends reflections."""
    sigma = setting.scale * float(rng.uniform(6.5, 19.0))
    ratio, angle = float(rng.uniform(0.6, 1.0)), float(rng.uniform(0, np.pi))
    reach = 3.6 * sigma
    y, x = grid(reach, reach)
    cos, sin = np.cos(angle), np.sin(angle)
    u, v = (x * cos + y * sin) / sigma, (-x * sin + y * cos) / (sigma * ratio)
    square = u * u + v * v
    bowl = np.exp(-0.5 * square)
    tilt = setting.strength * float(rng.uniform(0.45, 0.68))
    # The hollow -bowl has gradient bowl * (u, v); the normal tilts against it, towards the centre.
    slope_u, slope_v = -tilt * bowl * u, -tilt * bowl * v
    zero = np.zeros_like(bowl)
    return Blemish(
        class_id=3,
        mask=square <= 2.05**2,  # slope at 2.05 sigma: 0.41 of its largest, 0.25 of it in grays after shading
        gain=1.0 - 0.06 * setting.strength * bowl,
        lift=zero,
        slope_y=(slope_u * sin + slope_v * cos).astype(np.float32),
        slope_x=(slope_u * cos - slope_v * sin).astype(np.float32),
        tint=zero,
    )


def stain(rng: np.random.Generator, setting: Setting) -> Blemish:
    """A dried blot: darker, brownish, uneven inside, ragged outline with a darker ring."""
    radius = setting.scale * float(rng.uniform(9.0, 36.0))
    stretch, angle = float(rng.uniform(0.55, 1.0)), float(rng.uniform(0, np.pi))
    y, x = grid(1.7 * radius + 6, 1.7 * radius + 6)
    warp = 0.1 * radius * smooth(rng, y.shape, max(2.0, 0.22 * radius))
    cos, sin = np.cos(angle), np.sin(angle)
    u, v = x * cos + y * sin, (-x * sin + y * cos) / stretch
    phi = np.arctan2(v, u)
    outline = np.ones_like(phi)
    for wave in range(2, 6):
        outline += float(rng.normal(0, 0.16 / wave)) * np.cos(wave * phi + float(rng.uniform(0, 6.28)))
    inside = radius * outline + warp - np.hypot(u, v)  # pixels inside the outline, negative outside
    body = np.clip((inside + 1.0) / 2.5, 0.0, 1.0).astype(np.float32)
    edge = np.exp(-0.5 * ((inside - 1.8) / 1.3) ** 2).astype(np.float32)
    mottle = 1.0 + 0.16 * smooth(rng, y.shape, max(2.0, 0.25 * radius))
    dark = setting.strength * float(rng.uniform(0.2, 0.36))
    amount = np.clip(dark * (body * mottle + 0.6 * edge), 0.0, 0.85).astype(np.float32)
    zero = np.zeros_like(amount)
    tint = (body * float(rng.uniform(0.25, 0.9))).astype(np.float32)
    return Blemish(4, body >= 0.4, 1.0 - amount, zero, zero, zero, tint)


def pit(rng: np.random.Generator, setting: Setting) -> Blemish:
    """A small round hole: dark inside, the rim away from the lamp catches light."""
    radius = setting.scale**0.5 * float(rng.uniform(2.4, 6.5))
    ratio = float(rng.uniform(0.82, 1.0))
    y, x = grid(radius + 6, radius + 6)
    ragged = 1.0 + 0.06 * smooth(rng, y.shape, 2.0)
    distance = np.hypot(y / ratio, x) * ragged
    hole = (1.0 / (1.0 + np.exp((distance - radius) / 0.45))).astype(np.float32)
    facing = -(y * setting.light[0] + x * setting.light[1]) / np.maximum(np.hypot(y, x), 1.0)
    rim = np.exp(-0.5 * ((distance - radius - 1.0) / 0.8) ** 2) * np.clip(0.25 + facing, 0.0, 1.0)
    dark = min(0.9, setting.strength * float(rng.uniform(0.55, 0.8)))
    lift = (setting.strength * float(rng.uniform(0.2, 0.4)) * rim).astype(np.float32)
    zero = np.zeros_like(hole)
    # The far wall inside the hole is a little brighter than its floor.
    inner = hole * np.clip(facing, 0.0, 1.0) * np.clip(distance / radius, 0.0, 1.0)
    gain = (1.0 - dark * hole * (1.0 - 0.3 * inner)).astype(np.float32)
    return Blemish(5, altered((dark * hole + lift).astype(np.float32)), gain, lift, zero, zero, zero)
