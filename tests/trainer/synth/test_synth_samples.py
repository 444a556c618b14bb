"""The committed samples are what their commands make, and small enough to be committed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.synth.line import FramePlan, LineSpec, moving_frames, still_frames
from trainer.synth.scene import Scene
from trainer.synth.write import ALL_PARTS

SAMPLES = Path(__file__).parents[3] / "data_samples"
LINE = LineSpec((720, 1280), 50, relight=ALL_PARTS)
PARTS = LineSpec((480, 640), 60, clean_share=0.25)


def agree(folder: Path, spec: LineSpec, plan: FramePlan) -> None:
    """The stored labels of a frame are those that its plan renders, but for rounding of other processors."""
    frame = Scene(spec).render(plan)
    for kind, made in (("masks", frame.mask), ("instances", frame.instances)):
        stored = cv2.imread(str(folder / kind / f"{plan.number:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert stored is not None and stored.dtype == made.dtype and stored.any()
        assert np.count_nonzero(stored != made) <= 0.01 * np.count_nonzero(made)
    line = json.loads((folder / "truth.jsonl").read_text().splitlines()[plan.number - 1])
    assert [defect["class_name"] for defect in line["instances"]] == [d.class_name for d in frame.defects]


def test_dataset_is_what_its_command_makes() -> None:
    agree(SAMPLES / "parts", PARTS, still_frames(PARTS, 12)[8])


def test_video_truth_is_what_its_command_makes() -> None:
    agree(SAMPLES / "line.truth", LINE, moving_frames(LINE, 132, 64)[70])


def test_video_shows_what_its_truth_says() -> None:
    """A frame of the video is the one its labels were made with, and not its neighbour."""
    video = cv2.VideoCapture(str(SAMPLES / "line.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 132
    frames = [video.read()[1] for _ in range(71)]
    video.release()
    made = Scene(LINE).render(moving_frames(LINE, 132, 64)[70])
    difference = np.abs(frames[70].astype(int) - made.image.astype(int))
    assert difference.mean() < 4
    assert np.abs(frames[69].astype(int) - made.image.astype(int)).mean() > 2 * difference.mean()


@pytest.mark.parametrize("name", ["line.mp4", "line.truth", "parts"])
def test_samples_stay_small(name: str) -> None:
    files = [SAMPLES / name, *(SAMPLES / name).rglob("*")]
    sizes = [file.stat().st_size for file in files if file.is_file()]
    assert 0 < sum(sizes) < 5_000_000
