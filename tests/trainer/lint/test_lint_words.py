"""What lint says, word for word: the cause as the error, grammar, legends, and flagged frames."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from inspector.errors import DatasetError
from tests.trainer.lint.test_lint import (
    _coloured,
    _instances_on_good,
    _lone_mask,
    _no_mask,
    _same_in_test,
    _small_mask,
    _white,
    found,
    split,
    write,
)
from trainer.cli.fit import fit
from trainer.cli.lint import lint as command
from trainer.lint.check import lint
from trainer.lint.findings import Report
from trainer.lint.text import json_of, text_of


def words(report: Report, code: str) -> str:
    return next(finding.words for finding in report.findings if finding.code == code)


def test_defects_that_were_all_drawn_in_white_are_the_error_with_that_cause(folder: Path) -> None:
    for path in (folder / "masks").glob("*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path), -1) * 255)
    report = lint(folder)
    [error] = report.of("error")
    assert error.code == "no-defect" and len(error.places) == 15
    assert error.words == "All drawn pixels are 255, which means ignore, in 15 masks: none shows a defect."
    assert "1 is the first class" in error.remedy
    assert "white-mask" not in found(report)


NOT_FOR_ADDITIONS = {"no-split", "unused-class", "few-train"}


def test_of_flagged_frames_no_split_and_no_number_of_defects_is_asked(tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path, f"f{n:02}", [1] if n else [])
    (tmp_path / "classes.json").write_text('{"1": "scratch", "2": "dent"}')
    whole = lint(tmp_path)
    assert set(found(whole)) >= NOT_FOR_ADDITIONS
    (tmp_path / "provenance.json").write_text('{"frames": {}, "missing": []}')
    report = lint(tmp_path)
    assert set(found(report)) == set(found(whole)) - NOT_FOR_ADDITIONS
    assert "Flagged frames, an addition to a dataset" in text_of(report)
    assert (json_of(whole)["addition"], json_of(report)["addition"]) == (False, True)


def test_false_rejects_alone_show_no_defect_and_are_no_error(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path, f"f{n:02}", [])
    (tmp_path / "provenance.json").write_text("{}")
    assert lint(tmp_path).of("error") == []


@pytest.mark.parametrize(
    ("spoil", "code", "one", "many"),
    [
        (
            _small_mask,
            "size",
            "1 file of labels does not have the size of its picture.",
            "2 files of labels do not have the size of their pictures.",
        ),
        (_white, "white-mask", "1 file holds 255 and", "2 files hold 255 and"),
        (_instances_on_good, "instance-on-good", "1 file has instances", "2 files have instances"),
        (_lone_mask, "lone-label", "instances/ fits no picture.", "instances/ fit no picture."),
        (_coloured, "bad-mask", "1 file is no mask.", "2 files are no masks."),
    ],
)
def test_one_and_many_are_told_in_grammar(
    folder: Path, spoil: Callable[[Path], None], code: str, one: str, many: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    spoil(folder)
    assert one in words(lint(folder), code)
    [spoilt] = [path for path in folder.rglob("*.png") if path.stat().st_mtime_ns != before.get(path)]
    odd = int(spoilt.stem[1:]) % 2
    shutil.copyfile(spoilt, spoilt.with_name(f"f{90 + odd if code == 'lone-label' else 4 + odd + 2:02}.png"))
    assert many in words(lint(folder), code)


def test_the_legend_says_what_the_columns_and_the_figures_of_pairs_count(folder: Path) -> None:
    _same_in_test(folder)
    report = lint(folder)
    assert words(report, "same-picture") == (
        "1 pair of frames in train and test shows the same thing: the exam is known."
        " Behind each is its likeness: 1 of equal pictures, 0.65 the least that counts."
    )
    assert "measured: labels\nwith an edge to be seen, of those tried: the 12 largest" in text_of(report)


def test_who_writes_parts_is_told_what_to_do_with_the_file(folder: Path, tmp_path: Path) -> None:
    given = [str(folder), "--write-parts", str(tmp_path / "parts.json")]
    told = CliRunner().invoke(command, given, standalone_mode=False, catch_exceptions=False).stderr
    assert "parts of 30 frames (stem: name of its part); look at it, then copy it to" in told
    assert told.strip().endswith(f"{folder / 'parts.json'}: validation and --write-split go by it")


@pytest.mark.parametrize("spoil", [_no_mask, _small_mask])
def test_a_fit_that_stops_at_the_first_error_names_lint(
    folder: Path, spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    """A missing mask is seen before torch is loaded, one of another size when it is read."""
    spoil(folder)
    split(folder, range(20, 30))
    given = [str(folder), "--out", str(tmp_path / "run"), "--steps", "1"]
    with pytest.raises(DatasetError, match=r"f03\.png .*`trainer lint \S+/d` names all that is wrong"):
        CliRunner().invoke(fit, given, standalone_mode=False, catch_exceptions=False)


def test_what_is_no_dataset_folder_is_told_without_lint(tmp_path: Path) -> None:
    given = [str(tmp_path), "--out", str(tmp_path / "run"), "--steps", "1"]
    with pytest.raises(DatasetError, match=r"has no folder images/; [^`]*$"):
        CliRunner().invoke(fit, given, standalone_mode=False, catch_exceptions=False)
