"""Warping error on pictures whose topology is plain to see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import euler_number, label

from tests.trainer.judged import drawn, judged
from trainer.metrics.warping import KINDS, WarpingError, kinds_of, simple_points, warp, warping_of


def kinds(truth: np.ndarray, said: np.ndarray, connectivity: int = 4) -> dict[str, int]:
    warped = warp(truth.astype(bool), said.astype(bool), connectivity)  # type: ignore[arg-type]
    found = kinds_of(warped, said.astype(bool), connectivity)  # type: ignore[arg-type]
    return {name: int(px.sum()) for name, px in found.items() if px.any()}


def code(*rows: str) -> int:
    """The neighbourhood drawn in 3x3, as the table counts its bits: clockwise from the upper left."""
    patch = drawn(*rows)
    ring = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    return sum(int(patch[at]) << bit for bit, at in enumerate(ring))


def test_simple_points_are_those_of_the_textbook() -> None:
    four, eight = simple_points(4), simple_points(8)
    assert sum(four) == sum(eight) == 116, "of 256 neighbourhoods"
    end_of_a_line = code("...", "##.", "...")
    middle_of_a_line = code("...", "#.#", "...")
    corner = code("#..", "...", "...")
    inside, alone = code("###", "#.#", "###"), code("...", "...", "...")
    assert four[end_of_a_line] and eight[end_of_a_line]
    assert not four[middle_of_a_line] and not eight[middle_of_a_line]
    assert not four[inside] and not eight[inside] and not four[alone] and not eight[alone]
    assert eight[corner] and not four[corner], (
        "a diagonal neighbour touches only where objects are 8-connected"
    )
    diagonals = code("#..", "...", "..#")
    assert not eight[diagonals], "flipping it joins two"


def test_a_boundary_that_moves_costs_nothing() -> None:
    truth, said = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    truth[5:15, 5:15], said[8:22, 3:20] = True, True
    assert (warp(truth, said, 4) == said).all()
    assert kinds(truth, said) == {}


def test_a_merger_is_the_line_that_is_lost() -> None:
    truth = drawn("###.###", "###.###", "###.###")
    said = drawn("###.###", "#######", "###.###")
    assert kinds(truth, said) == {"mergers": 1}
    # A wall of two pixels first thins to one: only what holds the cells apart counts.
    thick = drawn("###..###", "###..###", "###..###")
    assert kinds(thick, np.ones((3, 8), bool)) == {"mergers": 3}


def test_a_split_is_the_line_that_is_too_much() -> None:
    truth = np.ones((3, 7), np.uint8)
    assert kinds(truth, drawn("###.###", "###.###", "###.###")) == {"splits": 1}
    # What keeps the halves together at last is a bridge across the gap, one pixel thick.
    assert kinds(np.ones((3, 8)), drawn("###..###", "###..###", "###..###")) == {"splits": 2}


def test_holes_and_objects_too_many_or_too_few() -> None:
    full, holed = drawn("#####", "#####", "#####"), drawn("#####", "##.##", "#####")
    assert kinds(full, holed) == {"holes_added": 1}
    assert kinds(holed, full) == {"holes_deleted": 1}
    none, one = np.zeros((5, 5), np.uint8), drawn(".....", ".##..", ".##..", ".....", ".....")
    assert kinds(none, one) == {"objects_added": 4}
    assert kinds(one, none) == {"objects_deleted": 1}, "it shrinks to a point and cannot vanish"


def test_a_hole_that_opens_to_the_outside_is_a_hole_deleted() -> None:
    ring = drawn("#####", "#...#", "#####")
    assert kinds(ring, drawn("##.##", "#...#", "#####")) == {"holes_deleted": 1}
    assert kinds(drawn("##.##", "#...#", "#####"), ring) == {"holes_added": 1}


def test_connectivity_decides_whether_a_diagonal_joins() -> None:
    truth, said = drawn("##...", "##...", "...##", "...##"), drawn("##...", "##...", "..###", "...##")
    assert kinds(truth, said, 4) == {}
    assert kinds(truth, said, 8) == {"mergers": 1}


def test_outside_the_mask_nothing_moves() -> None:
    truth, said = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
    truth[2:10, 2:6], said[2:10, 2:9] = True, True
    within = np.zeros((12, 12), bool)
    within[:, :7] = True
    warped = warp(truth, said, 4, within)
    assert warped[2:10, 2:7].all() and not warped[:, 7:].any()
    assert (warped != said).sum() == 8 * 2


@pytest.mark.parametrize(("surest", "left"), [((1, 0), (1, 0)), ((1, 2), (1, 2))])
def test_the_surest_pixel_goes_first(surest: tuple[int, int], left: tuple[int, int]) -> None:
    """An object can move to one of two places, not to both: where the model is surer."""
    truth, said = drawn("...", ".#.", "...").astype(bool), drawn("...", "#.#", "...").astype(bool)
    sure = np.zeros((3, 3))
    sure[surest], sure[1, 1] = 1.0, 0.5
    warped = warp(truth, said, 4, confidence=sure)
    assert np.argwhere(warped).tolist() == [list(left)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 8]))
def test_warping_keeps_the_topology_and_never_adds_errors(seed: int, connectivity: int) -> None:
    random = np.random.default_rng(seed)
    truth, said = random.random((2, 14, 17)) < 0.6
    warped = warp(truth, said, connectivity)  # type: ignore[arg-type]
    assert (warped != said).sum() <= (truth != said).sum()
    own, other = connectivity // 4, (12 - connectivity) // 4  # scikit-image: 1 = 4-, 2 = 8-connected
    for labels, near in ((lambda a: np.pad(a, 1), own), (lambda a: ~np.pad(a, 1), other)):
        assert label(labels(warped), connectivity=near).max() == label(labels(truth), connectivity=near).max()
    assert euler_number(np.pad(warped, 1), own) == euler_number(np.pad(truth, 1), own)
    # What is left cannot flip: no remaining pixel is simple.
    again = warp(warped, said, connectivity)  # type: ignore[arg-type]
    assert (again == warped).all()
    left = kinds_of(warped, said, connectivity)  # type: ignore[arg-type]
    assert sum(int(px.sum()) for px in left.values()) == (warped != said).sum()


def test_cells_between_membranes_are_the_objects_without_an_instance_mask() -> None:
    truth, said = np.zeros((9, 20), np.uint8), np.zeros((9, 20), np.uint8)
    truth[:, 10] = 1
    said[:, 10] = 1
    said[4, 10] = 0  # the membrane has a gap: two cells become one
    found = warping_of(judged(truth, said))
    assert (found.error_px, found.kinds["mergers"], found.kinds_px["mergers"]) == (1, 1, 1)
    truth[4, 10] = 255
    assert warping_of(judged(truth, said)).error_px == 0, "an ignored pixel counts for nothing"
    assert warping_of(judged(truth, said)).pixels == 9 * 20 - 1


def test_touching_instances_are_parted_by_the_ridge_as_in_training() -> None:
    instances = np.zeros((10, 16), np.uint16)
    instances[2:8, 2:8], instances[2:8, 8:14] = 1, 2
    truth = (instances > 0).astype(np.uint8)
    parted = truth.copy()
    parted[2:8, 8] = 0
    assert warping_of(judged(truth, parted, instances)).error_px == 0
    merged = warping_of(judged(truth, truth, instances))
    assert merged.kinds["mergers"] == 1 and merged.kinds_px["mergers"] == merged.error_px == 6


def test_the_figure_is_a_share_of_all_pixels_with_the_challenges_part_apart() -> None:
    truth, said = np.zeros((9, 20), np.uint8), np.zeros((9, 20), np.uint8)
    truth[:, 10] = said[:, 10] = 1
    said[4, 10], said[4, 4] = 0, 1  # a merger, and a hole in a cell
    error = WarpingError()
    error.update(judged(truth, said, part="a"))
    error.update(judged(truth, truth, part="b"))
    figures = error.json()
    assert figures["warping_error"] == pytest.approx(2 / 360)
    assert figures["warping"]["splits_and_mergers"] == pytest.approx(1 / 360)
    assert figures["warping"]["kinds"]["mergers"] == {"errors": 1, "px": 1}
    assert figures["warping"]["kinds"]["holes_added"] == {"errors": 1, "px": 1}
    assert set(figures["warping"]["kinds"]) == set(KINDS)
    low, high = figures["warping_error_95"]
    assert 0 < low < 1e-3 and 2 / 180 < high < 1, "one part of two says 0, the other 2 / 180"
