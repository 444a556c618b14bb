"""Training tiles that see the frame end: mirrored from the output's edge on, labels as they were."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from trainer.config import AugmentConfig
from trainer.recipes import fit_config
from trainer.sampler import SIDES, TileSampler
from trainer.stock import Picture, Stock

HALO, OUT = 20, 60
STILL = AugmentConfig(flips=False, warp_chance=0, elastic_chance=0, gain=0, offset=0, gamma=0)


def stock(shape: tuple[int, int], weights: bool = False) -> Stock:
    rng = np.random.default_rng(1)
    image, mask = rng.integers(0, 256, shape, np.uint8), rng.integers(0, 3, shape, np.uint8)
    given = rng.random(shape, np.float32) if weights else None
    return Stock(
        (Picture(image, mask, given, {}, Path("here")),), np.ones(3, np.float32), ((0.0,), (1.0,))
    )  # fmt: skip


def tiles(stock_: Stock, share: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    config = fit_config(
        "modern", steps=1, start_scale=1.0, classes=("a", "b"), depth=3, edge_share=share, tile_px=OUT,
        crops=1, augment=STILL, step_px=40 * OUT * OUT,
    )  # fmt: skip
    batch = TileSampler(stock_, config).batch(0, 0.0)
    return list(zip(batch.images.numpy()[:, 0], batch.mask.numpy(), batch.weights.numpy(), strict=True))


def mirrored_sides(tile: np.ndarray) -> list[str]:
    """The sides at which the tile is mirrored about the outermost pixels of its output."""
    found, k = [], np.arange(1, HALO + 1)
    for name, view in {"top": tile, "bottom": tile[::-1], "left": tile.T, "right": tile.T[::-1]}.items():
        if np.array_equal(view[HALO - k], view[HALO + k]):
            found.append(name)
    return found


def test_every_tile_ends_at_one_side_and_all_sides_take_turns() -> None:
    inside = [mirrored_sides(tile) for tile, _, _ in tiles(stock((400, 420)), 0.0)]
    ended = [mirrored_sides(tile) for tile, _, _ in tiles(stock((400, 420)), 1.0)]
    assert sum(map(len, inside)) <= 2, "a tile in the middle of a frame sees no end of it"
    assert all(ended) and {side for sides in ended for side in sides} == {"top", "bottom", "left", "right"}


@pytest.mark.parametrize("weights", [False, True])
def test_the_pixels_to_learn_are_those_of_the_picture(weights: bool) -> None:
    source = stock((400, 420), weights)
    picture = source.pictures[0]
    for tile, mask, weight in tiles(source, 1.0):
        inner = tile[HALO:-HALO, HALO:-HALO]
        corner = np.argwhere(picture.image[: -OUT + 1, : -OUT + 1] == inner[0, 0])
        (at,) = [(y, x) for y, x in corner if np.array_equal(picture.image[y : y + OUT, x : x + OUT], inner)]
        box = slice(at[0], at[0] + OUT), slice(at[1], at[1] + OUT)
        assert np.array_equal(mask, picture.mask[box])
        assert picture.weights is None or np.array_equal(weight, picture.weights[box])


def test_the_end_lies_at_the_same_side_of_the_tile_whichever_way_it_is_turned() -> None:
    """A flip or a quarter turn shows another side of the picture there."""
    config = fit_config(
        "modern", steps=1, start_scale=1.0, classes=("a", "b"), depth=3, edge_share=1.0, tile_px=OUT, crops=1,
        quarter_turns=True, augment=STILL.model_copy(update={"flips": True}), step_px=OUT * OUT,
    )  # fmt: skip
    sampler, names = TileSampler(stock((400, 420)), config), ("top", "bottom", "left", "right")
    for seed in range(40):
        side = seed % 4
        image, _, _ = sampler._cut(np.random.default_rng(seed), 0.0, 1.0, (SIDES[side],))
        assert names[side] in mirrored_sides(image)


@pytest.mark.parametrize("crops", [2, 3])
def test_of_several_crops_each_ends_at_a_side_that_the_tile_shows(crops: int) -> None:
    """At a seam its neighbour lies where the end would be seen, so all end at the tile's own sides."""
    config = fit_config(
        "modern", steps=1, start_scale=1.0, classes=("a", "b"), depth=3, edge_share=1.0, tile_px=OUT,
        crops=crops, augment=STILL.model_copy(update={"flips": True}), step_px=4 * (crops * OUT) ** 2,
    )  # fmt: skip
    sampler, k = TileSampler(stock((400, 420)), config), np.arange(1, HALO + 1)
    for tile in sampler.batch(0, 0.0).images.numpy()[:, 0]:
        n = sampler.out[0] // crops
        ends = np.zeros((crops, crops), int)
        for number in range(crops):
            for view, ended in (
                (tile, ends[0]), (tile[::-1], ends[-1]), (tile.T, ends[:, 0]), (tile.T[::-1], ends[:, -1]),
            ):  # fmt: skip
                # Without the halo, in which a neighbour's corner is seen.
                strip = view[:, HALO + number * n : HALO + (number + 1) * n]
                ended[number] += np.array_equal(strip[HALO - k], strip[HALO + k])
        outer = np.ones((crops, crops), bool)
        outer[1:-1, 1:-1] = False
        assert (ends[outer] >= 1).all()


@pytest.mark.parametrize("weights", [False, True])
def test_an_end_costs_no_copy_of_the_picture(weights: bool) -> None:
    """At twelve megapixels a copy of mask and weights, for each crop, is 60 MB."""
    source = stock((2000, 2000), weights)
    config = fit_config(
        "modern", steps=1, start_scale=1.0, classes=("a", "b"), depth=3, edge_share=1.0, tile_px=OUT, crops=1,
        augment=STILL, step_px=8 * OUT * OUT,
    )  # fmt: skip
    sampler = TileSampler(source, config)
    tracemalloc.start()
    try:
        sampler.batch(0, 0.0)
        assert tracemalloc.get_traced_memory()[1] < source.pictures[0].mask.nbytes / 2
    finally:
        tracemalloc.stop()


def reflected(frame: np.ndarray, start: int, size: int, axis: int) -> np.ndarray:
    """`size` rows (axis 0) or columns of the mirrored plane of the frame, from `start` on."""
    n = frame.shape[axis]
    place = np.arange(start, start + size) % (2 * n - 2)
    return np.asarray(np.take(frame, np.minimum(place, 2 * n - 2 - place), axis))


def windows(frame: np.ndarray, size: tuple[int, int], margin: int) -> set[bytes]:
    """All tiles of this size around the frame, and around it cut at one side as if it ended there."""
    cut = [frame[k:] for k in range(margin)] + [frame[: frame.shape[0] - k] for k in range(margin)]
    cut += [frame[:, k:] for k in range(margin)] + [frame[:, : frame.shape[1] - k] for k in range(margin)]
    found = set()
    for one in cut:
        for y in range(-HALO - margin, -HALO + margin):
            rows = reflected(one, y, size[0], 0)
            found |= {reflected(rows, x, size[1], 1).tobytes() for x in range(-HALO - margin, -HALO + margin)}
    return found


def test_a_picture_smaller_than_a_tile_is_mirrored_about_its_own_edges_or_the_crops() -> None:
    source = stock((30, 40))
    frame, legal = source.pictures[0].image, None
    for tile, mask, _ in tiles(source, 1.0)[:8]:
        legal = legal or windows(frame, (tile.shape[0], tile.shape[1]), 8)
        assert tile.astype(np.uint8).tobytes() in legal
        assert (tile.shape[0] - 2 * HALO, tile.shape[1] - 2 * HALO) == mask.shape
