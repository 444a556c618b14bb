"""What fit and export say of a network that should not serve as it is, and when they say nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.networks import seeing_network
from inspector.errors import Refused
from trainer.checkpoint import BEST, TrainedNetwork, save_network
from trainer.cli.export import export
from trainer.doubts import doubts
from trainer.golden import save_tiles


def network(
    found: tuple[int, int] = (12, 20),
    total: tuple[int, int] = (12, 20),
    *,
    score: float = 0.7,
    target: float | None = None,
    chosen: tuple[bool, bool] = (True, True),
) -> TrainedNetwork:
    """A finished network of which validation says this of pit and stain."""
    classes = {
        name: {"pixels": 16 * n, "escape_target": target if by_target else None}
        for name, n, by_target in zip(("pit", "stain"), total, chosen, strict=True)
    }
    counts = {
        name: {"found": f, "total": n} for name, f, n in zip(("pit", "stain"), found, total, strict=True)
    }
    validation: dict[str, Any] = {"score": score, "classes": classes, "per_defect": {"classes": counts}}
    made = dataclasses.replace(seeing_network(4, 3), metrics={"validation": validation})
    return dataclasses.replace(made, escape_target=target)


def test_a_good_network_is_not_doubted() -> None:
    assert doubts(network()) == () == doubts(network(target=0.05))
    assert doubts(network((12, 0), (12, 0))) == (), "a class that validation does not show"


def test_a_network_that_finds_nothing_is_called_so_with_the_remedy() -> None:
    (words,) = doubts(network((0, 0), score=0.0004))
    assert "hardly meets a defect (IoU 0.000 on validation)" in words and "Train longer" in words
    (words,) = doubts(network(score=float("nan")))
    assert "hardly meets" in words
    (words,) = doubts(network((12, 0), (12, 7)))
    assert words.startswith("This network finds none of 7 stain (IoU 0.700")


def test_frames_without_a_defect_tell_nothing() -> None:
    (words,) = doubts(network((0, 0), (0, 0), score=0.0))
    assert words.startswith("No validation frame shows a defect") and "hardly meets" not in words


def test_classes_whose_threshold_the_escape_target_did_not_choose_are_named_with_the_reason() -> None:
    (words,) = doubts(network((4, 0), (4, 0), target=0.02, chosen=(False, False)))
    assert "escape target 0.02 chose no threshold for pit (only 4 on validation, 10 needed)," in words
    assert "stain (validation shows none)" in words and "Label more" in words
    blind, silent = doubts(network((12, 0), target=0.02, chosen=(True, False)))
    assert "none of 20 stain" in blind and "stain (none of 20 found at any level)" in silent


def test_a_target_that_is_not_kept_is_said() -> None:
    assert doubts(network((11, 20), target=0.09)) == (), "one of twelve may be missed"
    (words,) = doubts(network((9, 19), target=0.05))
    assert "target 0.05 is not kept: on validation 3 of 12 pit are missed." in words


def test_a_run_that_has_not_ended_is_said_to_be_so() -> None:
    made = network(target=0.02)
    del made.metrics["validation"]["per_defect"]
    (words,) = doubts(dataclasses.replace(made, escape_target=None))
    assert words.startswith("The run has not ended") and "--resume" in words


def packed(folder: Path, trained: TrainedNetwork, *options: str) -> Result:
    """What `trainer export` does with a run of this network."""
    run = folder / "run"
    run.mkdir()
    save_network(run / BEST, trained)
    save_tiles(run, np.random.default_rng(0).integers(0, 256, (2, 60, 60, trained.channels), dtype=np.uint8))
    return CliRunner().invoke(export, [str(run), "--out", str(folder / "package"), "--json", *options])


@pytest.mark.parametrize("good", [True, False])
def test_export_warns_of_a_class_that_is_not_found_and_packs_all_the_same(tmp_path: Path, good: bool) -> None:
    done = packed(tmp_path, network((12, 20 if good else 0)))
    assert done.exit_code == 0, done.output
    assert ("Warning: This network finds none of 20 stain" in done.stderr) is not good
    assert (tmp_path / "package" / "manifest.json").exists()


def unfinished() -> TrainedNetwork:
    made = network()
    del made.metrics["validation"]["per_defect"]
    return made


@pytest.mark.parametrize(
    ("trained", "reason"),
    [
        (network(score=0.01), "hardly meets a defect (IoU 0.010 on validation); its verdicts mean nothing."),
        (network(score=float("nan")), "its verdicts mean nothing."),
        (unfinished(), "The run has not ended"),
    ],
)
def test_export_refuses_what_nobody_should_serve_unless_it_is_forced(
    tmp_path: Path, trained: TrainedNetwork, reason: str
) -> None:
    done = packed(tmp_path, trained)
    assert isinstance(done.exception, Refused) and done.exception.exit_code == 3
    said = str(done.exception)
    assert said.startswith(f"{tmp_path / 'run'} is not packed. ") and reason in said and "--force" in said
    assert not (tmp_path / "package").exists()
    (tmp_path / "again").mkdir()
    done = packed(tmp_path / "again", trained, "--force")
    assert done.exit_code == 0 and reason in done.stderr
    assert (tmp_path / "again" / "package" / "manifest.json").exists()
