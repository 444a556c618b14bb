"""What TensorBoard is shown of a run, read back with TensorBoard's own reader."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import TINY, Silent, resumption

from inspector.errors import UsageError
from trainer.board import FOLDER, LONGEST_PX, marked, shown_frames
from trainer.fit import Request, prepare, run
from trainer.report.style import FOUND, INVENTED, MISSED
from trainer.resume import prepare_resume
from trainer.validate import Shown


def asked(data: Path, out: Path) -> Request:
    return Request((data,), out, settings={**TINY, "steps": 40}, tensorboard=True)


def logged(out: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def test_curves_and_pictures_go_on_after_an_interruption(data: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "r"
    run(prepare(asked(data, out)), Silent(), lambda step: step == 24)
    assert logged(out, "validation")[-1]["step"] == 24  # the checkpoint is of a step that was judged
    run(prepare_resume(resumption(data, out, tensorboard=True)), Silent())
    events = reader.EventAccumulator(str(out / FOLDER))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"training/loss", "training/learning_rate", "validation/iou"} <= scalars
    assert {"validation_iou/hole", "validation_iou/chip"} & scalars
    assert [event.step for event in events.Scalars("training/loss")] == [20, 40]
    steps = [event.step for event in events.Scalars("validation/iou")]
    assert steps == [line["step"] for line in logged(out, "validation")] and len(steps) >= 10
    pictures = events.Tags()["images"]
    assert pictures == ["validation/frame_0", "validation/frame_1"]  # two frames validate
    # Those of the last validation as well, as soon as the run has ended.
    assert [event.step for event in events.Images(pictures[1])][-1] == 40
    assert (events.Images(pictures[0])[-1].height, events.Images(pictures[0])[-1].width) == (60, 44)


def test_a_run_that_was_not_asked_writes_none(data: Path, tmp_path: Path) -> None:
    run(prepare(Request((data,), tmp_path / "r", settings={**TINY, "steps": 1})), Silent())
    assert not (tmp_path / "r" / FOLDER).exists()


def test_without_tensorboard_it_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def none(name: str, *rest: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", none)
    with pytest.raises(UsageError, match=r"not installed; pip install tensorboard.*log\.jsonl"):
        prepare(asked(data, tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_colours_are_the_reports() -> None:
    image = np.full((4, 8), 100, np.uint8)
    truth, predicted = np.zeros((4, 8), np.uint8), np.zeros((4, 8), np.uint8)
    truth[0], predicted[0] = 1, 1  # found
    truth[1] = 2  # missed
    predicted[2] = 1  # invented
    truth[3], predicted[3] = 255, 1  # ignored
    drawn = marked(image, truth, predicted)
    for row, colour in enumerate((FOUND, MISSED, INVENTED)):
        rgb = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
        assert drawn[row, 0].tolist() == [(100 + value) // 2 for value in rgb]
    assert (drawn[3] == 100).all()
    # A colour picture is BGR, and a large one is made smaller.
    blue = marked(np.full((1280, 100, 3), (250, 0, 0), np.uint8), *np.zeros((2, 1280, 100), np.uint8))
    assert blue.shape == (LONGEST_PX, 50, 3) and blue[0, 0].tolist() == [0, 0, 250]


def test_frames_with_defects_are_shown_first() -> None:
    def frame(n: int, value: int) -> Shown:
        return Shown(np.full((2, 2), n, np.uint8), np.full((2, 2), value, np.uint8), None, str(n))

    frames = [frame(n, 1 if n % 2 else 255) for n in range(20)]
    assert [int(f[0][0, 0]) for f in shown_frames(frames)] == [1, 7, 13, 19]
    assert len(shown_frames(frames[:1])) == 1
