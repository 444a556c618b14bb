"""Tiles come from the mirrored plane through one map, and labels move with their pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inspector.tiling import mirror_indices
from trainer.augment import Motion, displacement, draw_motion, motion_map, nearest, warp_image
from trainer.config import AugmentConfig

RNG = np.random.default_rng(5)
STILL = np.eye(2, dtype=np.float32)


@pytest.mark.parametrize("frame", [(30, 41), (3, 50), (1, 7), (1, 1)])
def test_a_still_map_reads_the_mirrored_plane(frame: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (*frame, 3), dtype=np.uint8)
    size, origin = (76, 60), (-20, -9)
    centre = origin[0] + (size[0] - 1) / 2, origin[1] + (size[1] - 1) / 2
    where = motion_map(Motion(STILL, centre, None), size)
    rows = mirror_indices(origin[0], origin[0] + size[0], frame[0])
    columns = mirror_indices(origin[1], origin[1] + size[1], frame[1])
    plane = image[rows[:, None], columns]
    assert np.array_equal(warp_image(image, where), plane)
    labels = image[..., 0][nearest(where, frame, 8)]
    assert np.array_equal(labels, plane[8:-8, 8:-8, 0])


@pytest.mark.parametrize("turns", [False, True])
def test_flips_and_quarter_turns_move_whole_pixels(turns: bool) -> None:
    image = RNG.integers(0, 256, (40, 40), dtype=np.uint8)
    config = AugmentConfig(quarter_turns=turns, warp_chance=0.0, elastic_chance=0.0)
    versions = {k.tobytes() for n in range(4) for k in (np.rot90(image, n), np.rot90(image.T, n))}
    seen = set()
    for seed in range(40):
        motion = replace(draw_motion(np.random.default_rng(seed), config, (40, 40)), centre=(19.5, 19.5))
        seen.add(warp_image(image, motion_map(motion, (40, 40))).tobytes())
    assert seen <= versions
    assert len(seen) == (8 if turns else 4)


def test_displacement_is_smooth_and_passes_through_its_nodes() -> None:
    nodes = RNG.normal(0, 10, (3, 3)).astype(np.float32)
    field = displacement(nodes, (101, 81))
    assert np.allclose(field[::50, ::40], nodes, atol=1e-3)
    assert np.abs(np.diff(field, 2, axis=0)).max() < 0.1


def test_a_sloped_grid_gives_a_slope() -> None:
    ramp = np.array([[0, 1, 2], [0, 1, 2], [0, 1, 2]], np.float32)
    field = displacement(ramp, (9, 21))
    assert np.allclose(field, np.linspace(0, 2, 21, dtype=np.float32)[None], atol=1e-5)


def test_elastic_nodes_have_the_set_deviation() -> None:
    config = AugmentConfig(elastic_chance=1.0, elastic_sd_px=10.0, elastic_sd_share=1.0)
    rng = np.random.default_rng(0)
    nodes = [draw_motion(rng, config, (572, 572)).nodes for _ in range(300)]
    assert np.std(np.array(nodes)) == pytest.approx(10.0, rel=0.03)
    small = AugmentConfig(elastic_chance=1.0)
    nodes = [draw_motion(rng, small, (101, 300)).nodes for _ in range(300)]
    assert np.std(np.array(nodes)) == pytest.approx(0.035 * 50, rel=0.05)


def test_image_and_labels_move_together() -> None:
    """A disc, far from its edge, is labelled where it is seen, through the strongest motion."""
    y, x = np.mgrid[:200, :200]
    mask = (((y - 90) ** 2 + (x - 110) ** 2) < 50**2).astype(np.uint8)
    config = AugmentConfig(rotation_deg=180, elastic_chance=1.0, warp_chance=1.0)
    for seed in range(10):
        motion = replace(draw_motion(np.random.default_rng(seed), config, (200, 200)), centre=(100.0, 100.0))
        where = motion_map(motion, (200, 200))
        seen = warp_image(mask * 255, where)[10:-10, 10:-10]
        labels = mask[nearest(where, (200, 200), 10)]
        assert np.mean((seen > 127) != (labels > 0)) < 0.002
        assert labels.any()
