"""Tiles of several crops: each is a window of its picture, and the whole is a legal tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inspector.tiling import Geometry
from trainer.augment import draw_motion, motion_map
from trainer.config import AugmentConfig
from trainer.recipes import fit_config
from trainer.sampler import TileSampler, _placed
from trainer.stock import Picture, Stock

HALO, SIDE = 20, 50
STILL = AugmentConfig(flips=False, warp_chance=0, elastic_chance=0, gain=0, offset=0, gamma=0)


def stock() -> Stock:
    rng = np.random.default_rng(1)
    shape = (300, 320)
    picture = Picture(
        rng.integers(0, 256, shape, np.uint8), rng.integers(0, 3, shape, np.uint8),
        rng.random(shape, np.float32), {}, Path("here"),
    )  # fmt: skip
    return Stock((picture,), np.ones(3, np.float32), ((0.0,), (1.0,)))


def sampler(crops: int) -> TileSampler:
    config = fit_config(
        "modern", steps=1, classes=("a", "b"), depth=3, crops=crops, start_scale=1.0, tile_px=SIDE,
        augment=STILL,
        step_px=3 * crops * crops * SIDE * SIDE,
    )  # fmt: skip
    return TileSampler(stock(), config)


@pytest.mark.parametrize("depth", [3, 4, 5])
@pytest.mark.parametrize("crops", [1, 2, 3, 4])
def test_the_whole_is_legal_and_no_crop_is_smaller_than_asked(depth: int, crops: int) -> None:
    geometry = Geometry(depth)
    for side in (20, 51, 204):
        config = fit_config("modern", steps=1, classes=("a", "b"), depth=depth, crops=crops, tile_px=side)
        out = TileSampler(stock(), config).out
        assert out[0] == out[1] == geometry.output_at_least(out[0]) and out[0] % crops == 0
        assert side <= out[0] // crops < side + geometry.grid * crops


def test_every_crop_is_a_window_of_the_picture_with_its_labels_and_weights() -> None:
    source, drawn = stock().pictures[0], sampler(2)
    batch, n, places = drawn.batch(0, 0.0), drawn.out[0] // 2, set()
    for tile, mask, weights in zip(
        batch.images.numpy()[:, 0], batch.mask.numpy(), batch.weights.numpy(), strict=True
    ):
        assert tile.shape == (2 * n + 2 * HALO,) * 2 and mask.shape == (2 * n,) * 2
        for row in (0, 1):
            for column in (0, 1):
                box = slice(row * n, (row + 1) * n), slice(column * n, (column + 1) * n)
                inner = tile[HALO:-HALO, HALO:-HALO][box]
                corners = np.argwhere(source.image[: -n + 1, : -n + 1] == inner[0, 0])
                (at,) = [
                    (y, x) for y, x in corners if np.array_equal(source.image[y : y + n, x : x + n], inner)
                ]
                window = slice(at[0], at[0] + n), slice(at[1], at[1] + n)
                assert np.array_equal(mask[box], source.mask[window])
                assert source.weights is not None and np.array_equal(weights[box], source.weights[window])
                places.add(at)
    assert len(places) == 12, "every crop has a place of its own"


def test_the_halo_around_the_tile_is_that_of_the_crops_at_its_edge() -> None:
    source, drawn = stock().pictures[0], sampler(2)
    n = drawn.out[0] // 2
    for tile in drawn.batch(0, 0.0).images.numpy()[:, 0]:
        corner = tile[: HALO + n, : HALO + n]
        inner = corner[HALO:, HALO:]
        corners = np.argwhere(source.image[: -n + 1, : -n + 1] == inner[0, 0])
        (at,) = [(y, x) for y, x in corners if np.array_equal(source.image[y : y + n, x : x + n], inner)]
        if min(at) >= HALO:
            assert np.array_equal(corner, source.image[at[0] - HALO : at[0] + n, at[1] - HALO : at[1] + n])


@pytest.mark.parametrize("frame", [(400, 400), (60, 300), (30, 40)])
@pytest.mark.parametrize("settings", [{}, {"quarter_turns": True}, {"augmentation": "strong"}])
def test_an_aimed_crop_shows_its_defect(frame: tuple[int, int], settings: dict[str, object]) -> None:
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(20):
        mask = np.zeros(frame, np.uint8)
        y, x = rng.integers(3, frame[0] - 3), rng.integers(3, frame[1] - 3)
        mask[y - 3 : y + 4, x - 3 : x + 4] = 1
        picture = Picture(np.zeros(frame, np.uint8), mask, None, {1: np.argwhere(mask == 1)}, Path("here"))
        pictures.append(picture)
    config = fit_config(
        "modern", steps=1, classes=("a",), depth=3, crops=1, tile_px=SIDE, start_scale=1.0,
        defect_share=(1.0, 1.0), step_px=300 * SIDE * SIDE, **settings,
    )  # fmt: skip
    few = Stock(tuple(pictures), np.ones(2, np.float32), ((0.0,), (1.0,)))
    shown = (TileSampler(few, config).batch(0, 0.0).mask == 1).any(dim=(1, 2))
    assert shown.all(), f"{int(shown.sum())} of {len(shown)}"


def test_a_crop_that_fits_lies_inside_its_picture_in_every_motion() -> None:
    frame, out = (300, 200), (40, 60)
    config = AugmentConfig(quarter_turns=True, elastic_chance=0.0)
    rng = np.random.default_rng(4)
    corners = np.array([(y, x) for y in (-19.5, 19.5) for x in (-29.5, 29.5)])
    seen = []
    for _ in range(500):
        motion = _placed(rng, draw_motion(rng, config, out), out, frame, None)
        at = motion.centre + corners @ motion.matrix.T
        assert (at >= -0.51).all() and (at <= np.array(frame) - 0.49).all()
        seen.append(motion.centre)
    assert np.ptp(seen, axis=0) == pytest.approx((260, 160), abs=5)


def test_a_quarter_turn_of_an_oblong_crop_shows_the_pictures_own_pixels() -> None:
    config = AugmentConfig(quarter_turns=True, warp_chance=0.0, elastic_chance=0.0)
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (90, 90), np.uint8)
    for _ in range(20):
        motion = _placed(rng, draw_motion(rng, config, (21, 30)), (21, 30), image.shape, None)
        x, y = motion_map(motion, (21, 30))
        assert np.array_equal(x, np.rint(x)) and np.array_equal(y, np.rint(y))
