"""The split that lint proposes keeps its own promises, and is what the folder is told to use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from inspector.errors import DatasetError, UsageError
from tests.trainer.lint.test_lint import _same_in_test, found, split, write
from trainer.cli.lint import lint as command
from trainer.dataset import load_dataset
from trainer.lint.check import lint
from trainer.lint.findings import Report
from trainer.lint.split import proposed_split


def report_of(parts: dict[str, set[int]], test: int = 0) -> Report:
    """One frame of each part; how many of them are on the test side today."""
    frames = {"train": len(parts) - test, "test": test}
    shown = {part: frozenset(ids) for part, ids in parts.items()}
    return Report(Path("d"), frames=frames, parts={part: part for part in parts}, shown=shown)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty frames, three of a part; dents only in test, and one picture on both sides."""
    folder = tmp_path / "d"
    for n in range(30):
        write(folder, f"f{n:02}", [1] if n % 2 else [])
    for n in (21, 25, 28):
        write(folder, f"f{n:02}", [2])
    (folder / "classes.json").write_text('{"1": "scratch", "2": "dent"}')
    (folder / "parts.json").write_text(json.dumps({f"f{n:02}": f"part{n // 3}" for n in range(30)}))
    split(folder, range(20, 30))
    _same_in_test(folder)
    return folder


def test_the_proposed_split_mends_what_lint_complains_of(folder: Path, tmp_path: Path) -> None:
    split_words = {"part-cut", "same-picture", "not-in-train"}
    assert split_words <= set(found(lint(folder)))
    new = tmp_path / "split.json"
    done = CliRunner().invoke(command, [str(folder), "--write-split", str(new)], standalone_mode=False)
    assert "fit anew" in done.stderr and str(folder / "split.json") in done.stderr
    (folder / "split.json").write_bytes(new.read_bytes())
    assert not {*split_words, "not-in-test", "split-unlisted"} & set(found(lint(folder)))
    dataset = load_dataset([folder])  # refuses a split that cuts a part
    assert len(dataset.split("test")) in (9, 10, 11), "a third, as today"
    again = tmp_path / "again.json"
    CliRunner().invoke(command, [str(folder), "--write-split", str(again)], standalone_mode=False)
    assert again.read_bytes() == new.read_bytes()
    with pytest.raises(UsageError, match="already there"):
        CliRunner().invoke(
            command, [str(folder), "--write-split", str(new)], standalone_mode=False, catch_exceptions=False
        )


def test_each_class_is_on_both_sides_where_it_can_be() -> None:
    """Only the part of both classes, alone on its side, leaves both on both; by its rarest class it is like
    the second."""
    for names in ("abc", "bac", "cab"):
        parts = dict(zip(names, ({1, 2}, {1}, {2}), strict=True))
        assert proposed_split(report_of(parts, test=1))["test"] == [names[0]]


@pytest.mark.parametrize(("today", "kept"), [(0, 4), (5, 5), (10, 10), (17, 17)])
def test_the_share_of_the_test_side_is_kept_and_is_a_fifth_without_a_split(today: int, kept: int) -> None:
    parts = {f"p{n:02}": {1} if n < 8 else set[int]() for n in range(20)}
    proposed = proposed_split(report_of(parts, today))
    assert len(proposed["test"]) == kept
    assert sorted(proposed["train"] + proposed["test"]) == sorted(parts)
    for side in proposed.values():
        assert {bool(parts[stem]) for stem in side} == {True, False}


def test_one_part_cannot_be_split() -> None:
    report = Report(Path("d"), frames={"train": 3}, parts=dict.fromkeys("abc", "the only one"))
    with pytest.raises(DatasetError, match="show one part, which no split may cut; bring"):
        proposed_split(report)
