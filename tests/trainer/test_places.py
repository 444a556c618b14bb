"""Where crops are cut: all pictures are as likely, or all their places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.places import Places
from trainer.recipes import fit_config
from trainer.stock import Picture, Stock

CROP = (20, 20)
DRAWS = 4000


def picture(side: int, *classes: int, folder: str = "a") -> Picture:
    """A square one that shows each class at as many pixels."""
    blank = np.zeros((side, side), np.uint8)
    anchors: dict[int, NDArray[np.intp]] = {c: np.full((3, 2), c, np.intp) for c in classes}
    return Picture(blank, blank, None, anchors, Path(folder))


def drawn(*pictures: Picture, share: float, **settings: object) -> NDArray[np.float64]:
    """Of each picture the share of many draws."""
    classes = ("scratch", "pit")
    config = fit_config("modern", steps=1, classes=classes, **settings)
    places = Places(Stock(pictures, np.ones(3, np.float32), ((0.0,), (1.0,))), config, CROP)
    rng = np.random.default_rng(5)
    found = [places.draw(rng, share) for _ in range(DRAWS)]
    assert all((at is None) == (share == 0) for _, at in found)
    return np.array([sum(one is each for one, _ in found) for each in pictures]) / DRAWS


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_picture_is_drawn_as_often_as_it_holds_crops_where_places_are_to_be_even(share: float) -> None:
    """Sixteen crops, four, and less than one, which counts for one."""
    pictures = picture(80, 1), picture(40, 1), picture(10, 1)
    assert drawn(*pictures, share=share) == pytest.approx([1 / 3] * 3, abs=0.03)
    found = drawn(*pictures, share=share, even_places=True)
    assert found == pytest.approx([16 / 21, 4 / 21, 1 / 21], abs=0.03)


def test_the_class_comes_first_and_then_the_picture_by_its_size() -> None:
    pictures = picture(80, 1), picture(40, 1), picture(40, 2), picture(80)
    assert drawn(*pictures, share=1.0) == pytest.approx([0.25, 0.25, 0.5, 0.0], abs=0.03)
    found = drawn(*pictures, share=1.0, even_places=True)
    assert found == pytest.approx([0.4, 0.1, 0.5, 0.0], abs=0.03)


def test_the_folder_comes_first_where_a_few_flagged_frames_are_to_weigh_as_much() -> None:
    found = drawn(picture(80, 1), picture(20, 1, folder="b"), share=0.0, even_folders=True)
    assert found == pytest.approx([0.5, 0.5], abs=0.03)
