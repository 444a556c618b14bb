"""What `trainer fit` says before it trains: what is wrong, what is doubtful, and what its options are for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from inspector.errors import ConfigError, UsageError
from trainer.cli import fit as fit_command
from trainer.cli.fit_options import FitOptions
from trainer.recipes import fit_config

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from trainer.cli.main import main
for given in {cases}:
    sys.argv = ["trainer", *given]
    print("exit", main(), file=sys.stderr, flush=True)
"""


def pictures(folder: Path) -> Path:
    """A dataset folder as far as names go; nobody reads its files."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "1.png").touch()
    return folder


def without_torch(*cases: list[str]) -> list[str]:
    """stderr of the commands in a new process that cannot import torch, up to each one's exit code."""
    code = WITHOUT_TORCH.format(cases=list(cases))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    return re.findall(r"(.*?\nexit \d+)\n", done.stderr, re.DOTALL)


def test_what_torch_has_no_part_in_is_said_without_it_and_the_rest_names_the_remedy(tmp_path: Path) -> None:
    data, there = str(pictures(tmp_path / "data")), tmp_path / "there"
    there.mkdir()
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("steps = 1\nlearnin_rate = 1.0\n")
    new = ["--out", str(tmp_path / "new")]
    said = without_torch(
        ["fit", data, "--out", str(there), "--steps", "1"],
        ["fit", str(there), *new, "--steps", "1"],
        ["fit", data, *new],
        ["fit", data, *new, "--steps", "1", "--minutes", "1"],
        ["fit", data, *new, "--config", str(wrong)],
        ["fit", data, *new, "--steps", "1", "--previous"],
        ["fit", data, *new, "--steps", "1"],
        ["export", str(there), *new],
        ["evaluate", str(there), data],
    )
    words = (
        f"trainer: {there} exists already",
        f"trainer: {there} has no folder images/",
        "trainer: Either --minutes or --steps ends",
        "trainer: Either --minutes or --steps ends",
        f"trainer: {wrong}, line 2: learnin_rate is no key",
        "trainer: --previous chooses",
        *3 * ["trainer: This needs torch, which is not installed here: run `make setup`, or `pip install '."],
    )
    assert len(said) == len(words)
    for one, start in zip(said, words, strict=True):
        assert one.startswith(start) and one.endswith("\nexit 2") and len(one.splitlines()) == 2


def options(data: Path, out: Path, **given: object) -> FitOptions:
    content = {
        "recipe": None, "init": None, "config": None, "resume": False, "previous": False, "device": "auto",
        "tensorboard": False, "as_json": False, "settings": {"minutes": None, "steps": 1},
    }  # fmt: skip
    return FitOptions(**{"data": (data,), "out": out, **content, **given})  # type: ignore[arg-type]


def test_a_resumed_run_is_there_and_its_config_says_how_it_ends(tmp_path: Path) -> None:
    data, nothing = pictures(tmp_path / "data"), {"minutes": None, "steps": None}
    fit_command._refuse_early(options(data, tmp_path, resume=True, settings=nothing))
    file = tmp_path / "settings.toml"
    file.write_text("minutes = 3.0\n")
    fit_command._refuse_early(options(data, tmp_path / "new", config=file, settings=nothing))
    fit_command._refuse_early(options(data, tmp_path / "new", config=file))  # --steps in place of the file's
    file.write_text("base = 8\n")
    with pytest.raises(ConfigError, match="give exactly one"):
        fit_command._refuse_early(options(data, tmp_path / "new", config=file, settings=nothing))


def test_processes_of_torchrun_leave_it_to_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError):
        fit_command._refuse_early(options(tmp_path, tmp_path))
    monkeypatch.setenv("RANK", "1")
    fit_command._refuse_early(options(tmp_path, tmp_path))


def test_a_learning_rate_far_above_the_recipes_and_unshown_classes_are_said_at_the_start(
    tmp_path: Path,
) -> None:
    config = fit_config("modern", steps=1, learning_rate=50.0)
    prepared = SimpleNamespace(config=config, unshown={"rare": 2, "lost": 0})
    rate, unshown = fit_command._doubts_at_start(prepared, options(tmp_path, tmp_path))  # type: ignore[arg-type]
    assert "The learning rate 50 is 6,250 times the recipe's 0.008" in rate and "--learning-rate" in rate
    assert "No validation frame shows rare (2 training frames) or lost (0 training frames)" in unshown
    assert "threshold" in unshown and "guess" in unshown
    resumed = options(tmp_path, tmp_path, resume=True)
    assert list(fit_command._doubts_at_start(prepared, resumed)) == []  # type: ignore[arg-type]
    good = SimpleNamespace(config=fit_config("modern", steps=1), unshown={})
    assert list(fit_command._doubts_at_start(good, options(tmp_path, tmp_path))) == []  # type: ignore[arg-type]


def test_the_help_has_the_recipes_own_numbers() -> None:
    helped = {p.name: p.help or "" for p in fit_command.fit.params if isinstance(p, click.Option)}
    modern, paper = fit_config("modern", steps=1), fit_config("paper", steps=1)
    going_on = fit_config("modern", True, steps=1)
    rate, cap = helped["learning_rate"], helped["weight_cap"]
    strong = fit_config("modern", steps=1, augmentation="strong")
    rates = (
        f"[default: {modern.learning_rate:g}; strong {strong.learning_rate:g}; paper {paper.learning_rate:g};"
    )
    assert rates in rate
    assert f"with --init {going_on.learning_rate:g}]" in rate
    assert f"[default: {modern.weight_cap:g}; paper {paper.weight_cap:g}]" in cap
    assert "[default: no]" in helped["quarter_turns"]
    assert not modern.augment.quarter_turns and not paper.augment.quarter_turns
    for name in ("base", "depth", "skip", "precision", "seed"):
        assert f"[default: {getattr(modern, name)}]" in helped[name]


def test_the_help_says_how_a_run_ends_and_how_it_is_trained_for_longer() -> None:
    text = " ".join(fit_command.fit.get_help(click.Context(fit_command.fit)).split())
    assert "needs either --minutes or --steps" in text and "4294967295" in text
    assert "trained for longer by a new one" in text and "--init models/tiles --minutes 30" in text
    for option in ("--config", "--resume", "--escape-target", "--init"):
        assert re.search(rf"trainer fit [^\n]*{option}", fit_command.fit.help or ""), option
