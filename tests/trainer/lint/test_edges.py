"""How fat a label is: measured on drawn defects whose true edge is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.lint.edges import LabelEdge, label_edges


def crack(width: int, noise: float = 3.0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(picture, exact mask) of a winding dark line of that width on a shaded, noisy surface."""
    rng = np.random.default_rng(3)
    mask = np.zeros((160, 200), np.uint8)
    points = [(x, int(80 + 25 * np.sin(x / 22))) for x in range(10, 190)]
    cv2.polylines(mask, [np.asarray(points, np.int32).reshape(-1, 1, 2)], False, 1, width)
    shade = np.linspace(120, 190, 200)[None, :].repeat(160, 0)
    image = np.where(mask > 0, shade - 70, shade)
    image = cv2.GaussianBlur(image, (0, 0), 0.7) + rng.normal(0, noise, image.shape)
    return image.clip(0, 255).astype(np.uint8), mask


def grown(mask: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    square = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(by) + 1, 2 * abs(by) + 1))
    grow = cv2.dilate if by > 0 else cv2.erode
    return np.asarray(grow(mask, square), np.uint8)


def only(edges: list[LabelEdge]) -> LabelEdge:
    assert len(edges) == 1
    return edges[0]


@pytest.mark.parametrize("width", [5, 9, 15])
def test_an_exact_label_fits(width: int) -> None:
    edge = only(label_edges(*crack(width)))
    assert edge.excess_px == pytest.approx(0, abs=0.5)
    assert edge.ratio == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("by", [-1, 1, 2, 3])
def test_the_excess_is_what_was_painted_too_much(by: int) -> None:
    image, mask = crack(7)
    edge = only(label_edges(image, grown(mask, by)))
    assert edge.excess_px == pytest.approx(by, abs=0.6)


def test_a_bright_defect_measures_like_a_dark_one() -> None:
    image, mask = crack(7)
    edge = only(label_edges(255 - image, grown(mask, 2)))
    assert edge.excess_px == pytest.approx(2, abs=0.6)


def test_where_nothing_is_seen_nothing_is_measured() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(128, 20, (160, 200)).clip(0, 255).astype(np.uint8)
    edge = only(label_edges(image, crack(7)[1]))
    assert edge.excess_px is None and edge.ratio is None


def test_a_label_beside_another_or_at_the_rim_does_not_count_it_as_surroundings() -> None:
    image = np.full((80, 80), 200, np.uint8)
    image[30:50, 0:30] = 60
    image[30:50, 30:50] = 90
    mask = np.zeros((80, 80), np.uint8)
    mask[30:50, 0:30], mask[30:50, 30:50] = 1, 2
    for edge in label_edges(image, mask):
        assert edge.excess_px == pytest.approx(0, abs=0.6)


def test_ignored_and_tiny_labels_are_left_out() -> None:
    image, mask = crack(7)
    tiny = np.zeros_like(mask)
    tiny[10:13, 10:13] = 1
    assert label_edges(image, np.asarray(mask * 255, np.uint8)) == []
    assert label_edges(image, tiny) == []
