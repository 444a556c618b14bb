"""What the trainer's commands say before and around the real work; nothing here trains."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from inspector.errors import UsageError
from trainer.cli import fit as fit_command
from trainer.cli.export import export
from trainer.cli.fit import fit
from trainer.cli.main import COMMANDS, OF_THE_EXTRA, main, trainer
from trainer.recipes import fit_config


class NoDisplay:
    def __init__(self, _classes: tuple[str, ...]) -> None: ...

    def __enter__(self) -> NoDisplay:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None: ...


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


def test_an_interrupted_fit_is_no_usage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("images/1.png", "masks/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    prepared = SimpleNamespace(
        config=fit_config("modern", steps=5), frames=3, validation_frames=1, unshown={}
    )
    monkeypatch.setitem(sys.modules, "trainer.fit", module("trainer.fit", run=interrupted))
    monkeypatch.setitem(
        sys.modules,
        "trainer.progress",
        module("trainer.progress", Display=NoDisplay, Quiet=None, StillAtWork=NoDisplay),
    )
    monkeypatch.setattr(fit_command, "_prepared", lambda _options, _ranks: prepared)
    given = [str(tmp_path), "--out", str(tmp_path / "run"), "--steps", "5"]
    done = CliRunner().invoke(fit, given, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 130  # as any other command that Ctrl-C ended
    assert "--resume" in done.stderr and str(tmp_path / "run") in done.stderr


def test_the_list_of_commands_cuts_no_sentence() -> None:
    listed = CliRunner().invoke(trainer, ["--help"]).stdout.split("Commands:")[1]
    assert "..." not in listed and listed.count(".\n") == len(COMMANDS)
    assert max(map(len, listed.splitlines())) <= 80


def test_a_scale_of_nothing_is_refused() -> None:
    given = ["data", "--out", "run", "--steps", "5", "--mm-per-px", "0", "0.1"]
    with pytest.raises(click.BadParameter, match="not in the range"):
        CliRunner().invoke(fit, given, standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize(
    "given",
    [
        ["fit", "LONG", "--out", "run", "--steps", "1"],
        ["fit", ".", "--out", "LONG", "--steps", "1"],
        ["fit", ".", "--out", "LONG", "--resume"],
        ["evaluate", "LONG", "."],
        ["evaluate", "run", ".", "--report", "LONG"],
        ["export", "LONG", "--out", "package"],
        ["lint", "LONG"],
        ["synth", "LONG", "--frames", "1"],
        ["import", "LONG", "out", "--from", "coco"],
    ],
)
def test_a_name_that_no_file_system_takes_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, given: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainer", *(w.replace("LONG", "n" * 300) for w in given)])
    assert main() == 2
    said = capsys.readouterr().err
    assert said.startswith("trainer: ") and "Traceback" not in said and len(said.splitlines()) == 1


def test_a_library_that_is_not_of_the_extra_is_no_excuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ModuleNotFoundError("No module named 'trainer.fot'", name="trainer.fot")

    monkeypatch.setattr("trainer.cli.main.run_group", broken)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_the_extra_installs_what_its_absence_is_told_of() -> None:
    """A name that moved to the line's own dependencies, or out of the project, is to go here as well."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[^\w-]", one)[0] for one in project["optional-dependencies"]["trainer"]}
    modules = {"scikit-image": "skimage", "pillow": "PIL"}
    assert {modules.get(name, name) for name in named} == OF_THE_EXTRA


def test_force_says_nothing_of_int8() -> None:
    given = ["package", "--int8", "data", "--out", "other", "--force"]
    with pytest.raises(UsageError, match="--force packs a RUN"):
        CliRunner().invoke(export, given, catch_exceptions=False, standalone_mode=False)


def test_a_package_without_a_version_is_refused() -> None:
    with pytest.raises(UsageError, match="--version is empty"):
        CliRunner().invoke(export, ["run", "--out", "package", "--version", ""], catch_exceptions=False)
