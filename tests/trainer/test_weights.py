"""The weight map against the formula as it is printed, one full transform an instance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from inspector.errors import ShapeMismatch
from trainer.weights import (
    SIGMA,
    W0,
    border_weights,
    class_weights,
    contours,
    instances_of,
    open_touching,
    weight_map,
)


def printed_formula(instances: NDArray[np.int32], background: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The border term of the paper, from a distance to every instance at every pixel."""
    ids = [i for i in np.unique(instances) if i]
    distances = np.sort(np.stack([ndimage.distance_transform_edt(instances != i) for i in ids]), axis=0)
    return np.where(background, W0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * SIGMA**2)), 0.0)


def random_instances(seed: int, size: tuple[int, int], count: int) -> NDArray[np.int32]:
    rng = np.random.default_rng(seed)
    instances = np.zeros(size, np.int32)
    for label in range(1, count + 1):
        y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
        h, w = rng.integers(1, 14, 2)
        instances[y : y + h, x : x + w] = label
    return instances


@pytest.mark.parametrize("seed", range(6))
def test_the_border_term_is_the_printed_formula(seed: int) -> None:
    instances = random_instances(seed, (97, 131), 9 + 7 * seed)
    background = instances == 0
    difference = np.abs(border_weights(instances, background) - printed_formula(instances, background))
    assert difference.max() < 1e-4
    assert border_weights(instances, background).max() > 1.0


@pytest.mark.parametrize("gap", [1, 2, 5, 11, 23, 24, 30])
def test_between_two_walls_the_term_is_known(gap: int) -> None:
    instances = np.zeros((9, gap + 8), np.int32)
    instances[:, :4], instances[:, -4:] = 1, 2
    term = border_weights(instances, instances == 0)
    # Walls `gap` apart: d1 + d2 is gap + 1 at every pixel between them.
    assert term[4, 4:-4] == pytest.approx(10 * math.exp(-((gap + 1) ** 2) / 50), abs=1e-4)
    assert not term[:, :4].any()


def test_touching_instances_are_parted_by_one_pixel_and_weighted_as_the_formula_says() -> None:
    mask = np.zeros((60, 60), np.uint8)
    instances = np.zeros((60, 60), np.int32)
    for label, (y, x, size) in enumerate([(5, 5, 20), (5, 25, 12), (25, 5, 9), (17, 25, 6), (40, 40, 5)], 1):
        mask[y : y + size, x : x + size] = 1
        instances[y : y + size, x : x + size] = label
    opened_mask, opened = open_touching(mask, instances)
    pairs = {tuple(sorted((int(a), int(b)))) for a, b in eight_neighbours(opened) if a and b and a != b}
    assert not pairs
    assert set(np.unique(opened)) == set(range(6))
    ridge = (mask == 1) & (opened_mask == 0)
    assert (opened[ridge] == 0).all()
    # Between the 20 px and the 12 px square the ridge is one column of the larger square.
    assert ridge[8, 24] and not ridge[8, 23] and not ridge[8, 25]
    background = opened_mask == 0
    assert np.abs(border_weights(opened, background) - printed_formula(opened, background)).max() < 1e-4
    assert border_weights(opened, background)[8, 24] == pytest.approx(10 * math.exp(-4 / 50), abs=1e-4)
    assert mask[8, 24] == 1, "the arguments are left alone"


def eight_neighbours(labels: NDArray[np.int32]) -> list[tuple[int, int]]:
    shifts = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    shifts += [(labels[:-1, :-1], labels[1:, 1:]), (labels[:-1, 1:], labels[1:, :-1])]
    return [pair for a, b in shifts for pair in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_of_touching_instances_is_parted_everywhere(seed: int) -> None:
    instances = random_instances(seed, (80, 80), 60)
    _, opened = open_touching((instances > 0).astype(np.uint8), instances)
    assert all(a == b or not a or not b for a, b in eight_neighbours(opened))


def test_touching_instances_of_two_classes_keep_their_pixels() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:, :5], mask[:, 5:] = 1, 2
    opened_mask, _ = open_touching(mask, instances_of(mask))
    assert (opened_mask == mask).all()


def test_components_are_eight_connected_and_of_one_class() -> None:
    mask = np.array([[1, 0, 0, 2], [0, 1, 2, 0], [255, 0, 0, 0], [1, 255, 2, 2]], np.uint8)
    instances = instances_of(mask)
    assert instances[0, 0] == instances[1, 1] != 0
    assert instances[0, 3] == instances[1, 2] != instances[0, 0]
    assert instances[2, 0] == instances[3, 1] == 0
    assert sorted(np.unique(instances)) == [0, 1, 2, 3, 4]


def test_an_instance_mask_counts_only_where_the_mask_names_a_class() -> None:
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 255]], np.uint8)
    given = np.array([[900, 41, 41, 0], [7, 0, 0, 41]], np.uint16)
    instances = instances_of(mask, given)
    assert instances[1].tolist() == [0, 0, 0, 0]
    assert instances[0, 2] == 0
    assert len({int(i) for i in (instances[0, 0], instances[0, 1], instances[0, 3])}) == 3
    with pytest.raises(ShapeMismatch, match=r"\(2, 3\)"):
        instances_of(mask, given[:, :3])


def test_class_weights_are_inverse_frequencies_with_mean_one_and_a_cap() -> None:
    counts = np.array([9_000, 900, 100])
    weights = class_weights(counts, math.inf)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0)
    assert weights[2] / weights[0] == pytest.approx(90.0)
    assert class_weights(counts, 20.0).tolist() == pytest.approx([*weights[:2], 20.0])
    rare = class_weights(np.array([99_984, 16]), math.inf)
    assert rare[1] == pytest.approx(3125.0)
    assert class_weights(np.array([50, 0, 50]), 20.0).tolist() == [1.0, 20.0, 1.0]


def test_the_weight_map_in_its_three_border_modes() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:15], mask[5:20, 18:30], mask[25:, :] = 1, 1, 255
    instances = instances_of(mask)
    weight = np.array([0.5, 7.0], np.float32)
    plain = weight_map(mask, instances, weight, "none")
    assert set(np.unique(plain)) == {0.0, 0.5, 7.0}
    assert not plain[25:].any()
    paper = weight_map(mask, instances, weight, "weight")
    assert (paper[instances > 0] == 7.0).all() and not paper[25:].any()
    assert paper[10, 16] == pytest.approx(0.5 + 10 * math.exp(-16 / 50), abs=1e-4)
    ignored = weight_map(mask, instances, weight, "ignore")
    assert ignored[10, 5] == ignored[10, 6] == ignored[10, 4] == ignored[10, 3] == 0.0
    assert ignored[10, 7] == 7.0 and ignored[10, 2] == 0.5
    assert contours(instances)[10, 14]


def test_without_a_second_instance_there_is_no_border_term() -> None:
    one = np.zeros((20, 20), np.int32)
    assert not border_weights(one, one == 0).any()
    one[5:9, 5:9] = 3
    assert not border_weights(one, one == 0).any()
