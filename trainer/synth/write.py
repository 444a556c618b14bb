"""Writing: a dataset folder, or a video with the truth of every frame beside it.

Dataset: images/, masks/ (8-bit class ids, 255 = ignore), instances/ (16-bit), classes.json, parts.json,
split.json, truth.jsonl (one line a frame). Video: NAME.mp4 and the folder NAME.truth/ with
masks/, instances/, classes.json and truth.jsonl. Everything is made in a folder beside the
destination and renamed when complete, so that there is never half a dataset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from inspector.errors import UsageError
from inspector.types import Image, Mask
from trainer.dataset import IGNORE
from trainer.new_folder import new_folder, require_new
from trainer.synth.defects import CLASSES
from trainer.synth.line import LineSpec, moving_frames, still_frames
from trainer.synth.scene import Rendered, Scene

ALL_PARTS = 2**31
"""More parts than a line ever has: one lighting for all of them."""
Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


def _picture(path: Path, image: np.ndarray) -> None:
    """Write one lossless PNG. Raises OSError when the disk does not take it."""
    path.write_bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())


def _truth(stem: str, frame: Rendered, spec: LineSpec) -> dict[str, Any]:
    """The truth line of one frame."""
    return {
        "frame": frame.number,
        "stem": stem,
        "parts": [f"part_{part:05d}" for part in frame.parts],
        "surfaces": list(frame.surfaces),
        "nuisances": list(spec.nuisances),
        "seed": spec.seed,
        "instances": [defect.json() for defect in frame.defects],
    }


def _without_faint(frame: Rendered, least: float) -> Mask:
    """The mask with the defects of less contrast-to-noise than `least` set to ignore."""
    faint = [defect.id for defect in frame.defects if defect.contrast_to_noise < least]
    return np.where(np.isin(frame.instances, faint), IGNORE, frame.mask).astype(np.uint8)


def _write_labels(
    folder: Path, stem: str, frame: Rendered, truth: TextIO, spec: LineSpec, least: float = 0.0
) -> None:
    """Mask, instances and truth line of one frame; every defect keeps its instance and its line."""
    _picture(folder / "masks" / f"{stem}.png", _without_faint(frame, least))
    _picture(folder / "instances" / f"{stem}.png", frame.instances)
    truth.write(json.dumps(_truth(stem, frame, spec)) + "\n")


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def split_by_part(parts: dict[str, str], damaged: set[str], seed: int) -> dict[str, list[str]]:
    """Train and test stems: one part in five for test, of the damaged and of the clean ones alike.

    parts: stem -> part. damaged: the parts with a defect; one of them is held out as soon as there
    are two, so that a small set can be tested too. No part is on both sides.
    """
    rng = np.random.default_rng([seed, 51])
    held: set[str] = set()
    for names, least in ((sorted(damaged), 1), (sorted(set(parts.values()) - damaged), 0)):
        count = max(least, len(names) // 5) if len(names) > 1 else 0
        held |= {names[index] for index in rng.permutation(len(names))[:count]}
    return {
        "train": [stem for stem, part in parts.items() if part not in held],
        "test": [stem for stem, part in parts.items() if part in held],
    }


def write_dataset(
    out: Path,
    spec: LineSpec,
    frames: int,
    *,
    gray: bool = False,
    ignore_below: float = 0.0,
    progress: Progress | None = None,
) -> int:
    """Write a dataset folder and return its number of defects.

    gray: one channel instead of BGR. ignore_below: defects of less contrast-to-noise are ignore (255)
    in the masks: a network that must call what nobody sees learns to invent it.
    Raises UsageError when `out` exists or cannot be written.
    """
    scene = Scene(spec)
    parts: dict[str, str] = {}
    damaged: set[str] = set()
    defects = 0
    with new_folder(out) as work:
        for name in ("images", "masks", "instances"):
            (work / name).mkdir()
        with (work / "truth.jsonl").open("w") as truth:
            for frame in scene.frames(still_frames(spec, frames)):
                stem = f"{frame.number:06d}"
                image = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY) if gray else frame.image
                _picture(work / "images" / f"{stem}.png", image)
                _write_labels(work, stem, frame, truth, spec, ignore_below)
                parts[stem] = f"part_{frame.parts[0]:05d}"
                damaged |= {parts[stem]} if frame.defects else set()
                defects += len(frame.defects)
                if progress:
                    progress(frame.number, frames)
        _json(work / "classes.json", {str(index + 1): name for index, name in enumerate(CLASSES)})
        _json(work / "parts.json", parts)
        _json(work / "split.json", split_by_part(parts, damaged, spec.seed))
    return defects


def classes_lacking(dataset: Path, ignore_below: float = 0.0) -> dict[str, list[str]]:
    """Split -> the classes of a written dataset folder that no frame of it shows, though others do.

    ignore_below: as the dataset was written with; a defect of less is nothing that a network learns.
    """
    split: dict[str, list[str]] = json.loads((dataset / "split.json").read_text())
    shown: dict[str, set[str]] = {}
    for line in (dataset / "truth.jsonl").read_text().splitlines():
        truth = json.loads(line)
        seen = (one for one in truth["instances"] if one["contrast_to_noise"] >= ignore_below)
        shown[truth["stem"]] = {one["class_name"] for one in seen}
    every = set().union(*shown.values())
    of = {name: set().union(*(shown[stem] for stem in stems)) for name, stems in split.items()}
    return {name: [one for one in CLASSES if one in every - found] for name, found in of.items()}


def truth_folder(video: Path) -> Path:
    """Where the truth of a video lies: line.mp4 -> line.truth."""
    return video.with_suffix(".truth")


def write_video(
    out: Path, spec: LineSpec, frames: int, *, speed: int, fps: float = 30.0, progress: Progress | None = None
) -> int:
    """Write a moving line as video, its truth beside it, and return the number of defects over all frames.

    out: a name that ends in .mp4. speed: pixels that parts move in one frame.
    Raises UsageError when one of the two exists, when a side is odd, which the encoder would cut off
    so that no label fits any more, or when this OpenCV cannot write the video.
    """
    require_new(out)
    height, width = spec.size
    if height % 2 or width % 2:
        raise UsageError(f"A video has even sides only, and {height}x{width} has not; choose even ones.")
    defects = 0
    with new_folder(truth_folder(out)) as work:
        for name in ("masks", "instances"):
            (work / name).mkdir()
        with (work / "truth.jsonl").open("w") as truth, _video(work / "video.mp4", spec.size, fps) as push:
            one_lamp = replace(spec, relight=ALL_PARTS)
            for frame in Scene(one_lamp).frames(moving_frames(one_lamp, frames, speed)):
                push(frame.image)
                _write_labels(work, f"{frame.number:06d}", frame, truth, spec)
                defects += len(frame.defects)
                if progress:
                    progress(frame.number, frames)
        _json(work / "classes.json", {str(index + 1): name for index, name in enumerate(CLASSES)})
        _check_video(work / "video.mp4", out, frames)
        (work / "video.mp4").rename(out)
    return defects


def _check_video(made: Path, out: Path, frames: int) -> None:
    """Raises UsageError when frames are missing: the encoder says nothing when the disk is full."""
    video = cv2.VideoCapture(str(made))
    held = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    if held != frames:
        raise UsageError(f"{out} holds {held} of {frames} frames; make room on the disk and start again.")


def _push(writer: cv2.VideoWriter, image: Image) -> None:
    writer.write(image)


@contextmanager
def _video(path: Path, size: tuple[int, int], fps: float) -> Iterator[Callable[[Image], None]]:
    """An open MPEG-4 video of (height, width); the block writes frames with what it is given."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (size[1], size[0]))
    if not writer.isOpened():
        raise UsageError("This OpenCV cannot write MPEG-4 of this size and rate; write a dataset folder.")
    try:
        yield partial(_push, writer)
    finally:
        writer.release()
