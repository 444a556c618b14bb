"""The conveyor belt below the parts: dark ribbed rubber that moves with them."""

from __future__ import annotations

import cv2
import numpy as np

from trainer.synth.fields import Field, drawn, smooth


class Belt:
    """One belt, endless along x: it repeats after two views."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        """size: (height, width) of the view in pixels."""
        rng = np.random.default_rng([seed, 31])
        height, width = size
        shape = (height, 2 * width)
        value = 0.1 + 0.012 * rng.standard_normal(shape, dtype=np.float32) + 0.008 * smooth(rng, shape, 3.0)
        value += 0.008 * drawn(rng, shape, 0.5 * width, 2.0)
        pitch = max(8, round(2 * width / max(1, round(2 * width / (0.05 * height + 12)))))
        phase = 2 * np.pi * np.arange(2 * width, dtype=np.float32) / pitch
        value *= (1.0 + 0.12 * np.sin(phase) + 0.06 * np.sin(2 * phase))[None, :]
        rails = max(3, height // 60)
        value[:rails] += 0.16
        value[-rails:] += 0.16
        self._value: Field = np.asarray(cv2.GaussianBlur(value.astype(np.float32), (0, 0), 0.7), np.float32)

    def view(self, belt_x: int, width: int) -> Field:
        """Reflectance of the belt after it has moved belt_x pixels; a copy."""
        start = belt_x % self._value.shape[1]
        return np.take(self._value, np.arange(start, start + width), axis=1, mode="wrap")
