"""An interrupted run goes on as if nothing had happened; a broken checkpoint costs no more than itself."""

from __future__ import annotations

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
from tiny_run import Silent, make_data, request, resumption

from inspector.errors import UsageError
from inspector.package import ModelPackage
from trainer.checkpoint import ASIDE, BEST, LAST, PREVIOUS, BrokenCheckpoint, load_checkpoint, load_run
from trainer.fit import prepare, run
from trainer.interrupt import asked_to_stop
from trainer.mining import load_false_alarms
from trainer.resume import prepare_resume


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="module")
def half(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten steps, interrupted after four: last.pt and previous.pt are of steps 4 and 3."""
    out = tmp_path_factory.mktemp("runs") / "half"
    assert run(prepare(request(data, out, steps=10)), Silent(), lambda step: step == 4) is None
    return out


@pytest.fixture
def interrupted(half: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(half, tmp_path / "run"))


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
    [{"optimizer": "muon"}, {"optimizer": "adamw"}, {"recipe": "paper"}],
    ids=["muon", "adamw", "paper"],
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
    mined = load_false_alarms(tmp_path / "broken")
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
    assert sum(len(pixels) for pixels in load_false_alarms(tmp_path / "whole")) > 0
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


def test_a_second_signal_interrupts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), asked_to_stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop(1)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_resume_refuses_other_data_and_a_missing_run(data: Path, half: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no last\.pt"):
        prepare_resume(resumption(data, tmp_path / "nowhere"))
    other = Path(shutil.copytree(data, tmp_path / "other"))
    cv2.imwrite(str(other / "masks" / "0.png"), np.full((60, 44), 1, np.uint8))
    with pytest.raises(UsageError, match="not what"):
        prepare_resume(resumption(other, half))


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
