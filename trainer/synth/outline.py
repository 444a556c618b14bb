"""Outlines of parts: plates, brackets, flanges and covers with chamfered edges and bored holes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.synth.fields import Field

_FINE = 3  # fractional bits of OpenCV's drawing coordinates
_ARC = np.linspace(0, np.pi / 2, 32)


@dataclass(frozen=True, slots=True)
class Outline:
    """The form of a part as layers of one patch."""

    cover: Field
    """1 on the part, 0 beside it and in its holes, between on the border."""
    slope_y: Field
    slope_x: Field
    """Tilt of the chamfer, outwards."""
    face: NDArray[np.bool_]
    """The flat face: on the part and clear of every edge."""


def outline(rng: np.random.Generator, shape: tuple[int, int]) -> Outline:
    """A random form that fills a patch of that shape but for a margin of 3 px."""
    height, width = shape
    canvas = np.zeros(shape, np.uint8)
    _fill(canvas, _contour(rng, height, width), 255)
    for centre, radius, stretch in _holes(rng, height, width):
        angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        ring = np.stack(
            [centre[0] + radius * np.sin(angles), centre[1] + radius * stretch * np.cos(angles)], -1
        )
        _fill(canvas, ring, 0)
    inside = np.asarray(cv2.distanceTransform((canvas > 127).astype(np.uint8), cv2.DIST_L2, 5), np.float32)
    size = min(shape)
    chamfer = float(rng.uniform(0.008, 0.018)) * size + 2.0
    tilt = float(rng.uniform(0.25, 0.55))
    softened = cv2.GaussianBlur(np.minimum(inside, 2 * chamfer), (0, 0), 1.2)
    steep = tilt * np.clip(1.3 - inside / chamfer, 0.0, 1.0).astype(np.float32)
    slope_y = -cv2.Sobel(softened, cv2.CV_32F, 0, 1, ksize=3, scale=0.125) * steep
    slope_x = -cv2.Sobel(softened, cv2.CV_32F, 1, 0, ksize=3, scale=0.125) * steep
    cover = (canvas.astype(np.float32) / 255.0).astype(np.float32)
    return Outline(cover, slope_y, slope_x, inside > 1.4 * chamfer + max(4.0, 0.012 * size))


def _fill(canvas: NDArray[np.uint8], contour: NDArray[np.float64], value: int) -> None:
    """Fill a contour of (y, x) points with smooth borders."""
    points = np.rint(contour[:, ::-1] * 2**_FINE).astype(np.int32)
    cv2.fillPoly(canvas, [points], value, cv2.LINE_AA, _FINE)


def _contour(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Outer contour, (n, 2) points (y, x): round or bevelled corners, some notched, slightly turned."""
    kind = rng.choice(["plate", "cover", "flange", "bracket"])
    low, size = 3.0, float(min(height, width))
    radius = {"plate": 0.06, "cover": 0.16, "flange": 0.46, "bracket": 0.05}[str(kind)] * size
    radius *= float(rng.uniform(0.7, 1.05))
    bevelled = kind == "cover"
    points: list[tuple[float, float]] = []
    corners = ((low, width - low, 0), (height - low, width - low, 1), (height - low, low, 2), (low, low, 3))
    for y, x, turn in corners:
        sign_y, sign_x = (-1 if turn in (0, 3) else 1), (1 if turn in (0, 1) else -1)
        arc = _ARC if turn in (1, 3) else _ARC[::-1]
        arc = arc[[0, -1]] if bevelled else arc
        for angle in arc:
            points.append(
                (y - sign_y * radius * (1 - np.sin(angle)), x - sign_x * radius * (1 - np.cos(angle)))
            )
        if kind == "bracket" and turn == 1:
            deep, wide = float(rng.uniform(0.15, 0.3)) * height, float(rng.uniform(0.12, 0.2)) * width
            middle = float(rng.uniform(0.35, 0.65)) * width
            edge = height - low
            points += [(edge, middle + wide / 2), (edge - deep, middle + wide / 2 - 6)]
            points += [(edge - deep, middle - wide / 2 + 6), (edge, middle - wide / 2)]
    return _turned(np.array(points), np.radians(float(rng.normal(0, 0.5))), height, width)


def _turned(points: NDArray[np.float64], angle: float, height: int, width: int) -> NDArray[np.float64]:
    """Points turned about the patch's middle and kept inside it."""
    middle = np.array([height / 2, width / 2])
    cos, sin = np.cos(angle), np.sin(angle)
    moved = (points - middle) @ np.array([[cos, -sin], [sin, cos]]) + middle
    return np.asarray(np.clip(moved, 2.0, [height - 3.0, width - 3.0]), np.float64)


def _holes(
    rng: np.random.Generator, height: int, width: int
) -> list[tuple[tuple[float, float], float, float]]:
    """Holes as (centre (y, x), radius, stretch along x): bolt holes in the corners, sometimes a bore."""
    size = min(height, width)
    holes: list[tuple[tuple[float, float], float, float]] = []
    if rng.random() < 0.75:
        radius = float(rng.uniform(0.022, 0.045)) * size
        inset_y, inset_x = float(rng.uniform(0.15, 0.2)) * height, float(rng.uniform(0.13, 0.18)) * width
        for y in (inset_y, height - inset_y):
            holes += [((y, x), radius, 1.0) for x in (inset_x, width - inset_x)]
    if rng.random() < 0.45:
        centre = (height * float(rng.uniform(0.42, 0.58)), width * float(rng.uniform(0.35, 0.65)))
        holes.append((centre, float(rng.uniform(0.06, 0.14)) * size, float(rng.choice([1.0, 1.0, 1.8]))))
    return holes
