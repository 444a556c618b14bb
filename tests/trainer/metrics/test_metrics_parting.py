"""Regions parted at necks, and specks left out, on shapes whose necks are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.trainer.judged import drawn, judged
from trainer.metrics.instances import InstanceFigures, predicted_instances
from trainer.metrics.parting import NECK, Parting, part_at_necks, partings_of, without_specks
from trainer.weights import instances_of

NECKS = Parting(necks=True)


def discs(*places: tuple[int, int, int], size: tuple[int, int] = (120, 240)) -> NDArray[np.uint8]:
    """A mask of discs, each given as (y, x, radius)."""
    ys, xs = np.mgrid[: size[0], : size[1]]
    return np.any([(ys - y) ** 2 + (xs - x) ** 2 <= r * r for y, x, r in places], axis=0).astype(np.uint8)


def two(radius: int, neck: float) -> NDArray[np.uint8]:
    """Two equal discs that overlap so that the neck is `neck` times as wide as they are."""
    apart = round(2 * radius * np.sqrt(1 - neck**2))
    return discs((55, 60, radius), (55, 60 + apart, radius))


def count(mask: NDArray[np.uint8], *partings: Parting) -> int:
    return len(np.unique(predicted_instances(mask, partings))) - 1


@pytest.mark.parametrize("radius", [6, 12, 25, 50])
@pytest.mark.parametrize(("share", "found"), [(0.5, 2), (0.8, 2), (1.15, 1)])
def test_a_region_is_parted_where_the_neck_is_narrow_enough(radius: int, share: float, found: int) -> None:
    mask = two(radius, share * NECK)
    assert count(mask) == 1
    assert count(mask, NECKS) == count(mask.T.copy(), NECKS) == found


def test_the_cut_runs_through_the_neck() -> None:
    parted = predicted_instances(two(20, 0.5), [NECKS])
    sizes = np.bincount(parted.ravel())[1:]
    left, right = sizes[sizes > 0]
    assert abs(left - right) < 0.03 * left
    assert len(np.unique(parted[:, :76])) == len(np.unique(parted[:, 80:])) == 2, "one each, and background"


def test_the_narrower_bulge_decides() -> None:
    """A disc of 10 px beside one of 40 px: a neck of 9 px is none for the small one, though for the large."""
    near, far = discs((60, 60, 40), (60, 103, 10)), discs((60, 60, 40), (60, 108, 10))
    assert count(near, NECKS) == 1
    assert count(far, NECKS) == 2


@pytest.mark.parametrize(
    "mask",
    [
        discs((60, 60, 30)),
        discs((60, 60, 30)) - discs((60, 60, 22)),  # a ring
        np.pad(np.ones((12, 90), np.uint8), 10),  # a rod
        np.pad(np.ones((40, 40), np.uint8), 10),
        np.ones((30, 40), np.uint8),  # the whole frame
        np.zeros((9, 9), np.uint8),
        np.eye(20, dtype=np.uint8),  # a hairline
    ],
)
def test_what_has_no_neck_stays_one(mask: NDArray[np.uint8]) -> None:
    assert count(mask, NECKS) == count(mask)


def test_a_ragged_outline_has_no_necks() -> None:
    rng = np.random.default_rng(4)
    disc = discs((60, 60, 25))
    rim = disc - cv2.erode(disc, np.ones((3, 3), np.uint8))
    ragged = np.where((rim > 0) & (rng.random(disc.shape) < 0.5), 0, disc).astype(np.uint8)
    ragged = (instances_of(ragged) == 1).astype(np.uint8)
    assert ragged.sum() > 1800 and count(ragged, NECKS) == 1


def test_a_chain_falls_into_its_links() -> None:
    chain = discs(*((60, 30 + 22 * n, 13) for n in range(5)))
    assert count(chain) == 1 and count(chain, NECKS) == 5


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_every_pixel_keeps_a_label_of_its_own_region(seed: int) -> None:
    """Blobs, hairlines and corners that touch, at every side of the frame, of two classes."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((70, 90)).astype(np.float32), (0, 0), float(rng.uniform(0.5, 4)))
    mask = (noise > np.quantile(noise, 0.6)).astype(np.uint8)
    mask[:, 45:] *= 2
    before = instances_of(mask)
    after = part_at_necks(before, mask == 1)
    assert ((after > 0) == (before > 0)).all()
    pairs = np.unique(np.stack([after[mask > 0], before[mask > 0]]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1], "no piece lies in two regions"
    assert (after[mask == 2] == before[mask == 2]).all(), "the other class was not asked for"
    moved = part_at_necks(np.pad(before, 7), np.pad(mask == 1, 7))[7:-7, 7:-7]
    assert (moved == after).all(), "where a frame ends makes no difference"


def test_the_ridge_is_given_back_after_a_cut() -> None:
    mask = two(20, 0.5)
    mask[:, 40:80][:, 5] = 0  # the left disc has a ridge of its own
    parted = predicted_instances(mask, [NECKS])
    assert (parted[55, 40:110] > 0).all() and len(np.unique(parted)) == 4


def test_specks_are_left_out_class_by_class() -> None:
    mask = drawn("11..222", "11.....", "....1..", "2.....2", "......2")
    ids = instances_of(mask)
    kept = without_specks(ids, mask, [Parting(speck_px=2), Parting(speck_px=3)])
    assert (kept > 0).tolist() == (drawn("11..222", "11.....", ".......", ".......", ".......") > 0).tolist()
    assert (without_specks(ids, mask, [Parting(), Parting()]) == ids).all()


def test_how_a_run_parts_its_classes_is_read_from_its_figures() -> None:
    kept = {"cell": {"threshold": 0.5, "speck_px": 21, "necks": True}, "old": {"threshold": 0.5}}
    found = partings_of(("cell", "old", "never seen"), {"validation": {"classes": kept}})
    assert found == (Parting(21, True), Parting(), Parting())
    assert partings_of(("cell",), {}) == (Parting(),)
    assert [parting.words for parting in found[:2]] == [
        "regions parted at necks, specks below 21 px left out",
        "",
    ]


def test_the_regions_that_the_line_counts_stand_beside_the_instances() -> None:
    mask = two(20, 0.5)
    mask[5, 5] = 1
    truth = np.where(mask > 0, 1 + (np.arange(mask.shape[1]) > 77), 0)
    truth[5, 5] = 0
    figures = InstanceFigures(["cell"], ["ap50"])
    frame = judged(truth > 0, mask, truth)
    object.__setattr__(frame, "partings", (Parting(2, True),))
    figures.update(frame)
    found = figures.json()
    assert found["ap50"] == 1.0 and found["instances"]["merges"] == 0
    regions = found["regions"]
    assert (regions["predicted"], regions["invented"], regions["merges"]) == (2, 2, 1)
    assert regions["ap50"] == 0.0 and regions["ap50_by_frame"] == 0.0
    plain = InstanceFigures(["cell"], ["ap50"])
    plain.update(judged(truth > 0, mask, truth))
    assert "regions" not in plain.json() and plain.json()["ap50"] == 0.0
