"""What is wrong with a picture is found before the engine sees it, and never raised."""

from __future__ import annotations

import itertools

import numpy as np

from inspector.config import CameraConfig
from inspector.station.intake import Intake
from inspector.types import Fault, Grab, Reason


class Counting:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def next(self) -> int:
        return next(self._numbers)


def intake(channels: int = 1, live: bool = True, **config: object) -> Intake:
    return Intake(Counting(), "cam", CameraConfig(**config), channels=channels, live=live)


def grab(image: np.ndarray | None, **fields: object) -> Grab:
    return Grab(image, 11, 22, "src", **fields)


def gray(value: int, shape: tuple[int, ...] = (4, 6), dtype: type = np.uint8) -> np.ndarray:
    return np.full(shape, value, dtype)


def codes(taker: Intake, *images: np.ndarray) -> list[str | None]:
    return [f.fault.code if (f := taker.frame(grab(image))).fault else None for image in images]


def test_every_grab_gets_the_next_number_whatever_it_holds() -> None:
    taker = intake()
    broken = grab(None, fault=Reason(Fault.CAMERA, "bad"))
    frames = [
        taker.frame(one) for one in (grab(gray(9)), broken, grab(None), grab(np.zeros((0, 5), np.uint8)))
    ]
    assert [f.number for f in frames] == [1, 2, 3, 4]
    assert [f.fault.code if f.fault else None for f in frames] == [None, "camera", "camera", "format"]
    assert (frames[0].utc_ns, frames[0].mono_ns, frames[0].camera_id, frames[0].source) == (
        11,
        22,
        "cam",
        "src",
    )


def test_another_size_depth_or_colour_than_the_first_is_a_format_fault() -> None:
    taker = intake()
    found = codes(
        taker,
        gray(9),
        gray(9, (5, 6)),
        gray(9, (4, 6, 3)),
        gray(900, dtype=np.uint16),
        gray(9, (4, 6, 4)),
        gray(8),
    )
    assert found == [None, "format", "format", "format", "format", None]
    words = taker.frame(grab(gray(9, (5, 6, 3)))).fault.words
    assert words == "The picture is 5x6 colour 8-bit; the run began with 4x6 gray 8-bit."


def test_what_no_policy_covers_is_a_format_fault() -> None:
    assert codes(intake(), gray(1, (4, 6), np.float32), gray(1, (4, 6, 2)), gray(1)) == [
        "format",
        "format",
        None,
    ]


def test_a_broken_first_frame_does_not_set_the_format() -> None:
    taker = intake()
    taker.frame(grab(None, fault=Reason(Fault.FORMAT, "no image")))
    assert codes(taker, gray(5)) == [None]


def test_the_picture_comes_as_the_package_takes_it() -> None:
    deep = intake(shift_16bit=4).frame(grab(gray(160, dtype=np.uint16)))
    assert deep.image.dtype == np.uint8 and int(deep.image[0, 0]) == 10
    assert intake(channels=3).frame(grab(gray(7))).image.shape == (4, 6, 3)
    assert intake(channels=1).frame(grab(gray(7, (4, 6, 3)))).image.shape == (4, 6)


def test_black_is_judged_by_the_brightest_pixel() -> None:
    one_lit = gray(0)
    one_lit[2, 3] = 11
    assert codes(intake(black_level=10), gray(10), one_lit) == ["black", None]
    assert codes(intake(), gray(0), gray(1)) == ["black", None]


def test_frozen_counts_equal_pictures_of_a_live_camera() -> None:
    same = [gray(9), gray(9), gray(9), gray(8), gray(9)]
    assert codes(intake(frozen_frames=3), *same) == [None, None, "frozen", None, None]
    assert codes(intake(frozen_frames=2), *same) == [None, "frozen", "frozen", None, None]
    assert codes(intake(frozen_frames=1), *same) == [None, "frozen", "frozen", None, None]
    assert codes(intake(), *same) == [None] * 5
    assert codes(intake(live=False, frozen_frames=2), *same) == [None] * 5
