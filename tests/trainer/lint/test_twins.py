"""Which pictures count as showing the same thing."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.lint.check import lint
from trainer.lint.twins import SAME, grouped, likeness, shrunk, twins
from trainer.synth.line import LineSpec
from trainer.synth.write import write_dataset


def surface(seed: int, size: tuple[int, int] = (240, 320)) -> NDArray[np.uint8]:
    """A plate with the same outline and holes for every seed, and a grain of its own."""
    rng = np.random.default_rng(seed)
    plate = np.full(size, 40.0)
    plate[30:-30, 40:-40] = 150 + cv2.GaussianBlur(rng.normal(0, 60, size), (0, 0), 2)[30:-30, 40:-40]
    for y, x in ((60, 80), (60, 240), (180, 80), (180, 240)):
        cv2.circle(plate, (x, y), 10, 15.0, -1)
    return (plate + rng.normal(0, 2, size)).clip(0, 255).astype(np.uint8)


def like(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return likeness(shrunk(one), shrunk(other))


def exposed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same plate under a darker light from one side."""
    light = np.linspace(0.5, 0.9, image.shape[1])[None, :]
    return (image * light + 10).clip(0, 255).astype(np.uint8)


def cut(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[4:-3, 6:-5])


def stored_again(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


@pytest.mark.parametrize("change", [exposed, cut, stored_again, lambda image: cv2.resize(image, (256, 256))])
def test_the_same_part_is_known_again(change: object) -> None:
    assert like(surface(1), change(surface(1))) > SAME  # type: ignore[operator]


def test_other_parts_in_the_same_place_are_not_the_same() -> None:
    for seed in range(2, 6):
        assert like(surface(1), surface(seed)) < SAME - 0.05


def test_pictures_without_structure_are_twins_only_when_equal() -> None:
    gray = np.full((50, 60), 90, np.uint8)
    small = [shrunk(gray), shrunk(gray + 30), shrunk(gray)]
    pairs = twins(small, ["a", "b", "a"], np.zeros(3, np.int64))
    assert [(pair.one, pair.other, pair.likeness) for pair in pairs] == [(0, 2, 1.0)]


def test_across_the_split_every_pair_is_told_within_it_one_link_is_enough() -> None:
    small = [shrunk(image) for image in (surface(1), exposed(surface(1)), surface(1), surface(7))]
    names = [str(n) for n in range(4)]
    within = twins(small, names, np.zeros(4, np.int64))
    across = twins(small, names, np.array([0, 0, 1, 1]))
    assert len(within) == 2 and {(p.one, p.other) for p in across} >= {(0, 2), (1, 2)}
    assert grouped(4, within) == grouped(4, across) == [[0, 1, 2]]


def test_generated_parts_of_one_kind_are_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("synth") / "line"
    write_dataset(out, LineSpec(size=(240, 320), seed=4), 40, gray=True)
    assert "same-picture" not in [finding.code for finding in lint(out).findings]


def test_a_line_whose_frames_all_look_alike_is_no_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("alike")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    for n in range(24):
        cv2.imwrite(str(folder / "images" / f"{n}.png"), stored_again(exposed(surface(1)) + np.uint8(n)))
        cv2.imwrite(str(folder / "masks" / f"{n}.png"), np.full((240, 320), n % 2, np.uint8))
    (folder / "split.json").write_text(
        json.dumps({"train": [str(n) for n in range(22)], "test": ["22", "23"]})
    )
    levels = {finding.code: finding.level for finding in lint(folder).findings}
    assert levels["all-alike"] == "warning" and "same-picture" not in levels
