"""The end of a run: what the thresholds become."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tiny_run import request

from inspector.defects import MatchCounts
from inspector.types import ProbMap
from trainer.dataset import load_dataset
from trainer.escapes import EscapeCurve
from trainer.finish import _for_escapes, _per_defect
from trainer.fit import prepare
from trainer.metrics.matches import PartMatches
from trainer.thresholds import ClassChoice
from trainer.validate import Shown, Tell


def curve(*levels: int) -> EscapeCurve:
    """Of one frame with twelve defects of each class, all of one probability (of 255)."""
    truth = np.zeros((12 * len(levels), 100), np.uint8)
    probs = np.zeros((*truth.shape, len(levels)), np.uint8)
    for k, level in enumerate(levels):
        for n in range(12):
            where = slice(12 * k + 4, 12 * k + 8), slice(8 * n + 1, 8 * n + 5)
            truth[where], probs[where][..., k] = k + 1, level
    found = EscapeCurve(("pit", "stain")[: len(levels)])
    found.add(probs, truth, None)
    return found


def test_a_class_of_which_no_level_finds_anything_is_not_silenced() -> None:
    """A rare class's calibrated probabilities may all lie below the lowest level, 0.03."""
    before = tuple(ClassChoice(0.05, 0.3, 12, 192) for _ in range(2))
    chosen = _for_escapes(before, curve(5, 200), 0.01)
    assert chosen[0] == before[0]
    assert chosen[1].threshold == 179 / 255 and chosen[1].iou == 1.0
    assert chosen[0].escape_target is None and chosen[1].escape_target == 0.01


def test_a_class_of_low_probabilities_keeps_the_target_as_well() -> None:
    """At 0.06, between the lowest threshold of the best outline, 0.03, and 0.1."""
    (chosen,) = _for_escapes((ClassChoice(0.04, 0.3, 12, 192),), curve(15), 0.0)
    assert chosen.threshold == 13 / 255 and chosen.escape_target == 0.0


class Maps:
    """Eight parts under six exposures, one defect on each frame; on half of the parts it is missed."""

    def told(self, words: str, tell: Tell) -> Iterator[tuple[ProbMap, Shown]]:
        mask = np.zeros((20, 20), np.uint8)
        mask[5:9, 5:9] = 1
        for part in range(8):
            probs = np.where(mask > 0, 250 * (part % 2), 0).astype(np.uint8)[..., None]
            for _ in range(6):
                yield probs, Shown(mask, mask, None, f"p{part}")


def test_intervals_are_by_part_as_trainer_evaluate_has_them() -> None:
    """By frame they were half as wide: 0.363 to 0.637."""
    found = _per_defect(Maps(), ("pit",), (0.5,), lambda *_: None)  # type: ignore[arg-type]
    parts = PartMatches()
    for part in range(8):
        for _ in range(6):
            parts.update(f"p{part}", {"pit": MatchCounts(part % 2, 1, 0, part % 2)})
    assert found["found"] == 24 and found["total"] == found["frames"] == 48
    assert (
        found["recall_95"]
        == found["classes"]["pit"]["recall_95"]
        == list(parts.of("pit").json()["recall_95"])
    )
    assert found["recall_95"][1] - found["recall_95"][0] > 0.5


def test_a_validation_frame_keeps_its_part(data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "d"))
    (folder / "parts.json").write_text(json.dumps({str(n): f"p{n // 3}" for n in range(9)} | {"10": "9"}))
    begun = prepare(request(folder, tmp_path / "r", steps=2))
    _, held_out = load_dataset([folder]).validation(0.15, 0)
    frames = begun.training._material.frames
    assert [frame.part for frame in frames] == [sample.part for sample in held_out]
    assert len({frame.part for frame in frames}) < len(frames)
