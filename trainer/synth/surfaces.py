"""Surfaces: what the material of a part looks like before anything happened to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.synth.fields import Field, drawn, slopes, smooth

Colour = tuple[float, float, float]
"""BGR factors whose luminance (OpenCV's weights) is 1, so that colour never changes the gray picture."""

_LUMA = (0.114, 0.587, 0.299)
_PAINTS: tuple[tuple[float, Colour], ...] = (
    (0.58, (0.97, 1.0, 1.01)),  # white
    (0.52, (0.35, 0.95, 1.45)),  # yellow
    (0.42, (1.45, 0.95, 0.75)),  # light blue
    (0.36, (0.8, 1.15, 0.8)),  # green
    (0.46, (1.0, 1.0, 1.0)),  # gray
    (0.33, (0.5, 0.72, 1.85)),  # orange red
)
_CAR_PAINTS: tuple[tuple[float, Colour], ...] = (
    (0.50, (1.03, 1.0, 0.98)),  # silver
    (0.20, (1.08, 1.0, 0.96)),  # anthracite
    (0.24, (2.1, 0.85, 0.6)),  # blue
    (0.24, (0.55, 0.5, 2.2)),  # red
    (0.52, (0.99, 1.0, 1.0)),  # white
    (0.36, (0.9, 1.0, 1.06)),  # champagne
)


@dataclass(frozen=True, slots=True)
class Surface:
    """Texture of a material and how it answers light."""

    value: Field
    """Reflectance, 0 to 1."""
    slope_y: Field
    slope_x: Field
    """Tilt of the normal caused by the texture, (y, x)."""
    colour: Colour
    gloss: float
    """Strength of the mirror-like part, 0 (chalk) to 1."""
    sharpness: float
    """How strongly a tilt moves the highlight: high for car paint, low for castings."""


def balanced(colour: Colour) -> Colour:
    """The colour scaled to luminance 1."""
    luma = sum(weight * part for weight, part in zip(_LUMA, colour, strict=True))
    return (colour[0] / luma, colour[1] / luma, colour[2] / luma)


def _relief(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, tilt: float
) -> tuple[Field, Field]:
    """Slopes of a bumpy surface with hills of `sigma` px and a root mean square tilt of about `tilt`."""
    return slopes(smooth(rng, shape, sigma) * np.float32(tilt * sigma))


def brushed(rng: np.random.Generator, shape: tuple[int, int], texture: float) -> Surface:
    """Brushed steel or aluminium: fine lines along one direction, a wide soft highlight."""
    upright = bool(rng.random() < 0.3)
    along = shape[::-1] if upright else shape
    grain = 0.034 * drawn(rng, along, 260.0, 1.0) + 0.022 * drawn(rng, along, 70.0, 1.0)
    grain += 0.026 * drawn(rng, along, 600.0, 5.0) + 0.012 * rng.standard_normal(along, dtype=np.float32)
    grain = np.ascontiguousarray(grain.T) if upright else grain
    value = rng.uniform(0.42, 0.6) * (1.0 + texture * grain + 0.03 * smooth(rng, shape, 120.0))
    flat = np.zeros(shape, np.float32)
    warmth = float(rng.uniform(-0.04, 0.05))
    colour = balanced((1.0 - warmth, 1.0, 1.0 + warmth))
    return Surface(value.astype(np.float32), flat, flat.copy(), colour, 0.16, 1.2)


def painted(rng: np.random.Generator, shape: tuple[int, int], texture: float) -> Surface:
    """Industrial paint: even colour, faint orange peel, half gloss."""
    base, colour = _PAINTS[int(rng.integers(len(_PAINTS)))]
    speckle = 0.012 * rng.standard_normal(shape, dtype=np.float32) + 0.012 * smooth(rng, shape, 3.0)
    value = base * rng.uniform(0.85, 1.1) * (1.0 + texture * speckle + 0.015 * smooth(rng, shape, 90.0))
    tilt_y, tilt_x = _relief(rng, shape, 4.5, 0.015 * texture)
    return Surface(value.astype(np.float32), tilt_y, tilt_x, balanced(colour), 0.11, 1.8)


def car_paint(rng: np.random.Generator, shape: tuple[int, int], texture: float) -> Surface:
    """Metallic car paint under clear coat: glittering flakes, sharp highlight, long orange peel."""
    base, colour = _CAR_PAINTS[int(rng.integers(len(_CAR_PAINTS)))]
    noise = rng.standard_normal(shape, dtype=np.float32)
    flakes = 0.02 * noise + 0.045 * np.maximum(noise - 2.2, 0.0) + 0.014 * smooth(rng, shape, 1.2)
    value = base * rng.uniform(0.9, 1.1) * (1.0 + texture * flakes)
    tilt_y, tilt_x = _relief(rng, shape, 8.0, 0.012 * texture)
    return Surface(value.astype(np.float32), tilt_y, tilt_x, balanced(colour), 0.22, 2.6)


def casting(rng: np.random.Generator, shape: tuple[int, int], texture: float) -> Surface:
    """Sand-cast iron or aluminium: rough skin, blotchy, hardly any gloss."""
    skin = 0.045 * smooth(rng, shape, 0.9) + 0.035 * smooth(rng, shape, 3.5) + 0.04 * smooth(rng, shape, 45.0)
    value = rng.uniform(0.34, 0.52) * (1.0 + texture * skin)
    tilt_y, tilt_x = _relief(rng, shape, 2.2, 0.042 * texture)
    warmth = float(rng.uniform(-0.02, 0.07))
    colour = balanced((1.0 - warmth, 1.0, 1.0 + warmth))
    return Surface(value.astype(np.float32), tilt_y, tilt_x, colour, 0.03, 0.8)


SURFACES: dict[str, Callable[[np.random.Generator, tuple[int, int], float], Surface]] = {
    "brushed": brushed,
    "painted": painted,
    "car_paint": car_paint,
    "casting": casting,
}
"""Every material by name. Each takes the generator, the shape and the texture strength (1 = usual)."""
