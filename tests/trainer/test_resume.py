"""An interrupted run goes on as if nothing had happened; a broken checkpoint costs no more than itself."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_run import Silent, request, resumption

from inspector.errors import UsageError
from inspector.package import ModelPackage
from trainer.checkpoint import (
    ASIDE,
    BEST,
    LAST,
    PREVIOUS,
    BrokenCheckpoint,
    RunNotKept,
    load_checkpoint,
    load_run,
    save_network,
)
from trainer.dataset import load_dataset
from trainer.fit import Prepared, prepare, run
from trainer.interrupt import AFTER_THIS_STEP, WHEN_DONE, asked_to_stop
from trainer.judge import Judge
from trainer.mining import load_false_alarms
from trainer.resume import prepare_resume
from trainer.unet import UNet
from trainer.validate import Validation


def assert_same(one: Path, other: Path) -> None:
    whole, broken = load_checkpoint(one / LAST), load_checkpoint(other / LAST)
    assert whole["mark"]["step"] == broken["mark"]["step"]
    assert whole["mark"]["losses"] == broken["mark"]["losses"]
    for part in ("net", "average"):
        assert all(torch.equal(whole[part][k], broken[part][k]) for k in whole[part])
    best = load_run(one), load_run(other)
    assert best[0].metrics == best[1].metrics and best[0].thresholds == best[1].thresholds


@pytest.mark.parametrize(
    "settings",
    [{"optimizer": "muon"}, {"optimizer": "adamw"}, {"recipe": "paper"}, {"deep_supervision": 0.5}],
    ids=["muon", "adamw", "paper", "deep"],
)
def test_a_resumed_run_equals_an_unbroken_one(data: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    """Broken before and after batch norm is frozen; the paper's draws dropout."""
    run(prepare(request(data, tmp_path / "whole", steps=10, **settings)), Silent())
    out = tmp_path / "broken"
    run(prepare(request(data, out, steps=10, **settings)), Silent(), lambda step: step == 4)
    run(prepare_resume(resumption(data, out)), Silent(), lambda step: step == 9)
    run(prepare_resume(resumption(data, out)), Silent())
    assert_same(tmp_path / "whole", out)


def test_so_does_one_that_aims_at_a_packages_false_alarms(
    data: Path, tiny_package: ModelPackage, tmp_path: Path
) -> None:
    """Spots that the package calls dark damage and no mask does: resumed, the same tiles aim at them."""
    folder = Path(shutil.copytree(data, tmp_path / "d"))
    (folder / "classes.json").write_text(json.dumps({"1": "dark", "2": "bright"}))
    for path in (folder / "images").iterdir():
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        free = cv2.imread(str(folder / "masks" / path.name), cv2.IMREAD_UNCHANGED)[-12:, :12] == 0
        image[-12:, :12][free] = 20
        cv2.imwrite(str(path), image)
    settings = {
        "init": tiny_package.path, "steps": 6, "false_alarm_share": 0.5, "recipe": None,
        "base": None, "depth": None,
    }  # fmt: skip
    run(prepare(request(folder, tmp_path / "whole", **settings)), Silent())
    run(prepare(request(folder, tmp_path / "broken", **settings)), Silent(), lambda step: step == 3)
    mined = load_false_alarms(tmp_path / "broken", 10)
    assert sum(len(pixels) for pixels in mined) > 0
    run(prepare_resume(resumption(folder, tmp_path / "broken")), Silent())
    assert_same(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("broken_at", [4, 7], ids=["before", "after"])
def test_so_does_one_that_looks_for_its_own_false_alarms(data: Path, tmp_path: Path, broken_at: int) -> None:
    """Six of ten steps in it looks through its frames, and aims at what it finds from then on."""
    settings = {"steps": 10, "false_alarm_share": 0.5}
    run(prepare(request(data, tmp_path / "whole", **settings)), Silent())
    run(prepare(request(data, tmp_path / "plain", steps=10)), Silent())
    run(prepare(request(data, tmp_path / "broken", **settings)), Silent(), lambda step: step == broken_at)
    run(prepare_resume(resumption(data, tmp_path / "broken")), Silent())
    assert sum(len(pixels) for pixels in load_false_alarms(tmp_path / "whole", 10)) > 0
    assert_same(tmp_path / "whole", tmp_path / "broken")
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "whole", tmp_path / "plain")


