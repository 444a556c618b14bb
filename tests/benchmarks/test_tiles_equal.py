"""The benchmark's check on fewer shapes: it holds on the grid, and fails off it."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks.tiles_equal import (
    BAR,
    DEPTHS,
    corner_cases,
    difference,
    random_cases,
    scene,
    stepping_by_output,
    train_small,
    worst_of,
)
from inspector.tiling import Geometry, plan_tiles


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose time when they share cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_random_shapes():
    cases = random_cases(12, seed=5, largest=120)
    assert sum(len(case.plan.tiles) > 1 for case in cases) >= 6
    assert worst_of(cases, seed=5) <= BAR


@pytest.mark.parametrize("depth", DEPTHS[:2])
def test_corner_shapes(depth: int):
    assert worst_of(corner_cases(depth), seed=2) <= BAR


def test_stepping_off_the_grid_is_seen():
    net, first, last = train_small(depth=5, steps=20, seed=3, out=20)
    assert last < first
    frame, geometry = (60, 100), Geometry(5)
    image = scene(frame, np.random.default_rng(4))[0]
    assert difference(net, image, plan_tiles(frame, (52, 52), geometry)) <= BAR
    assert difference(net, image, stepping_by_output(frame, 52, geometry)) > BAR
