"""What a resumed run is asked for: the same settings again, another escape target, and to be alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from tiny_run import Silent, request, resumption

from inspector.errors import UsageError
from inspector.package import ModelPackage
from trainer.checkpoint import BEST, LAST, load_checkpoint, load_run
from trainer.config import from_toml
from trainer.export import export_package
from trainer.fit import prepare, run
from trainer.golden import load_tiles
from trainer.resume import prepare_resume
from trainer.run_lock import LOCK, run_locked


def test_the_same_config_file_goes_on_and_another_is_refused(
    data: Path, interrupted: Path, tmp_path: Path
) -> None:
    file = tmp_path / "asked.toml"
    file.write_text("steps = 99\nbase = 4\n[augment]\nflips = true\nrotation_deg = 5\n")
    again = {"settings": {"steps": 10, "augmentation": None}, "config": file}
    with prepare_resume(resumption(data, interrupted, **again)).held:
        pass  # --steps stands in place of the file's
    for text, words in (
        ("base = 8\n", r"base = 8 is not what .* began with \(4\)"),
        ("[augment]\nblur_chance = 0.5\n", r"augment\.blur_chance = 0\.5 is not what .* \(0\.0\)"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=words):
            prepare_resume(resumption(data, interrupted, config=file))
    shutil.copy(interrupted / "config.toml", file)
    with prepare_resume(resumption(data, interrupted, config=file)).held:
        pass


def test_the_package_that_the_run_began_from_goes_on_and_another_is_refused(
    data: Path, interrupted: Path, tiny_package: ModelPackage, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"did not begin from .*leave --init out"):
        prepare_resume(resumption(data, interrupted, init=tiny_package.path))
    folder = Path(shutil.copytree(data, tmp_path / "d"))
    (folder / "classes.json").write_text(json.dumps({"1": "dark", "2": "bright"}))
    settings = {"init": tiny_package.path, "steps": 4, "recipe": None, "base": None, "depth": None}
    out = tmp_path / "begun"
    run(prepare(request(folder, out, **settings)), Silent(), lambda step: step == 1)
    assert run(prepare_resume(resumption(folder, out, init=tiny_package.path)), Silent()) is not None


def test_a_run_that_an_earlier_version_began_goes_on_as_it_is(data: Path, interrupted: Path) -> None:
    """Its checkpoint lacks the settings that have come since; the one before it stays what it was."""
    content = load_checkpoint(interrupted / LAST)
    del content["init"]
    lines = content["fit_config"].splitlines(keepends=True)
    younger = ("crops", "edge_share", "paste_chance", "deep_supervision")
    content["fit_config"] = "".join(line for line in lines if not line.startswith(younger))
    assert len(content["fit_config"].splitlines()) == len(lines) - len(younger)
    torch.save(content, interrupted / LAST)
    prepared = prepare_resume(resumption(data, interrupted))
    with prepared.held:
        assert prepared.training._saved_at == content["mark"]["step"], "nothing new to keep yet"
    assert run(prepare_resume(resumption(data, interrupted)), Silent()) is not None


def test_a_run_that_an_earlier_version_began_from_a_package_says_that_it_kept_no_name_of_it(
    data: Path, interrupted: Path, tiny_package: ModelPackage, tmp_path: Path
) -> None:
    content = load_checkpoint(interrupted / LAST)
    del content["init"]
    content["prior"] = [0.5, 0.5]
    torch.save(content, interrupted / LAST)
    with pytest.raises(
        UsageError, match=r"an earlier version of trainer, which did not keep .*leave --init out"
    ):
        prepare_resume(resumption(data, interrupted, init=tiny_package.path))
    file = tmp_path / "asked.toml"
    file.write_text('norm = "none"\n')  # the run's own is what the package decided
    with prepare_resume(resumption(data, interrupted, config=file)).held:
        pass


def test_another_escape_target_reaches_all_that_the_run_keeps(data: Path, interrupted: Path) -> None:
    run(prepare_resume(resumption(data, interrupted)), Silent())
    run(prepare_resume(resumption(data, interrupted, escape_target=0.25)), Silent())
    kept = [load_checkpoint(interrupted / name)["fit_config"] for name in (BEST, LAST)]
    assert [from_toml(text).escape_target for text in kept] == [0.25, 0.25]
    assert tomllib.loads((interrupted / "config.toml").read_text())["escape_target"] == 0.25
    run(prepare_resume(resumption(data, interrupted)), Silent())
    assert load_run(interrupted).escape_target == 0.25, "asked for once"


def test_a_run_that_goes_on_is_compared_with_what_its_best_scored_before_calibration(
    data: Path, interrupted: Path
) -> None:
    run(prepare_resume(resumption(data, interrupted)), Silent())
    lines = [json.loads(line) for line in (interrupted / "log.jsonl").read_text().splitlines()]
    best = max(line["score"] for line in lines if line["kind"] == "validation")
    assert load_run(interrupted).metrics["validation"]["score"] != best, "calibration moved it"
    prepared = prepare_resume(resumption(data, interrupted))
    with prepared.held:
        standing = prepared.training._judge._best
        assert standing is not None and standing.score == best


def test_what_an_earlier_version_kept_among_the_figures_is_read_and_reaches_no_manifest(
    data: Path, interrupted: Path, tmp_path: Path
) -> None:
    run(prepare_resume(resumption(data, interrupted)), Silent())
    ended = load_run(interrupted)
    content = load_checkpoint(interrupted / BEST)
    content["metrics"]["validation"]["uncalibrated_score"] = 0.5
    del content["standing"]
    torch.save(content, interrupted / BEST)
    again = load_run(interrupted)
    assert again.standing is None and ended.standing is not None
    package = export_package(again, load_tiles(interrupted), tmp_path / "package", "tiny", "1")
    assert package.manifest.metrics["validation"] == ended.metrics["validation"]


HOLDS = """
import fcntl, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
print("held", flush=True)
time.sleep(600)
"""


def test_two_processes_never_write_one_run(data: Path, interrupted: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(interrupted / LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            before = (interrupted / LAST).read_bytes()
            with pytest.raises(
                UsageError, match=rf"Another trainer fit writes .*process {other.pid}\); wait"
            ):
                prepare_resume(resumption(data, interrupted))
            assert (interrupted / LAST).read_bytes() == before
        finally:
            other.kill()
    assert run(prepare_resume(resumption(data, interrupted)), Silent()) is not None, "the kernel gave it back"


def test_a_refused_resume_and_an_ended_run_leave_the_folder_free(
    data: Path, interrupted: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        prepare_resume(resumption(data, interrupted, settings={"steps": 7}))
    assert "steps" in str(refused.value)  # the error still holds its frames
    run(prepare_resume(resumption(data, interrupted)), Silent())
    with run_locked(interrupted):
        assert (interrupted / LOCK).read_text() == str(os.getpid())
        with pytest.raises(UsageError, match="Another trainer fit writes"), run_locked(interrupted):
            pass
    with pytest.raises(UsageError, match=r"no last\.pt"):
        prepare_resume(resumption(data, tmp_path))
    assert not (tmp_path / LOCK).exists()
