"""Pictures shown smaller at the start of a run: pixels and labels alike, and their own size in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.config import AugmentConfig, FitConfig
from trainer.recipes import fit_config
from trainer.sampler import TileSampler
from trainer.stock import Picture, Stock

STILL = AugmentConfig(flips=False, warp_chance=0, elastic_chance=0, gain=0, offset=0, gamma=0)
LENGTH = 250
"""Rows and columns of the picture, whose gray value is the row."""
HALO, OUT = 20, 60


def config(**settings: object) -> FitConfig:
    given = {"start_scale": 0.5, "start_scale_until": 0.5, "crops": 1, "step_px": OUT * OUT} | settings
    return fit_config("modern", steps=1, classes=("low",), depth=3, tile_px=OUT, augment=STILL, **given)


def stock() -> Stock:
    rows = np.repeat(np.arange(LENGTH, dtype=np.uint8)[:, None], LENGTH, axis=1)
    mask = (rows >= LENGTH // 2).astype(np.uint8)
    anchors = {1: np.argwhere(mask)}
    return Stock(
        (Picture(rows, mask, None, anchors, Path("here")),), np.ones(2, np.float32), ((0.0,), (1.0,))
    )


def column(progress: float, number: int, **settings: object) -> tuple[np.ndarray, np.ndarray]:
    """The middle column of a tile's output, in gray values, and its labels."""
    batch = TileSampler(stock(), config(**settings)).batch(number, progress)
    image = batch.images.numpy()[0, 0, HALO:-HALO, HALO:-HALO]
    return image[:, OUT // 2], batch.mask.numpy()[0][:, OUT // 2]


@pytest.mark.parametrize(("progress", "rows_a_pixel"), [(0.0, 2.0), (0.25, 4 / 3), (0.5, 1.0), (1.0, 1.0)])
def test_the_scale_rises_in_a_line_to_that_of_the_pictures(progress: float, rows_a_pixel: float) -> None:
    seen = 0
    for number in range(12):
        gray, _ = column(progress, number)
        steps = np.diff(gray)
        if (np.abs(np.abs(steps) - rows_a_pixel) < 1.01).all() and (steps > 0).all():
            assert steps.mean() == pytest.approx(rows_a_pixel, abs=0.03)
            seen += 1
    assert seen >= 3, "most tiles that do not hang over the picture's end"


def test_labels_shrink_with_the_pixels() -> None:
    for number in range(12):
        gray, labels = column(0.0, number)
        sure = np.abs(gray - (LENGTH / 2 - 0.5)) > 1.5
        assert np.array_equal(labels[sure], (gray >= LENGTH // 2)[sure])


def test_a_scale_of_one_leaves_every_pixel_as_it_is() -> None:
    ended = TileSampler(stock(), config(start_scale=0.3)).batch(3, 0.5)
    never = TileSampler(stock(), config(start_scale=1.0)).batch(3, 0.5)
    assert np.array_equal(ended.images, never.images) and np.array_equal(ended.mask, never.mask)


def test_what_is_pasted_waits_for_the_pictures_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    sampler = TileSampler(stock(), config(paste_chance=1.0))
    monkeypatch.setattr("trainer.sampler.draw_cutout", lambda *_: asked.append(1.0))
    monkeypatch.setattr("trainer.sampler.paste", lambda *_: None)
    sampler._cutouts = [[]]
    sampler.batch(0, 0.4)
    assert not asked
    sampler.batch(0, 0.6)
    assert asked


def test_training_goes_on_at_the_pictures_own_size() -> None:
    """A served network knows the line's size already; the paper shows no other."""
    assert fit_config("modern", steps=1).start_scale < 1
    assert fit_config("modern", going_on=True, steps=1).start_scale == 1
    assert fit_config("paper", steps=1).start_scale == 1
