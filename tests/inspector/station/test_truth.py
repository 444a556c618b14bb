"""A run over a generated video says at its end what was right."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from line_parts import fake_serving, line_config

from inspector.station import line, opening, run_station
from inspector.station.truth import truth_beside


def write_video(path: Path, holes: str, truth: str) -> Path:
    """A frame for each letter: `x` shows a hole, `-` shows none; the truth says it in the same letters."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (60, 40))
    for letter in holes:
        picture = np.arange(100, 160, dtype=np.uint8)[None, :, None].repeat(40, axis=0).repeat(3, axis=2)
        if letter == "x":
            picture[8:32, 8:32] = 0
        writer.write(picture)
    writer.release()
    file = path.with_suffix(".truth") / "truth.jsonl"
    file.parent.mkdir()
    rows = [{"frame": n, "instances": [{}] if one == "x" else []} for n, one in enumerate(truth, 1)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_what_passed_and_what_did_not_is_held_against_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_serving", fake_serving(fail_runs={6}))
    monkeypatch.setattr(line, "open_serving", fake_serving(fail_runs={6}))
    file = write_video(tmp_path / "line.avi", holes="xx-x--x", truth="xxx---x")
    config = line_config(tmp_path, str(tmp_path / "line.avi"))
    summary = run_station(config, frames=6)  # of which the engine gives no answer for the last
    words = (
        f"By {file}: of 3 frames with defects, of any size and contrast, 2 did not pass;"
        " of 2 frames without any, 1 did not."
    )
    assert summary.json()["truth"] == words and f"\ntruth      {words}" in summary.text()
    assert summary.json()["warnings"] == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"frame": 1}', "3"])
def test_a_truth_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    write_video(tmp_path / "line.avi", "-", "-").write_text(text)
    assert truth_beside(str(tmp_path / "line.avi")) is None


@pytest.mark.parametrize(
    "source", ["0", "sim:", "rtsp://u:p@host/s.1", ".", "", "x" * 5000 + ".avi", "a\0.b"]
)
def test_what_is_no_video_with_a_truth_has_none(source: str) -> None:
    assert truth_beside(source) is None
