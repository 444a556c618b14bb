"""Files wait: every frame once, in order, and what cannot be decoded is said, not skipped."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.camera.files import ImageFolder, VideoFile
from inspector.errors import CameraError, UsageError


def write_video(path: Path, frames: int, size: tuple[int, int] = (48, 64), codec: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 30, size[::-1])
    for number in range(frames):
        writer.write(np.full((*size, 3), number * 10 % 250, np.uint8))
    writer.release()
    return path


def read_all(camera: VideoFile | ImageFolder) -> list:
    camera.open()
    grabs = []
    while (grab := camera.read()) is not None:
        grabs.append(grab)
    camera.close()
    return grabs


def test_a_video_gives_every_frame_once_and_names_it(tmp_path: Path) -> None:
    camera = VideoFile(write_video(tmp_path / "line.mp4", 12), "line.mp4")
    grabs = read_all(camera)
    assert camera.total == 12
    assert camera.size == (48, 64)
    assert [g.source for g in grabs] == [f"line.mp4#{n}" for n in range(1, 13)]
    means = [float(g.image.mean()) for g in grabs]
    assert means == pytest.approx([n * 10 for n in range(12)], abs=4)
    assert [g.mono_ns for g in grabs] == sorted(g.mono_ns for g in grabs)


def test_a_truncated_video_ends_before_what_it_promised(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", 30, codec="MJPG").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    camera = VideoFile(cut, "cut.avi")
    grabs = read_all(camera)
    assert 0 < len(grabs) < 30
    assert camera.total is not None and camera.total > len(grabs)


@pytest.mark.parametrize("content", [b"", b"not a video", b"\x00" * 4096])
def test_a_file_that_is_no_video_does_not_open(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraError, match=r"notes\.mp4 is not a video"):
        VideoFile(path, "notes.mp4").open()


def test_a_folder_is_read_by_name_as_stored_and_bad_files_are_faults(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "b.png"), np.full((4, 6), 1000, np.uint16))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6, 3), 7, np.uint8))
    (tmp_path / "aa.png").write_bytes(b"no picture at all")
    (tmp_path / "ab.png").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    camera = ImageFolder(tmp_path, "folder")
    grabs = read_all(camera)
    assert [g.source for g in grabs] == ["a.png", "aa.png", "ab.png", "b.png"]
    assert camera.total == 4
    assert [g.fault.code if g.fault else None for g in grabs] == [None, "format", "format", None]
    assert "aa.png is not an image" in grabs[1].fault.words
    assert grabs[1].image is None
    assert grabs[0].image.shape == (4, 6, 3)
    assert grabs[3].image.dtype == np.uint16 and int(grabs[3].image.max()) == 1000


def test_an_empty_folder_and_a_dataset_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="holds no files"):
        ImageFolder(tmp_path, "x").open()
    (tmp_path / "images").mkdir()
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(UsageError, match=r"its pictures are in .*images"):
        ImageFolder(tmp_path, "x").open()


def test_a_picture_that_vanishes_while_the_folder_is_read_is_a_fault(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 4), np.uint8))
    camera = ImageFolder(tmp_path, "x")
    camera.open()
    (tmp_path / "2.png").unlink()
    assert camera.read().fault is None
    assert camera.read().fault.code == "format"
    assert camera.read() is None


def test_a_name_in_no_utf_8_is_text_for_the_ledger(tmp_path: Path) -> None:
    """One picture named on an older system ended the line: no ledger takes such bytes."""
    (tmp_path / os.fsdecode(b"a\xe4.png")).write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((4, 5), np.uint8))
    (tmp_path / "b.png").rename(tmp_path / os.fsdecode(b"b\xfc.png"))
    broken, whole = read_all(ImageFolder(tmp_path, "folder"))
    assert (broken.source, whole.source) == (r"a\xe4.png", r"b\xfc.png")
    assert whole.image is not None and whole.image.shape == (4, 5)
    assert r"a\xe4.png" in broken.fault.words
