"""`trainer import` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from inspector.errors import UsageError
from trainer.cli.import_ import KINDS, import_labels
from trainer.formats.convert import FORMATS


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:15, 5:25] = 1
    mask[8:12, 10:20] = 0
    cv2.imwrite(str(folder / "images" / "a.png"), mask * 200)
    cv2.imwrite(str(folder / "masks" / "a.png"), mask)
    (folder / "classes.json").write_text('{"1": "scratch"}')
    return folder


def typed(*words: object) -> Result:
    return CliRunner().invoke(
        import_labels, [*map(str, words)], standalone_mode=False, catch_exceptions=False
    )


def test_help_knows_every_format() -> None:
    assert tuple(FORMATS) == KINDS
    assert all(kind in CliRunner().invoke(import_labels, ["--help"]).output for kind in KINDS)


def test_out_and_back_with_figures_as_the_last_line(parts: Path, tmp_path: Path) -> None:
    out = typed(parts, tmp_path / "cvat", "--to", "cvat", "--json")
    assert out.return_value == 0
    said = json.loads(out.stdout.splitlines()[-1])
    assert (said["frames"], said["objects"], said["changed_objects"]) == (1, 1, 0)
    back = typed(tmp_path / "cvat", tmp_path / "back", "--from", "cvat")
    assert "frames 1, objects 1, classes 1 scratch" in back.stdout


def test_what_came_without_is_a_warning_on_stderr(parts: Path, tmp_path: Path) -> None:
    typed(parts, tmp_path / "labels", "--to", "labelme", "--polygons")
    (tmp_path / "labels" / "dataset.json").unlink()
    (tmp_path / "labels" / "labels.txt").unlink()
    back = typed(tmp_path / "labels", tmp_path / "back", "--from", "labelme", "--json")
    assert back.return_value == 0
    assert "Warning: Class ids are given in alphabetical order" in back.stderr
    assert "Warning: No split and no parts came with the labels" in back.stderr
    assert len(json.loads(back.stdout.splitlines()[-1])["warnings"]) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Say the direction"),
        (["--from", "coco", "--to", "coco"], "Say the direction"),
        (["--from", "coco", "--polygons"], "--polygons does nothing with --from"),
        (["--to", "coco", "--unlabelled-good"], "--unlabelled-good does nothing with --to"),
        (["--from", "coco", "--like", "x", "--classes", "y"], "leave --classes out"),
        (["--from", "coco", "--like", "nowhere"], "nowhere is not there"),
        (["--from", "coco", "--classes", "nowhere"], "nowhere is not there"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], words: str, parts: Path, tmp_path: Path
) -> None:
    typed(parts, tmp_path / "labels", "--to", "coco")
    with pytest.raises(UsageError, match=words):
        typed(tmp_path / "labels", tmp_path / "new", *options)
    assert not (tmp_path / "new").exists()


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    for direction in ("--from", "--to"):
        for kind in KINDS:
            with pytest.raises(UsageError, match=r"nothing"):
                typed(tmp_path / "nothing", tmp_path / "new", direction, kind)
