"""Dataset folders that every format has to carry."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.synth.line import LineSpec
from trainer.synth.write import write_dataset


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of a generated line: five classes, instances, parts and a split."""
    out = tmp_path_factory.mktemp("generated") / "line"
    write_dataset(out, LineSpec(size=(120, 160), seed=11, clean_share=0.2, defects=4), 6, gray=True)
    return out


@pytest.fixture(scope="session")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is hard: holes, pieces that touch by a corner, touching objects, ignore, the frame's rim.

    Class ids have a gap, frames three sizes and kinds of file, and one shows a good part.
    """
    folder = tmp_path_factory.mktemp("awkward") / "set"
    for name in ("images", "masks", "instances"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(5)
    for stem, suffix, size in (("a", "png", (40, 56)), ("b.c", "bmp", (31, 47)), ("d e", "jpg", (24, 33))):
        colour = (*size, 3) if stem == "d e" else size
        cv2.imwrite(str(folder / "images" / f"{stem}.{suffix}"), rng.integers(0, 255, colour, np.uint8))
        mask, instances = np.zeros(size, np.uint8), np.zeros(size, np.uint16)
        if stem != "d e":
            mask[2:14, 2:16], instances[2:14, 2:16] = 1, 1
            mask[4:7, 4:9] = instances[4:7, 4:9] = 0  # a hole
            mask[9:12, 10:13] = instances[9:12, 10:13] = 0
            mask[2:14, 16:20], instances[2:14, 16:20] = 1, 2  # touches the first
            mask[14:18, 20:24], instances[14:18, 20:24] = 1, 2  # its own piece, by a corner
            mask[5:6, 5:6], instances[5:6, 5:6] = 7, 3  # one pixel, in the hole
            mask[20:, 30:], instances[20:, 30:] = 7, 4  # the rim
            mask[20:23, 0:9] = 255
            mask[26:29, 2:5], instances[26:29, 2:5] = 7, 5  # two pieces of one object
            mask[26:29, 9:12], instances[26:29, 9:12] = 7, 5
        cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask)
        cv2.imwrite(str(folder / "instances" / f"{stem}.png"), instances)
    (folder / "classes.json").write_text('{"1": "scratch", "7": "Loch & Riß"}')
    (folder / "split.json").write_text(json.dumps({"train": ["a", "d e"], "test": ["b.c"]}))
    (folder / "parts.json").write_text(json.dumps({"a": "one", "d e": "one", "b.c": "two"}))
    return folder
