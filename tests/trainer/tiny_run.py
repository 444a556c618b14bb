"""A tiny line to train on, and what its tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainer.fit import Request
from trainer.resume import Resumption

TINY: dict[str, Any] = {"base": 4, "depth": 3, "tile_px": 36, "step_px": 4000, "crops": 1}


class Silent:
    """A report that nobody reads; what alarms it is kept."""

    def __init__(self) -> None:
        self.alarms: list[str] = []

    def step(self, step: int, progress: float, left_s: float | None, loss: float) -> None: ...

    def validated(self, step: int, found: object, kept: bool) -> None: ...

    def notice(self, words: str) -> None: ...

    def finishing(self, words: str, done: int, frames: int) -> None: ...

    def alarm(self, words: str) -> None:
        self.alarms.append(words)


def make_data(folder: Path) -> Path:
    """Twelve gray pictures of noise, each with dark blots (class 1); a third has a bright one (class 2)."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for n in range(12):
        image = rng.normal(128, 10, (60, 44)).clip(0, 255).astype(np.uint8)
        mask = np.zeros_like(image)
        for class_id, value in [(1, 20), (1, 20)] + ([(2, 240)] if n % 3 == 0 else []):
            y, x = (int(v) for v in rng.integers((4, 4), (50, 34)))
            image[y : y + 7, x : x + 7], mask[y : y + 7, x : x + 7] = value, class_id
        cv2.imwrite(str(folder / "images" / f"{n}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{n}.png"), mask)
    (folder / "classes.json").write_text('{"1": "hole", "2": "chip"}')
    return folder


def request(data: Path, out: Path, **settings: Any) -> Request:
    """A tiny run. recipe and init are the Request's own, all else settings."""
    recipe = settings.pop("recipe", "modern")
    return Request((data,), out, recipe, settings.pop("init", None), {**TINY, **settings})


def resumption(data: Path, out: Path, **settings: Any) -> Resumption:
    return Resumption((data,), out, **settings)
