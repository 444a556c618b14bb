"""Classes that validation does not show are named with the training frames that do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from tiny_run import request

from trainer.fit import prepare
from trainer.unshown import unshown_classes


def mask(*ids: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.array([[0, 255, *ids]], np.uint8)


def test_only_classes_without_a_validation_frame_are_named() -> None:
    train = [mask(1, 1), mask(1, 2), mask(3), mask()]
    assert unshown_classes(("a", "b", "c", "d"), train, [mask(1), mask(3)]) == {"b": 1, "d": 0}
    assert unshown_classes(("a",), train, [mask(1)]) == {}


def test_a_run_knows_them_before_it_starts(data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    (folder / "classes.json").write_text(json.dumps({"1": "hole", "2": "chip", "3": "rare"}))
    # One part shows it, and a single part never validates.
    path = folder / "masks" / "1.png"
    drawn = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert drawn is not None
    drawn[:3, :3] = 3
    cv2.imwrite(str(path), drawn)
    prepared = prepare(request(folder, tmp_path / "run", steps=1))
    with prepared.held:
        assert prepared.unshown == {"rare": 1}
    prepared = prepare(request(data, tmp_path / "other", steps=1))
    with prepared.held:
        assert prepared.unshown == {}
