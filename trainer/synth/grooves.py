"""Line defects: scratches (something was dragged over the part) and cracks (the part came apart)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.synth.defects import Blemish, Setting, altered, grid
from trainer.synth.fields import Field, knots

_FINE = 4
"""Cracks are drawn this many times enlarged, so that a width of 1.3 px means something."""
VISIBLE_INK = 0.38
"""Share of a pixel that must be gap to be labelled: a 1 px line on a border covers half of two."""


def scratch(rng: np.random.Generator, setting: Setting) -> Blemish:
    """A straight or gently bent groove: dark core, bright thrown-up rim, depth changing along it."""
    length = setting.scale * float(np.exp(rng.uniform(np.log(28.0), np.log(260.0))))
    angle = float(rng.uniform(0, np.pi))
    bend = length * float(rng.normal(0, 0.05))
    cos, sin = np.cos(angle), np.sin(angle)
    reach_y = 0.5 * length * abs(sin) + abs(bend * cos) + 8
    reach_x = 0.5 * length * abs(cos) + abs(bend * sin) + 8
    y, x = grid(reach_y, reach_x)
    u, v = x * cos + y * sin, -x * sin + y * cos
    along = np.clip(u / length + 0.5, -0.2, 1.2).astype(np.float32)
    wobble = knots(rng, 5 + int(length / 40), -0.5, 0.5, along)
    v = v - bend * (1.0 - (2.0 * along - 1.0) ** 2 - 0.5) - wobble
    depth = knots(rng, 4 + int(length / 18), 0.55, 1.0, along)
    depth *= np.clip(np.minimum(along, 1.0 - along) * length / 7.0, 0.0, 1.0)
    core_sigma = float(rng.uniform(0.6, 1.25)) * setting.scale**0.3
    side = 1.0 if rng.random() < 0.5 else -1.0
    core = depth * np.exp(-0.5 * (v / core_sigma) ** 2)
    rim = depth * np.exp(-0.5 * ((v - side * 1.7 * core_sigma) / (0.8 * core_sigma)) ** 2)
    dark, bright = _tones(rng, setting.strength)
    gain, lift = (1.0 - dark * core).astype(np.float32), (bright * rim).astype(np.float32)
    zero = np.zeros_like(gain)
    return Blemish(1, altered(np.maximum(dark * core * 0.5, lift)), gain, lift, zero, zero, zero)


def _tones(rng: np.random.Generator, strength: float) -> tuple[float, float]:
    """(dark, bright): most scratches shine, the deeper ones are dark; never both alike."""
    if rng.random() < 0.6:
        return strength * float(rng.uniform(0.1, 0.25)), strength * float(rng.uniform(0.24, 0.4))
    return min(0.85, strength * float(rng.uniform(0.42, 0.65))), strength * float(rng.uniform(0.06, 0.12))


def _walk(
    rng: np.random.Generator, start: NDArray[np.float64], heading: float, length: float
) -> NDArray[np.float64]:
    """A jagged way, (n, 2) points (y, x): short straight pieces whose direction jumps but keeps its trend."""
    points, gone, turn = [start], 0.0, 0.0
    while gone < length:
        step = float(rng.uniform(2.5, 8.0))
        turn = 0.35 * turn + float(rng.normal(0, 0.5))
        way = heading + turn
        points.append(points[-1] + step * np.array([np.sin(way), np.cos(way)]))
        gone += step
    return np.array(points)


def _branches(
    rng: np.random.Generator, trunk: NDArray[np.float64], heading: float, length: float
) -> list[NDArray[np.float64]]:
    """Side cracks that leave the trunk at 30 to 70 degrees."""
    found = []
    for _ in range(int(rng.integers(1, 4))):
        at = trunk[int(rng.integers(len(trunk) // 5, max(len(trunk) // 5 + 1, len(trunk) - 2)))]
        side = 1.0 if rng.random() < 0.5 else -1.0
        away = heading + side * float(rng.uniform(0.5, 1.2))
        found.append(_walk(rng, at, away, length * float(rng.uniform(0.15, 0.4))))
    return found


def _ink(ways: list[NDArray[np.float64]], widths: list[float]) -> Field:
    """Share of each pixel that the crack covers, 0 to 1; each way thins out towards its end."""
    every = np.concatenate(ways)
    low = np.floor(every.min(axis=0)) - 6
    high = np.ceil(every.max(axis=0)) + 6
    rows, columns = (high - low).astype(int)
    canvas = np.zeros((rows * _FINE, columns * _FINE), np.uint8)
    for way, width in zip(ways, widths, strict=True):
        points = np.rint((way - low) * _FINE).astype(int)
        for index in range(len(points) - 1):
            thin = width * (1.0 - 0.55 * index / max(1, len(points) - 1))
            pen = max(1, round(thin * _FINE))
            (y0, x0), (y1, x1) = points[index].tolist(), points[index + 1].tolist()
            cv2.line(canvas, (x0, y0), (x1, y1), 255, pen)
    small = cv2.resize(canvas, (int(columns), int(rows)), interpolation=cv2.INTER_AREA)
    return (small.astype(np.float32) / 255.0).astype(np.float32)


def crack(rng: np.random.Generator, setting: Setting) -> Blemish:
    """A dark jagged branching gap, 1 to 4 px wide, with a trace of light on the lip that faces the lamp."""
    length = setting.scale * float(np.exp(rng.uniform(np.log(35.0), np.log(190.0))))
    heading = float(rng.uniform(0, 2 * np.pi))
    trunk = _walk(rng, np.zeros(2), heading, length)
    branches = _branches(rng, trunk, heading, length)
    width = float(rng.uniform(1.9, 3.4)) * setting.scale**0.3
    ink = _ink([trunk, *branches], [width, *[0.62 * width for _ in branches]])
    dark = min(0.92, setting.strength * float(rng.uniform(0.6, 0.85)))
    shift = np.array([[1, 0, -1.5 * setting.light[1]], [0, 1, -1.5 * setting.light[0]]], np.float32)
    lip = np.asarray(cv2.warpAffine(ink, shift, (ink.shape[1], ink.shape[0])), np.float32) * (1.0 - ink)
    lift = (0.05 * setting.strength * lip).astype(np.float32)
    zero = np.zeros_like(ink)
    return Blemish(2, ink >= VISIBLE_INK, (1.0 - dark * ink).astype(np.float32), lift, zero, zero, zero)
