"""Averaging over views: what each view is turned into must be turned back."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.average import ROTATIONS, averaged


def pointwise(image: np.ndarray) -> np.ndarray:
    """A segmenter that sees one pixel at a time: every view of it gives the same answer."""
    return np.stack([image, 255 - image, image // 2, image // 3, image // 4], axis=2)


def smooth() -> np.ndarray:
    y, x = np.mgrid[:61, :84]
    return (127 + 60 * np.sin(y / 9) + 60 * np.cos(x / 11)).astype(np.uint8)


def test_flips_of_a_pointwise_model_change_nothing() -> None:
    assert (averaged(pointwise, "flips")(smooth()) == pointwise(smooth())).all()


def test_rotations_of_a_pointwise_model_only_blur_a_little_also_at_the_corners() -> None:
    image = smooth()
    found, plain = averaged(pointwise, "rotations")(image), pointwise(image)
    assert found.shape == plain.shape and found.dtype == np.uint8
    assert np.abs(found.astype(int) - plain).max() <= 4


@pytest.mark.parametrize(("how", "views"), [("flips", 4), ("rotations", ROTATIONS)])
def test_every_view_is_another_one_and_counts_alike(how: str, views: int) -> None:
    seen: list[np.ndarray] = []

    def first_only(image: np.ndarray) -> np.ndarray:
        seen.append(image)
        return np.full((*image.shape[:2], 1), 210 if len(seen) == 1 else 0, np.uint8)

    found = averaged(first_only, how)(smooth())  # type: ignore[arg-type]
    assert len(seen) == views and len({view.tobytes() for view in seen}) == views
    assert (found == round(210 / views)).all()


def test_a_direction_that_only_one_view_sees_is_found_in_its_place() -> None:
    """A model blind to all but the upper half of what it is shown sees the lower half when flipped."""
    image = np.zeros((40, 40), np.uint8)
    image[35, 8] = 200

    def upper_half(view: np.ndarray) -> np.ndarray:
        seen = view.copy()
        seen[20:] = 0
        return seen[..., None]

    found = averaged(upper_half, "flips")(image)
    assert found[35, 8, 0] == 100 and np.count_nonzero(found) == 1


def test_colour_frames_turn_as_well() -> None:
    colour = np.stack([smooth(), smooth() // 2, 255 - smooth()], axis=2)
    found = averaged(lambda view: view[..., :2], "rotations")(colour)
    assert np.abs(found.astype(int) - colour[..., :2]).max() <= 4