def test_ctrl_c_ends_after_the_step_and_costs_nothing(data: Path, half: Path, tmp_path: Path) -> None:
    prepared = prepare(request(data, tmp_path / "r", steps=10))
    step = prepared.training._learner.step

    def interrupting(batch: Any, number: int, frozen: bool, rate: float) -> float:
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(batch, number, frozen, rate)

    prepared.training._learner.step = interrupting  # type: ignore[method-assign]
    with asked_to_stop() as stop:
        assert run(prepared, Silent(), stop) is None
    assert_same(half, tmp_path / "r")


class Signalled(Silent):
    """A report that sends Ctrl-C while thresholds are chosen, this many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def finishing(self, words: str, done: int, frames: int) -> None:
        if words == "choosing thresholds" and self.left:
            self.left -= 1
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_after_the_training_says_what_is_left_and_the_run_ends_well(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = Signalled(1)
    with asked_to_stop() as stop:
        assert run(prepare(request(data, tmp_path / "r", steps=3)), report, stop) is not None
        assert report.left == 0 and not stop(3)
    said = capfd.readouterr().err
    assert WHEN_DONE in said and AFTER_THIS_STEP not in said
    assert load_run(tmp_path / "r").scaled


def test_a_second_ctrl_c_then_ends_it_and_resuming_does_the_rest(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    with pytest.raises(KeyboardInterrupt), asked_to_stop() as stop:
        run(prepare(request(data, out, steps=3)), Signalled(2), stop)
    assert not load_run(out).scaled
    run(prepare_resume(resumption(data, out)), Silent())
    run(prepare(request(data, tmp_path / "whole", steps=3)), Silent())
    assert_same(tmp_path / "whole", out)


def test_a_second_signal_interrupts_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), asked_to_stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop(1)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_resume_refuses_other_data_and_a_missing_run(data: Path, half: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no last\.pt .*new --out"):
        prepare_resume(resumption(data, tmp_path / "nowhere"))
    other = Path(shutil.copytree(data, tmp_path / "other"))
    cv2.imwrite(str(other / "masks" / "0.png"), np.full((60, 44), 1, np.uint8))
    with pytest.raises(UsageError, match="not what"):
        prepare_resume(resumption(other, half))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("split.json", {"train": [str(n) for n in range(8)], "test": [str(n) for n in range(8, 12)]}),
        ("parts.json", {str(n): f"p{n // 3}" for n in range(12)}),
        ("classes.json", {"1": "chip", "2": "hole"}),
    ],
)
def test_resume_refuses_frames_that_changed_sides_parts_or_classes(
    data: Path, interrupted: Path, tmp_path: Path, name: str, content: dict[str, Any]
) -> None:
    """Exam frames went into training, and validated ones too, without a word."""
    other = Path(shutil.copytree(data, tmp_path / "other"))
    prepare_resume(resumption(other, interrupted)).held.close()
    (other / name).write_text(json.dumps(content))
    with pytest.raises(UsageError, match=rf"not what .*{name.replace('.', '[.]')}.*new --out"):
        prepare_resume(resumption(other, interrupted))


def test_a_run_of_an_earlier_version_whose_hash_was_of_files_alone_goes_on(
    data: Path, interrupted: Path, tmp_path: Path
) -> None:
    content = load_checkpoint(interrupted / LAST)
    content["data_sha256"] = load_dataset([data]).files_sha256()
    del content["seen"]
    torch.save(content, interrupted / LAST)
    run(prepare_resume(resumption(data, interrupted)), Silent())
    best = load_run(interrupted)
    assert best.data_sha256 == content["data_sha256"]
    assert load_checkpoint(interrupted / LAST)["mark"]["step"] == 10


def test_a_broken_last_checkpoint_is_named_and_the_one_before_it_goes_on(
    data: Path, interrupted: Path, tmp_path: Path
) -> None:
    last = interrupted / LAST
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.raises(
        BrokenCheckpoint, match=r"last\.pt is not .*previous\.pt, of step 3, .*--resume --previous"
    ):
        prepare_resume(resumption(data, interrupted))
    prepared = prepare_resume(resumption(data, interrupted, previous=True))
    assert (interrupted / ASIDE).stat().st_size == 5000 and not last.exists()
    run(prepared, Silent())
    run(prepare(request(data, tmp_path / "whole", steps=10)), Silent())
    assert_same(tmp_path / "whole", interrupted)


def test_with_both_broken_the_named_one_is_that_asked_for(data: Path, interrupted: Path) -> None:
    for name in (LAST, PREVIOUS):
        (interrupted / name).write_bytes(b"")
    for previous, name in ((False, r"last\.pt"), (True, r"previous\.pt")):
        with pytest.raises(
            BrokenCheckpoint, match=rf"{name} is not a checkpoint .*train again or restore it"
        ):
            prepare_resume(resumption(data, interrupted, previous=previous))


def test_a_broken_best_network_is_named_and_judged_anew(data: Path, interrupted: Path) -> None:
    best = interrupted / BEST
    best.write_bytes(best.read_bytes()[:-100])
    with pytest.raises(BrokenCheckpoint, match=r"best\.pt is not .*--resume judges the network of last\.pt"):
        load_run(interrupted)
    run(prepare_resume(resumption(data, interrupted)), Silent())
    assert load_run(interrupted).metrics["validation"]["frames"] == 2


def test_a_validation_that_a_full_disk_cut_short_is_done_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """best.pt finds no room, the smaller line of the log and a later last.pt do."""
    out = tmp_path / "full"
    prepared = prepare(request(data, out, steps=10))
    keep = Judge.keep_unless_worse

    def without_room(judge: Judge, net: UNet, found: Validation, step: int) -> bool:
        if step == 4:
            raise RunNotKept("full")
        return keep(judge, net, found, step)

    with monkeypatch.context() as full, pytest.raises(RunNotKept):
        full.setattr(Judge, "keep_unless_worse", without_room)
        run(prepared, Silent())
    assert load_checkpoint(out / LAST)["mark"]["step"] == 4 and load_run(out).step < 4
    run(prepare_resume(resumption(data, out)), Silent())
    run(prepare(request(data, tmp_path / "whole", steps=10)), Silent())
    assert_same(tmp_path / "whole", out)
    assert logged(out) == logged(tmp_path / "whole")


class Killed(BaseException):
    """As by kill -9, and a step is never whole then, so that nothing is written on the way out."""


def killed_at(step: int, prepared: Prepared) -> None:
    """Run until this many steps are done and the next one is under way."""
    learner = prepared.training._learner
    real = learner.move

    def moves(rate: float) -> None:
        if prepared.training._mark.step == step:
            raise Killed
        real(rate)

    learner.move = moves  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run(prepared, Silent())


def logged(out: Path) -> list[dict[str, Any]]:
    """The log without what differs from sitting to sitting."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name != "elapsed_s"}
        for line in lines
        if line["kind"] != "resumed"
    ]


