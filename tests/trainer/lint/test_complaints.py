"""Decoders write on stderr by themselves; the linter keeps that to itself and says it in its own words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.lint.complaints import complaint, heard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good picture, one of which half is missing, one with a hole in its data that is read all the same."""
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8), (0, 0), 3)
    png, jpg = (cv2.imencode(kind, picture)[1].tobytes() for kind in (".png", ".jpg"))
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for name, content in (
        ("good.jpg", jpg),
        ("cut.png", png[: len(png) // 2]),
        ("hurt.jpg", jpg[:800] + bytes(60) + jpg[860:]),
    ):
        (tmp_path / "images" / name).write_bytes(content)
        cv2.imwrite(str(tmp_path / "masks" / f"{name[:-4]}.png"), np.zeros((120, 160), np.uint8))
    return tmp_path


def test_decoders_do_not_speak_past_the_linter(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "lint", str(folder)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1 and done.stderr == ""
    assert re.search(r"cut\.png .*is not an image that can be read", done.stdout)
    assert re.search(r"hurt\.jpg \(Corrupt JPEG data", done.stdout), "read, and yet not whole"


def test_only_the_damaged_picture_is_complained_of(folder: Path) -> None:
    assert complaint(folder / "images" / "good.jpg") is None
    assert "Corrupt JPEG data" in str(complaint(folder / "images" / "hurt.jpg"))


def test_what_comes_before_and_after_is_seen(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before\n")
    with heard() as said:
        os.write(2, b"from a library\n")
        assert said() == "from a library\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"
