"""The shared picture: whole or nothing, newest first, and cheap to leave alone."""

from __future__ import annotations

import errno
import os
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.live import HEAD, SLOT, LivePicture, PictureWriter, shrink
from inspector.types import Defect, Frame, Image, Inspection, Mask, Reason, Verdict, VerdictWord


def inspection(number: int, image: Image | None, *, mask: Mask | None = None) -> Inspection:
    frame = Frame(number, image, 1_000 + number, number, "cam")
    if mask is None:
        return Inspection(frame, Verdict(VerdictWord.PASS))
    defect = Defect(1, "scratch", (4, 6, 8, 20), 50, 14.0, 3.0, 0.9)
    verdict = Verdict(VerdictWord.REJECT, (Reason("length", "scratch 14 px is above 10 px"),))
    return Inspection(frame, verdict, (defect,), mask, 1.0)


def writer_without_pause(path: Path, max_side: int = 64) -> PictureWriter:
    return PictureWriter(path, max_side, min_interval_s=0.0)


def test_a_reader_sees_what_was_published(tmp_path: Path) -> None:
    image = np.arange(40 * 50, dtype=np.uint32).reshape(40, 50).astype(np.uint8)
    mask: Mask = np.zeros((40, 50), np.uint8)
    mask[4:8, 6:20] = 1
    path = tmp_path / "live" / "run.picture"
    reader = LivePicture.reader(path)
    assert reader.latest() is None
    writer = writer_without_pause(path)
    assert reader.latest() is None
    writer.publish(inspection(7, image, mask=mask))
    picture = reader.latest()
    assert picture is not None and picture.image is not None and picture.mask is not None
    assert (picture.number, picture.word, picture.frame, picture.scale) == (
        7,
        VerdictWord.REJECT,
        (40, 50),
        1.0,
    )
    assert picture.reasons == ("scratch 14 px is above 10 px",)
    assert np.array_equal(picture.image, image) and np.array_equal(picture.mask, mask)
    assert picture.marks[0].box == (4, 6, 8, 20) and picture.marks[0].class_name == "scratch"
    assert reader.latest(after=7) is None
    writer.close()
    reader.close()


def test_a_frame_without_an_image_takes_the_old_picture_away(tmp_path: Path) -> None:
    writer = writer_without_pause(tmp_path / "run.picture")
    writer.publish(inspection(1, np.zeros((8, 8, 3), np.uint8)))
    writer.publish(inspection(2, None))
    reader = LivePicture.reader(tmp_path / "run.picture")
    picture = reader.latest()
    assert picture is not None and picture.number == 2 and picture.image is None
    writer.close()
    reader.close()


@pytest.mark.parametrize("damage", ["pixels", "begin", "end"])
def test_a_torn_picture_is_no_picture(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "run.picture"
    writer = writer_without_pause(path)
    writer.publish(inspection(1, np.full((16, 16), 9, np.uint8)))
    writer.close()
    slot = HEAD.size + SLOT.size + (1 << 18) + 4 * 64 * 64
    at = {"pixels": slot + SLOT.size + 300, "begin": slot, "end": slot + SLOT.size - 8}[damage]
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))
    reader = LivePicture.reader(path)
    assert reader.latest() is None
    reader.close()


def test_a_reader_beside_a_fast_writer_never_sees_two_pictures_in_one(tmp_path: Path) -> None:
    path = tmp_path / "run.picture"
    writer = writer_without_pause(path, 256)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            writer.publish(inspection(number, np.full((256, 256, 3), number % 251, np.uint8)))

    thread = threading.Thread(target=write)
    thread.start()
    reader = LivePicture.reader(path)
    seen = last = 0
    try:
        while seen < 50:
            picture = reader.latest(after=last)
            if picture is None or picture.image is None:
                continue
            assert (picture.image == picture.number % 251).all() and picture.number > last
            seen, last = seen + 1, picture.number
    finally:
        stop.set()
        thread.join()
    writer.close()
    reader.close()


def test_a_thin_defect_survives_the_shrinking() -> None:
    image = np.zeros((1000, 2000, 3), np.uint8)
    mask: Mask = np.zeros((1000, 2000), np.uint8)
    mask[500, 100:1900] = 3
    small, small_mask, scale = shrink(image, mask, 200)
    assert small.shape == (100, 200, 3) and scale == 0.1 and small_mask is not None
    assert (small_mask[50, 10:190] == 3).all() and set(np.unique(small_mask)) == {0, 3}


def test_shrinking_takes_no_memory_that_grows_eight_times_with_the_mask() -> None:
    mask: Mask = np.zeros((2000, 3000), np.uint8)
    mask[500, 100:1900] = 3
    image = np.zeros((2000, 3000), np.uint8)
    tracemalloc.start()
    shrink(image, mask, 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mask.nbytes, f"{peak / mask.nbytes:.1f} bytes a pixel"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 89), st.integers(0, 2**32 - 1))
def test_a_small_pixel_has_the_highest_class_of_all_it_lies_over(
    height: int, width: int, max_side: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    mask = (random.integers(0, 4, (height, width)) * (random.random((height, width)) < 0.05)).astype(np.uint8)
    small = shrink(np.zeros_like(mask), mask, max_side)[1]
    assert small is not None
    for row, column in np.ndindex(*small.shape):
        y0, y1 = row * height // small.shape[0], -(-(row + 1) * height // small.shape[0])
        x0, x1 = column * width // small.shape[1], -(-(column + 1) * width // small.shape[1])
        assert small[row, column] == mask[y0:y1, x0:x1].max()


def test_pictures_that_come_too_soon_are_left_out(tmp_path: Path) -> None:
    writer = PictureWriter(tmp_path / "run.picture", 64, min_interval_s=3600.0)
    image = np.zeros((8, 8), np.uint8)
    assert [writer.publish(inspection(n, image)) for n in (1, 2, 3)] == [True, False, False]
    writer.close()


def test_only_pictures_of_dead_runs_are_removed(tmp_path: Path) -> None:
    dead = writer_without_pause(tmp_path / "dead.picture")
    dead.close()
    alive = writer_without_pause(tmp_path / "alive.picture")
    third = writer_without_pause(tmp_path / "third.picture")
    assert {p.name for p in tmp_path.iterdir()} == {"alive.picture", "third.picture"}
    alive.close()
    third.close()


def test_the_file_is_on_the_disk_before_anything_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "run.picture"
    writer = LivePicture.writer(path)
    assert path.stat().st_blocks * 512 >= path.stat().st_size, "a hole would be SIGBUS on a full disk"
    writer.close()


def test_a_disk_without_room_is_an_error_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        LivePicture.writer(tmp_path / "run.picture")
    assert list(tmp_path.iterdir()) == []