def test_a_run_killed_before_its_first_validation_goes_on_from_the_start(data: Path, tmp_path: Path) -> None:
    killed_at(3, prepare(request(data, tmp_path / "killed", steps=40)))
    assert load_checkpoint(tmp_path / "killed" / LAST)["mark"]["step"] == 0
    run(prepare_resume(resumption(data, tmp_path / "killed")), Silent())
    run(prepare(request(data, tmp_path / "whole", steps=40)), Silent())
    assert_same(tmp_path / "whole", tmp_path / "killed")


def test_between_validations_the_clock_makes_checkpoints(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.train.SAVE_EVERY_S", 0.0)
    killed_at(3, prepare(request(data, tmp_path / "r", steps=40)))
    assert load_checkpoint(tmp_path / "r" / LAST)["mark"]["step"] == 3


def test_what_was_logged_after_the_checkpoint_is_logged_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed twice with lines of later steps than the checkpoint's, the last line torn."""
    monkeypatch.setattr("trainer.train.LOG_EVERY", 2)
    out = tmp_path / "killed"
    killed_at(11, prepare(request(data, out, steps=48)))
    assert load_checkpoint(out / LAST)["mark"]["step"] < 10 == logged(out)[-1]["step"]
    killed_at(21, prepare_resume(resumption(data, out)))
    assert load_checkpoint(out / LAST)["mark"]["step"] < 20 == logged(out)[-1]["step"]
    with (out / "log.jsonl").open("a") as file:
        file.write('{"kind": "steps", "st')
    run(prepare_resume(resumption(data, out)), Silent())
    run(prepare(request(data, tmp_path / "whole", steps=48)), Silent())
    assert_same(tmp_path / "whole", out)
    assert logged(out) == logged(tmp_path / "whole")


def test_dropout_beside_batch_norm_is_drawn_alike_when_broken_where_the_norm_settles(
    data: Path, tmp_path: Path
) -> None:
    settings = {"steps": 10, "dropout": 0.5}
    run(prepare(request(data, tmp_path / "whole", **settings)), Silent())
    run(prepare(request(data, tmp_path / "broken", **settings)), Silent(), lambda step: step == 8)
    assert not load_checkpoint(tmp_path / "broken" / LAST)["mark"]["frozen"]
    torch.rand(7)  # whatever a fresh process has drawn
    run(prepare_resume(resumption(data, tmp_path / "broken")), Silent())
    assert_same(tmp_path / "whole", tmp_path / "broken")


def test_a_best_network_newer_than_the_checkpoint_is_not_replaced_by_a_worse_one(
    data: Path, interrupted: Path
) -> None:
    """Killed between best.pt and last.pt: by the clock the next validation is another network's."""
    best = load_run(interrupted)
    assert best.standing is not None
    flawless = best.standing.overlap.copy()
    flawless[..., 0] = flawless[..., 1]
    standing = dataclasses.replace(best.standing, overlap=flawless)
    save_network(interrupted / BEST, dataclasses.replace(best, standing=standing))
    run(prepare_resume(resumption(data, interrupted)), Silent())
    assert load_run(interrupted).step == best.step


def test_a_setting_that_the_run_did_not_begin_with_is_refused(data: Path, interrupted: Path) -> None:
    """The same command and --resume goes on; another length would be passed over in silence."""
    for settings, words in (
        ({"steps": 20}, r"steps = 20 is .* began with \(10\).*trainer export .*--init PACKAGE and --steps"),
        ({"steps": None, "minutes": 3.0}, r"minutes = 3\.0 is .* \(nothing\).*--init .* and --minutes"),
        ({"recipe": "paper"}, r"recipe = paper is not what .* \(modern\).*leave it out"),
        ({"quarter_turns": True}, r"quarter_turns = True is not what .* \(False\)"),
        ({"augmentation": "strong"}, r"augmentation = strong is not what .* \(usual\)"),
    ):
        with pytest.raises(UsageError, match=words):
            prepare_resume(resumption(data, interrupted, settings=settings))
    same = {"steps": 10, "base": 4, "seed": None, "recipe": None, "quarter_turns": False}
    prepare_resume(resumption(data, interrupted, settings=same))
