"""Gray values change as light, lens, sensor and file change them; pixels stay where they are."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.appearance import add_noise, change_appearance, change_gray, light_unevenly, through_jpeg
from trainer.config import AugmentConfig

RAMP = np.arange(256, dtype=np.uint8)[None]
EVERYTHING = AugmentConfig(light_chance=1, blur_chance=1, noise_chance=1, jpeg_chance=1, tint=0.1)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_gray_change_keeps_order_and_is_seeded() -> None:
    first = change_gray(rng(), AugmentConfig(), RAMP)
    assert np.all(np.diff(first.astype(int)) >= 0)
    assert not np.array_equal(first, RAMP)
    assert np.array_equal(first, change_gray(rng(), AugmentConfig(), RAMP))


def test_a_tint_parts_the_channels_and_no_tint_does_not() -> None:
    ramp = np.repeat(RAMP[..., None], 3, axis=2)
    plain = change_gray(rng(), AugmentConfig(), ramp)
    assert np.array_equal(plain[..., 0], plain[..., 2])
    tinted = change_gray(rng(), AugmentConfig(tint=0.2), ramp)
    assert not np.array_equal(tinted[..., 0], tinted[..., 2])
    assert np.all(np.diff(tinted.astype(int), axis=1) >= 0)


def test_uneven_light_is_a_smooth_factor() -> None:
    gray = np.full((120, 90), 100, np.uint8)
    lit = light_unevenly(rng(), 0.15, gray).astype(int)
    assert lit.max() - lit.min() > 10
    assert np.abs(np.diff(lit, axis=0)).max() <= 2 and np.abs(np.diff(lit, axis=1)).max() <= 2
    colour = light_unevenly(rng(), 0.15, np.full((120, 90, 3), 100, np.uint8))
    assert np.array_equal(colour[..., 1], lit)


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    gray = np.full((200, 200), 128, np.uint8)
    noisy = add_noise(rng(), 5.0, gray).astype(float)
    assert noisy.std() == pytest.approx(5.0, rel=0.03)
    assert noisy.mean() == pytest.approx(128.0, abs=0.1)


def test_worse_compression_leaves_less() -> None:
    image = rng().integers(0, 256, (64, 64), dtype=np.uint8)
    losses = [np.abs(through_jpeg(q, image).astype(int) - image).mean() for q in (95, 60, 20)]
    assert 0 < losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_everything_together_keeps_shape_and_type_and_is_seeded(shape: tuple[int, ...]) -> None:
    image = rng().integers(60, 200, shape, dtype=np.uint8)
    first = change_appearance(rng(3), EVERYTHING, image)
    assert first.shape == image.shape and first.dtype == np.uint8
    assert np.array_equal(first, change_appearance(rng(3), EVERYTHING, image))
    assert not np.array_equal(first, image)


def test_with_every_chance_at_nought_only_gray_values_change() -> None:
    still = AugmentConfig(gain=0, offset=0, gamma=0)
    image = rng().integers(0, 256, (40, 50), dtype=np.uint8)
    assert np.array_equal(change_appearance(rng(3), still, image), image)
