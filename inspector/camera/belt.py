"""Pictures of a line that does not exist: brushed plates on a belt, some of them damaged."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Image

PARTS = 6
DRAWN_PX = 1 << 22
"""Belts for larger pictures are drawn smaller, and each of their pixels becomes several."""
_LIGHT, _BELT = 168.0, 46.0
"""Mean gray of a plate and of the belt between two plates."""


class Belt:
    """An endless belt under a camera; the same seed and number give the same picture.

    The belt is drawn once, six plates long, and each picture is a window that has moved on,
    so a picture costs a copy. Pictures are BGR, as cameras deliver them.
    """

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        """size: (height, width) of the pictures in pixels."""
        self.size = size
        self._times = max(1, int(np.ceil(np.sqrt(size[0] * size[1] / DRAWN_PX))))
        self._drawn = -(-size[0] // self._times), -(-size[1] // self._times)
        self._step = max(1, self._drawn[1] // 11)
        self._strip = _draw(self._drawn, np.random.default_rng(seed))

    def picture(self, number: int) -> Image:
        """Picture of that number, counted from 1: uint8 (H, W, 3)."""
        width, times = self._drawn[1], self._times
        period = self._strip.shape[1] - width
        at = (number - 1) * self._step % period
        window = np.ascontiguousarray(self._strip[:, at : at + width])
        if times > 1:
            window = window.repeat(times, axis=0).repeat(times, axis=1)[: self.size[0], : self.size[1]]
        return np.repeat(window[:, :, None], 3, axis=2)


def _draw(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """The belt, one picture width longer than its period so that windows never wrap."""
    height, width = size
    pitch = max(2, int(width * 0.8))
    strip: NDArray[np.float32] = np.full((height, pitch * PARTS), _BELT, np.float32)
    for index in range(PARTS):
        _plate(
            strip[:, index * pitch : (index + 1) * pitch], rng, damages=index % 2 * int(rng.integers(1, 3))
        )
    strip += rng.standard_normal(strip.shape, np.float32) * 2.5
    light = np.linspace(0.94, 1.05, height, dtype=np.float32)[:, None]
    whole = np.clip(strip * light, 0, 255).astype(np.uint8)
    copies = -(-(whole.shape[1] + width) // whole.shape[1])
    return np.tile(whole, (1, copies))[:, : whole.shape[1] + width]


def _plate(place: NDArray[np.float32], rng: np.random.Generator, damages: int) -> None:
    height, width = place.shape
    y0, y1, x1 = int(height * 0.08), max(1, int(height * 0.92)), max(1, int(width * 0.88))
    plate = place[y0:y1, :x1]
    if plate.size == 0:
        return
    grain = cv2.blur(rng.standard_normal(plate.shape, np.float32), (61, 1), borderType=cv2.BORDER_REFLECT)
    plate[...] = _LIGHT + rng.uniform(-8, 8) + grain * 38.0
    for _ in range(damages):
        (_scratch if rng.random() < 0.6 else _pit)(plate, rng)


def _scratch(plate: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = plate.shape
    reach = 0.12 * min(height, width)
    start = rng.uniform(0.2, 0.8, 2) * (width, height)
    turns = np.cumsum(rng.normal(rng.choice([-1, 1], 2) * reach / 6, reach / 18, (6, 2)), axis=0)
    line = np.vstack([start, start + turns]).round().astype(np.int32)
    ink = np.zeros(plate.shape, np.uint8)
    cv2.polylines(ink, [line], False, 255, max(2, height // 220), cv2.LINE_AA)
    plate += ink.astype(np.float32) / 255 * (-75.0 if rng.random() < 0.5 else 60.0)


def _pit(plate: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = plate.shape
    centre = (int(rng.uniform(0.2, 0.8) * width), int(rng.uniform(0.2, 0.8) * height))
    radii = (max(2, int(rng.uniform(0.012, 0.03) * height)), max(2, int(rng.uniform(0.012, 0.03) * height)))
    ink = np.zeros(plate.shape, np.uint8)
    cv2.ellipse(ink, centre, radii, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    plate -= cv2.GaussianBlur(ink, (0, 0), 1.2).astype(np.float32) / 255 * 85.0
