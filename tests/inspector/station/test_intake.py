"""What is wrong with a picture is found before the engine sees it, and never raised."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from inspector.config import CameraConfig
from inspector.station.intake import Intake, unwatched
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
    """That gray but for one pixel: the same value all over is no picture."""
    return with_pixels(np.full(shape, value, dtype), value + 1, (0, 0))


def codes(taker: Intake, *images: np.ndarray) -> list[str | None]:
    return [f.fault.code if (f := taker.frame(grab(image))).fault else None for image in images]


def test_every_grab_gets_the_next_number_whatever_it_holds() -> None:
    taker = intake()
    broken = grab(None, fault=Reason(Fault.CAMERA, "bad"))
    frames = [
        taker.frame(one) for one in (grab(gray(90)), broken, grab(None), grab(np.zeros((0, 5), np.uint8)))
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
        gray(90),
        gray(90, (5, 6)),
        gray(90, (4, 6, 3)),
        gray(900, dtype=np.uint16),
        gray(90, (4, 6, 4)),
        gray(80),
    )
    assert found == [None, "format", "format", "format", "format", None]
    words = taker.frame(grab(gray(90, (5, 6, 3)))).fault.words
    assert words == "The picture is 5x6 colour 8-bit; the run began with 4x6 gray 8-bit."


def test_what_no_policy_covers_is_a_format_fault() -> None:
    assert codes(intake(), gray(90, (4, 6), np.float32), gray(90, (4, 6, 2)), gray(90)) == [
        "format",
        "format",
        None,
    ]


def test_a_broken_first_frame_does_not_set_the_format() -> None:
    taker = intake()
    taker.frame(grab(None, fault=Reason(Fault.FORMAT, "no image")))
    assert codes(taker, gray(50)) == [None]


def test_the_picture_comes_as_the_package_takes_it() -> None:
    deep = intake(shift_16bit=4).frame(grab(gray(159, dtype=np.uint16)))
    assert deep.image.dtype == np.uint8 and int(deep.image[0, 0]) == 10
    assert intake(channels=3).frame(grab(gray(7))).image.shape == (4, 6, 3)
    assert intake(channels=1).frame(grab(gray(7, (4, 6, 3)))).image.shape == (4, 6)


DARK = np.random.default_rng(0).integers(0, 4, (200, 100), np.uint8)
"""A covered lens: 20,000 pixels of noise, of which two may be hot."""
LIT = np.random.default_rng(1).integers(90, 160, (40, 60), np.uint8)
"""A picture as a camera takes it, no two of them alike."""


def with_pixels(image: np.ndarray, value: int, *where: tuple[int, ...]) -> np.ndarray:
    changed = image.copy()
    for place in where:
        changed[place] = value
    return changed


def test_a_covered_lens_is_black_at_defaults_also_with_a_hot_pixel() -> None:
    hot = with_pixels(DARK, 255, (3, 4), (150, 60))
    assert codes(intake(), DARK, hot, with_pixels(hot, 9, (0, 0))) == ["black", "black", None]
    assert codes(intake(black_level=2), DARK, with_pixels(np.minimum(DARK, 2), 3, (9, 9))) == [None, "black"]
    words = intake().frame(grab(hot)).fault.words
    assert "dark: 2 of 20,000 pixels brighter than 8 (camera.black_level); check light and lens" in words
    assert "dark: none of 20,000 pixels" in intake().frame(grab(DARK)).fault.words


def test_a_pixel_of_a_colour_picture_is_bright_where_any_of_its_channels_is() -> None:
    blue = [with_pixels(np.dstack([DARK] * 3), 255, *((y, 5, 0) for y in range(count))) for count in (2, 3)]
    assert codes(intake(channels=3), *blue) == ["black", None]


@pytest.mark.parametrize("shape", [(1, 10_000), (10_000, 1), (100, 100), (7, 1430), (99, 101), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_share_of_bright_pixels_is_counted_over_the_whole_picture(
    shape: tuple[int, int], channels: int
) -> None:
    dark = np.zeros(shape if channels == 1 else (*shape, 3), np.uint8)
    pixels = shape[0] * shape[1]
    ends = [with_pixels(dark, 255, np.unravel_index(n, shape)) for n in (0, pixels // 2, pixels - 1)]
    expected = "black" if pixels >= 10_000 else "camera" if pixels == 1 else None
    assert [codes(intake(channels=channels), one) for one in ends] == [[expected]] * 3


@pytest.mark.parametrize("value", [255, 128, 9])
def test_a_picture_of_one_value_all_over_is_none(value: int) -> None:
    """Light stuck full on: an all-white frame was judged, and a network finds no damage in it."""
    white = np.full((200, 100), value, np.uint8)
    dead = with_pixels(white, 0, (0, 0), (150, 60))
    assert codes(intake(), white, dead, with_pixels(dead, 30, (7, 7))) == ["camera", "camera", None]
    assert f"shows nothing, it is {value} all over; check light" in intake().frame(grab(white)).fault.words


def test_one_colour_all_over_is_no_picture_either() -> None:
    taker, red = intake(channels=3), np.full((200, 100, 3), (30, 20, 220), np.uint8)
    assert codes(taker, red, with_pixels(red, 31, *((y, 0, 0) for y in range(3)))) == ["camera", None]
    assert "it is 30, 20, 220 all over" in taker.frame(grab(red)).fault.words
    assert "it is 255 all over" in taker.frame(grab(np.full((200, 100, 3), 255, np.uint8))).fault.words


def test_frozen_counts_equal_pictures_of_a_live_camera() -> None:
    same = [gray(90), gray(90), gray(90), gray(80), gray(90)]
    assert codes(intake(frozen_frames=3), *same) == [None, None, "frozen", None, None]
    assert codes(intake(frozen_frames=2), *same) == [None, "frozen", "frozen", None, None]
    assert codes(intake(frozen_frames=1), *same) == [None, "frozen", "frozen", None, None]
    assert codes(intake(live=False, frozen_frames=2), *same) == [None] * 5


def test_a_live_camera_that_repeats_one_picture_is_frozen_at_defaults() -> None:
    """Given 100 % PASS for ever, unless somebody had thought of setting frozen_frames."""
    taker = intake()
    assert codes(taker, *[LIT.copy() for _ in range(7)]) == [None] * 4 + ["frozen"] * 3
    assert "raise camera.frozen_frames if a still scene" in taker.frame(grab(LIT.copy())).fault.words
    assert codes(intake(frozen_frames=0), *[LIT.copy() for _ in range(7)]) == [None] * 7
    assert codes(intake(live=False), *[LIT.copy() for _ in range(7)]) == [None] * 7


@pytest.mark.parametrize("place", [(0, 0), (15, 59), (16, 3), (39, 59)])
def test_one_pixel_that_differs_anywhere_is_another_picture(place: tuple[int, int]) -> None:
    turns = [with_pixels(LIT, 80 + n % 2, place) for n in range(8)]
    assert codes(intake(), *turns) == [None] * 8


def test_a_frozen_camera_that_shows_nothing_is_told_by_what_it_shows() -> None:
    assert codes(intake(), *[DARK.copy() for _ in range(6)]) == ["black"] * 6
    assert codes(intake(), *[np.full_like(DARK, 255) for _ in range(6)]) == ["camera"] * 6


def test_what_the_config_does_not_watch_is_said_of_live_cameras_only() -> None:
    off = CameraConfig(frozen_frames=0)
    assert unwatched(CameraConfig(), live=True) is None and unwatched(off, live=False) is None
    said = unwatched(off, live=True)
    assert said is not None and "repeats one picture for ever would not be seen; set it to 5" in said
