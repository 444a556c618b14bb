"""Random fields that surfaces are made of: smooth noise, drawn-out grain, slopes.

All are float32 (H, W), mean near 0, standard deviation 1, and the same for the same generator state.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]
"""float32 (H, W)."""


def unit(field: Field) -> Field:
    """The field shifted and scaled to mean 0 and standard deviation 1."""
    mean, std = cv2.meanStdDev(field)
    scale = 1.0 / max(float(std[0, 0]), 1e-6)
    return np.asarray(cv2.addWeighted(field, scale, field, 0.0, -float(mean[0, 0]) * scale), np.float32)


def smooth(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Field:
    """Noise whose hills are about `sigma` pixels wide (Gaussian correlation).

    Above 1.5 px it is drawn on a coarse grid and enlarged, so that wide hills cost no more than narrow ones.
    """
    step = max(1.0, sigma / 1.5)
    coarse = (max(4, int(np.ceil(shape[0] / step)) + 2), max(4, int(np.ceil(shape[1] / step)) + 2))
    noise = rng.standard_normal(coarse, dtype=np.float32)
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma / step), np.float32)
    if coarse != shape and step > 1.0:
        noise = np.asarray(cv2.resize(noise, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)
    return unit(np.ascontiguousarray(noise[: shape[0], : shape[1]]))


def drawn(rng: np.random.Generator, shape: tuple[int, int], length: float, thickness: float) -> Field:
    """Grain drawn out along x: lines about `length` px long and `thickness` px thick, as brushing leaves."""
    rows = max(4, int(np.ceil(shape[0] / max(1.0, thickness))))
    columns = max(4, int(np.ceil(shape[1] / max(1.0, length / 2))) + 2)
    noise = rng.standard_normal((rows, columns), dtype=np.float32)
    return unit(
        np.asarray(cv2.resize(noise, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)
    )


def slopes(height: Field) -> tuple[Field, Field]:
    """Tilt of the surface normal, (y, x), of a height field in pixels: minus its gradient."""
    return (
        np.asarray(cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=-0.125), np.float32),
        np.asarray(cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=-0.125), np.float32),
    )


def knots(rng: np.random.Generator, count: int, low: float, high: float, at: Field) -> Field:
    """A smooth random curve with values in [low, high], `count` knots over [0, 1], read at `at`."""
    line = rng.uniform(low, high, count).astype(np.float32)
    return np.interp(at, np.linspace(0.0, 1.0, count), line).astype(np.float32)
