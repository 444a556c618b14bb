"""Nuisances: what a camera sees on a good line and must not be called a defect.

Oil film and dust lie on the part and move with it; uneven light, shadow and reflections stand
in the view; defocus, vibration and compression belong to one exposure.
"""

from __future__ import annotations

import cv2
import numpy as np

from trainer.synth.fields import Field, smooth

NUISANCES: tuple[str, ...] = (
    "texture",
    "oil",
    "dust",
    "uneven_light",
    "shadow",
    "reflections",
    "defocus",
    "vibration",
    "compression",
)
"""Every nuisance by name; each one that is on is in every frame, at a strength drawn anew."""


def oil_film(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Field, np.ndarray]:
    """(darkening, colour) of a thin film: large, smooth and faint, without an edge, with rainbow bands.

    darkening: float32 (H, W) factor near 1. colour: float32 (h, w, 3) BGR factors at a quarter of the size.
    """
    small = (max(8, shape[0] // 4), max(8, shape[1] // 4))
    reach = 0.16 * min(small) * float(rng.uniform(0.8, 1.6))
    thick = np.clip(smooth(rng, small, reach) - float(rng.uniform(0.2, 0.8)), 0.0, 1.6) / 1.6
    thick = cv2.GaussianBlur(thick.astype(np.float32), (0, 0), max(2.0, 0.06 * min(small)))
    strength = float(rng.uniform(0.3, 1.0))
    phase = 9.0 * thick + float(rng.uniform(0, 6.28))
    bands = np.stack([np.cos(phase * stretch) for stretch in (1.25, 1.0, 0.85)], axis=-1)
    colour = 1.0 + (0.07 * strength * np.clip(thick * 3, 0, 1)[..., None] * bands).astype(np.float32)
    wide = cv2.resize(thick, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return (1.0 - 0.14 * strength * wide).astype(np.float32), colour.astype(np.float32)


def dust(rng: np.random.Generator, value: Field) -> None:
    """Scatter specks of 1 to 3 px and short thin fibres over a part's reflectance, in place."""
    height, width = value.shape
    density = height * width / 1e6 * float(rng.uniform(0.3, 1.0))
    for _ in range(int(90 * density)):
        y, x = int(rng.integers(2, height - 4)), int(rng.integers(2, width - 4))
        rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        shade = float(rng.choice([0.13, -0.1])) * float(rng.uniform(0.4, 1.0))
        value[y : y + rows, x : x + columns] += np.float32(shade)
    for _ in range(int(12 * density)):
        _fibre(rng, value)


def _fibre(rng: np.random.Generator, value: Field) -> None:
    """One lint fibre: pale, about a pixel thick, 6 to 15 px long, strongly curled."""
    length, radius = float(rng.uniform(6, 15)), float(rng.uniform(3.5, 9))
    angles = float(rng.uniform(0, 6.28)) + np.linspace(0, length / radius, 8)
    points = radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    points = points - points.min(axis=0) + 2
    columns, rows = (np.ceil(points.max(axis=0)) + 3).astype(int)
    if rows >= value.shape[0] or columns >= value.shape[1]:
        return
    y, x = int(rng.integers(0, value.shape[0] - rows)), int(rng.integers(0, value.shape[1] - columns))
    ink = np.zeros((int(rows), int(columns)), np.uint8)
    cv2.polylines(ink, [np.rint(points * 8).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 3)
    value[y : y + rows, x : x + columns] += np.float32(rng.uniform(0.05, 0.12)) * ink.astype(np.float32) / 255


def _axes(shape: tuple[int, int]) -> tuple[Field, Field]:
    """Column of y and row of x, both -0.5 to 0.5 over the view."""
    y = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :]
    return y, x


def uneven_light(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Lamps that do not fill the view evenly: a slanted, bowed factor between about 0.7 and 1.2."""
    y, x = _axes(shape)
    slant_y, slant_x = rng.uniform(-0.28, 0.28, 2)
    bow = float(rng.uniform(0.1, 0.5))
    y0, x0 = rng.uniform(-0.25, 0.25, 2)
    light = 1.06 + slant_y * y + slant_x * x - bow * ((y - y0) ** 2 + 0.8 * (x - x0) ** 2)
    return np.asarray(light, np.float32)


def shadow(rng: np.random.Generator, shape: tuple[int, int], sway: float = 0.0) -> Field:
    """The soft shadow of something beside the line: a factor down to 0.65.

    Its border is 3 to 9 % of the view wide. sway: how far it has moved, as a share of the view.
    """
    y, x = _axes(shape)
    angle = float(rng.uniform(0, np.pi))
    across = x * np.cos(angle) + y * np.sin(angle) + 0.02 * np.sin(9 * y + float(rng.uniform(0, 6.28)))
    middle, half = float(rng.uniform(-0.4, 0.4)) + sway, float(rng.uniform(0.05, 0.2))
    soft = float(rng.uniform(0.03, 0.09))
    depth = float(rng.uniform(0.08, 0.35))
    body = 1.0 / (1.0 + np.exp(np.clip((np.abs(across - middle) - half) / (soft / 4), -40, 40)))
    return np.asarray(1.0 - depth * body, np.float32)


def reflections(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Mirror images of lamps and windows: one to three broad, smooth bright streaks, added light."""
    y, x = _axes(shape)
    light = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        angle = float(rng.normal(0, 0.35)) + (np.pi / 2 if rng.random() < 0.5 else 0.0)
        across = -x * np.sin(angle) + y * np.cos(angle) - float(rng.uniform(-0.45, 0.45))
        along = x * np.cos(angle) + y * np.sin(angle) - float(rng.uniform(-0.3, 0.3))
        across = across + float(rng.uniform(-0.2, 0.2)) * along**2
        thick, long = float(rng.uniform(0.018, 0.06)), float(rng.uniform(0.15, 0.6))
        light += float(rng.uniform(0.04, 0.2)) * np.exp(-0.5 * ((across / thick) ** 2 + (along / long) ** 4))
    return light


def defocus(rng: np.random.Generator, picture: Field) -> Field:
    """A lens slightly out of focus: Gaussian of 0.35 to 0.85 px."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.35, 0.85))), np.float32)


def vibration_offset(rng: np.random.Generator) -> tuple[int, int]:
    """(y, x) jitter of the part in whole pixels, so that masks move exactly with it."""
    return int(rng.integers(-2, 3)), int(rng.integers(-1, 2))


def motion_blur(rng: np.random.Generator, picture: Field) -> Field:
    """The part moves by up to 1.8 px along the belt while the shutter is open."""
    length = float(rng.uniform(0.2, 1.8))
    side = min(1.0, length) / 2 * 0.5
    kernel = np.array([[max(0.0, length - 1.0) / 4, side, 1.0, side, max(0.0, length - 1.0) / 4]], np.float32)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.float32)


def compression(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """What a camera's own JPEG or video link does: quality 70 to 97. uint8 (H, W, 3) in and out."""
    quality = int(rng.integers(70, 98))
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
