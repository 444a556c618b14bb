"""What `trainer synth` leaves on disk: whole datasets and videos with their truth, or nothing."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from inspector.errors import InspectionError, UsageError
from trainer.cli.synth import parse_nuisances, synth
from trainer.dataset import load_dataset
from trainer.synth import write
from trainer.synth.defects import CLASSES
from trainer.synth.line import LineSpec, still_frames
from trainer.synth.write import classes_lacking, split_by_part, truth_folder, write_dataset, write_video

SPEC = LineSpec((160, 240), 6, clean_share=0.2)


def truth_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def test_dataset_is_complete_and_the_trainer_loads_it(tmp_path: Path) -> None:
    out = tmp_path / "line"
    defects = write_dataset(out, SPEC, 10)
    lines = truth_lines(out)
    assert len(lines) == 10 and sum(len(line["instances"]) for line in lines) == defects > 0
    parts = json.loads((out / "parts.json").read_text())
    assert len(set(parts.values())) < 10, "no part is seen twice"
    for line in lines:
        mask, instances = (read(out / kind / f"{line['stem']}.png") for kind in ("masks", "instances"))
        assert mask.dtype == np.uint8 and instances.dtype == np.uint16 and mask.shape == SPEC.size
        assert line["parts"] == [parts[line["stem"]]]
        for defect in line["instances"]:
            assert np.count_nonzero(instances == defect["id"]) == defect["area_px"]
            assert CLASSES[defect["class_id"] - 1] == defect["class_name"]
    data = load_dataset([out])
    assert tuple(data.classes) == CLASSES
    assert len(data.split("train")) + len(data.split("test")) == 10


def test_split_never_cuts_through_a_part_and_tests_damaged_ones() -> None:
    parts = {f"{n:03d}": f"part_{n // 3:02d}" for n in range(60)}
    damaged = {f"part_{n:02d}" for n in range(10)}
    split = split_by_part(parts, damaged, 1)
    train, test = ({parts[stem] for stem in split[name]} for name in ("train", "test"))
    assert not train & test and len(test & damaged) == 2 and len(test - damaged) == 2
    assert sorted(split["train"] + split["test"]) == sorted(parts)
    assert split_by_part({"a": "p", "b": "p"}, {"p"}, 1)["test"] == []
    assert len(split_by_part({"a": "p", "b": "q"}, {"p", "q"}, 1)["test"]) == 1


def test_defects_that_nobody_sees_can_be_ignored(tmp_path: Path) -> None:
    least = 4.0
    spec = LineSpec((160, 240), 6, clean_share=0.2, defects=6)
    write_dataset(tmp_path / "all", spec, 6, gray=True)
    write_dataset(tmp_path / "seen", spec, 6, gray=True, ignore_below=least)
    kinds = set()
    for line in truth_lines(tmp_path / "seen"):
        name = f"{line['stem']}.png"
        whole, seen = (read(tmp_path / folder / "masks" / name) for folder in ("all", "seen"))
        instances = read(tmp_path / "seen" / "instances" / name)
        for defect in line["instances"]:
            faint = defect["contrast_to_noise"] < least
            kinds.add(faint)
            assert set(seen[instances == defect["id"]]) == {255 if faint else defect["class_id"]}
        assert np.array_equal(seen == 0, whole == 0)
    assert kinds == {True, False}, "the example must hold both"


def test_drift_lets_parts_leave_the_view() -> None:
    near, far = (still_frames(LineSpec((160, 240), 6, drift=drift), 40) for drift in (0.13, 0.6))
    assert max(abs(plan.views[0].x) for plan in far) > 120 > max(abs(plan.views[0].x) for plan in near)
    assert max(plan.views[0].y for plan in far) > 40 > max(plan.views[0].y for plan in near)
    with pytest.raises(UsageError, match=r"drift of 0\.8"):
        LineSpec((160, 240), 6, drift=0.8).checked()


def test_same_command_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_dataset(tmp_path / name, SPEC, 3, gray=True)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 3 * 3 + 4
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    assert read(tmp_path / "one" / "images" / "000001.png").ndim == 2


def test_video_has_the_truth_of_every_frame_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "line.mp4"
    write_video(out, SPEC, 12, speed=20)
    folder = truth_folder(out)
    lines = truth_lines(folder)
    video = cv2.VideoCapture(str(out))
    for line in lines:
        ok, image = video.read()
        assert ok and image.shape == (*SPEC.size, 3)
        mask = read(folder / "masks" / f"{line['stem']}.png")
        assert set(np.unique(mask)) - {0} == {defect["class_id"] for defect in line["instances"]}
    assert not video.read()[0] and [line["frame"] for line in lines] == list(range(1, 13))
    video.release()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["line.mp4", "line.truth"]


def test_nothing_is_overwritten_and_nothing_half_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old.mp4").touch()
    with pytest.raises(UsageError, match="old is already there"):
        write_dataset(tmp_path / "old", SPEC, 1)
    with pytest.raises(UsageError, match=r"old\.mp4 is already there"):
        write_video(tmp_path / "old.mp4", SPEC, 1, speed=5)

    def full(path: Path, image: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(write, "_picture", full)
    with pytest.raises(
        InspectionError, match=r"new cannot be written \(No space left.*free some space"
    ) as refused:
        write_dataset(tmp_path / "new", SPEC, 1)
    assert refused.value.exit_code == 1
    with pytest.raises(InspectionError, match="No space left"):
        write_video(tmp_path / "new.mp4", SPEC, 1, speed=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "old.mp4"]


def test_a_video_that_lost_frames_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[int] = []

    def push(writer: cv2.VideoWriter, image: np.ndarray) -> None:
        pushed.append(1)
        if len(pushed) != 2:
            writer.write(image)

    monkeypatch.setattr(write, "_push", push)
    with pytest.raises(UsageError, match="holds 3 of 4 frames"):
        write_video(tmp_path / "line.mp4", SPEC, 4, speed=5)
    assert not list(tmp_path.iterdir())


def test_command_writes_a_dataset_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "set"
    done = CliRunner().invoke(
        synth,
        [str(out), "--frames", "2", "--size", "120x160", "--seed", "1", "--surface", "casting", "--gray"],
    )
    assert done.exit_code == 0, done.output
    assert f"{out}: 2 frames with" in done.stdout
    assert all(line["surfaces"] == ["casting"] for line in truth_lines(out))


def test_a_class_that_a_side_of_the_split_lacks_is_named(tmp_path: Path) -> None:
    """Small sets left classes out of train or test without a word."""
    out = tmp_path / "set"
    frames = [("a", "pit", 3.0), ("a", "stain", 3.0), ("b", "pit", 1.0), ("c", "dent", 1.0)]
    truth = [
        {"stem": stem, "instances": [{"class_name": name, "contrast_to_noise": contrast}]}
        for stem, name, contrast in frames
    ]
    merged = [truth[0] | {"instances": truth[0]["instances"] + truth[1]["instances"]}, *truth[2:]]
    out.mkdir()
    (out / "truth.jsonl").write_text("\n".join(json.dumps(line) for line in merged))
    (out / "split.json").write_text(json.dumps({"train": ["a", "c"], "test": ["b"]}))
    assert classes_lacking(out) == {"train": [], "test": ["dent", "stain"]}
    assert classes_lacking(out, 2.0) == {"train": [], "test": ["stain", "pit"]}


def test_the_command_warns_of_a_class_that_cannot_be_measured(tmp_path: Path) -> None:
    """Two parts: what only one of them shows is missing on the other side."""
    size = ["--size", "160x240", "--seed", "6", "--clean-share", "0"]
    few = CliRunner().invoke(synth, [str(tmp_path / "few"), "--frames", "4", "--defects", "2", *size])
    lacking = classes_lacking(tmp_path / "few")
    assert few.exit_code == 0 and lacking["test"]
    assert f"No test frame shows {' or '.join(lacking['test'])}, so nothing can be measured" in few.stderr
    clean = CliRunner().invoke(
        synth, [str(tmp_path / "clean"), "--frames", "2", *size[:4], "--clean-share", "1"]
    )
    assert "No t" not in clean.stderr  # nobody asked for defects


@pytest.mark.parametrize(
    ("out", "option", "words"),
    [
        ("line.mp4", ["--gray"], "A video cannot have --gray"),
        ("line.MP4", ["--ignore-below", "2"], "A video cannot have --ignore-below"),
        ("line.mp4", ["--drift", "0.4"], "A video cannot have --drift"),
        ("set", ["--speed", "4"], "A dataset cannot have --speed"),
        ("line.mp4", ["--size", "121x161"], "121x161"),
    ],
)
def test_what_would_be_passed_over_is_refused(
    tmp_path: Path, out: str, option: list[str], words: str
) -> None:
    given = [str(tmp_path / out), "--frames", "2", "--size", "120x160", *option]
    with pytest.raises(UsageError, match=words):
        CliRunner().invoke(synth, given, catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", refuse)  # what Path.exists meets there
    monkeypatch.setattr(Path, "mkdir", refuse)
    for write_it in (lambda out: write_dataset(out, SPEC, 1), lambda out: write_video(out, SPEC, 1, speed=5)):
        with pytest.raises(InspectionError, match="cannot be written \\(Permission denied"):
            write_it(tmp_path / "closed" / "line.mp4")


def test_arguments_are_read_or_refused() -> None:
    assert parse_nuisances("none") == () and parse_nuisances("oil, dust") == ("oil", "dust")
