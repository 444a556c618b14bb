"""One kind of mistake has one exit code, whatever the command: 1 fault, 2 usage or not there, 3 refused."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from inspector.cli.group import run_group
from inspector.cli.main import inspector as group
from inspector.db.connect import open_ledger

READING = {
    "audit": ("audit", "--json"),
    "report": ("report",),
    "flag": ("flag", "--frame", "1", "--kind", "unsure"),
    "export": ("export", "--flagged", "doubts"),
}
LEDGERS = {
    "nowhere.db": (2, "There is no ledger at"),
    "nowhere/ledger.db": (2, "There is no ledger at"),
    "folder": (2, "is a folder and no ledger; name the file in it"),
    "empty.db": (2, "is a database without a ledger; name the one of a run with --db"),
    "foreign.db": (2, "is a database without a ledger"),
    "letter.txt": (1, "is not an SQLite database"),
    "": (2, "name a file"),
    "sqlite://": (2, "name a file"),
    "sqlite:///ledger.db?timeout=x": (2, "write sqlite:///ledger.db alone"),
    "sqlite+aiosqlite:///ledger.db": (2, "write sqlite:///ledger.db alone"),
    "nonsense://x": (2, "No driver for nonsense://"),
    "postgresql://host:port/x": (2, "is no database URL"),
    "://": (2, "is no database URL"),
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a ledger and with several things that are none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INSPECTION_HOME", raising=False)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.db").touch()
    (tmp_path / "letter.txt").write_text("a letter to somebody, and certainly not a database\n" * 20)
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE parts (n INTEGER)")
    foreign.close()
    open_ledger("ledger.db").dispose()
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `inspector`, as its entry point gives it."""
    monkeypatch.setattr(sys, "argv", ["inspector", *arguments])
    return run_group(group, "inspector")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("db", LEDGERS)
def test_a_command_that_reads_makes_and_changes_no_ledger(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    db: str,
) -> None:
    """A mistyped --db made the tables of a ledger in an empty file and in a database of something else."""
    before = contents(workplace)
    code, words = LEDGERS[db]
    assert call(monkeypatch, *READING[command], "--db", db) == code
    out, err = capsys.readouterr()
    assert words in err and out == "" and len(err.splitlines()) == 1
    assert contents(workplace) == before


@pytest.mark.parametrize(("mode", "words"), [(0o000, "cannot be opened"), (0o444, "cannot be written")])
def test_a_ledger_without_rights_is_a_fault(
    as_nobody: Callable[[], AbstractContextManager[Path]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mode: int,
    words: str,
) -> None:
    with as_nobody() as folder:
        pass
    file = folder / "ledger.db"
    open_ledger(str(file)).dispose()
    file.chmod(mode)
    with as_nobody():
        code = call(monkeypatch, *READING["flag"], "--db", str(file))
    err = capsys.readouterr().err
    assert (code, len(err.splitlines())) == (1, 1) and words in err, err


@pytest.mark.parametrize(
    "arguments", [("run", "--camera", "in\udce4"), ("audit", "--db", "d\udce4/ledger.db")]
)
def test_a_path_in_no_utf_8_is_one_sentence(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    assert r"\xe4" in (err := capsys.readouterr().err) and "is not written in UTF-8; rename it" in err


def test_a_working_folder_in_no_utf_8_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every path counts from it: a run ended on a traceback as it named its ledger."""
    (folder := tmp_path / os.fsdecode(b"d\xe4")).mkdir()
    monkeypatch.chdir(folder)
    assert call(monkeypatch, "report", "--db", "ledger.db") == 2
    err = capsys.readouterr().err
    assert r"d\xe4 is not written in UTF-8; rename it, or work in another folder." in err
