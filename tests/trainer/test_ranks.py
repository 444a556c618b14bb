"""Several processes under torchrun learn what one does, stop together, and end cleanly when one dies.

The real thing: processes on this machine that talk over gloo.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import torch.distributed as dist
from tiny_run import TINY, Silent, request, resumption

from inspector.errors import UsageError
from trainer.checkpoint import LAST, load_checkpoint, load_run
from trainer.config import RecipeName, from_toml
from trainer.dataset import load_dataset
from trainer.fit import CONFIG, Request, prepare, run
from trainer.learner import Learner
from trainer.losses import dice_loss, loss_sums
from trainer.ranks import Ranks, joined
from trainer.recipes import fit_config
from trainer.resume import prepare_resume
from trainer.sampler import TileSampler
from trainer.stock import load_stock

ROOT = Path(__file__).parent.parent.parent
PLAIN: dict[str, Any] = {
    "norm": "none", "precision": "f32", "optimizer": "sgd", "learning_rate": 0.05, "start_scale": 1.0,
}  # fmt: skip
"""Nothing in which processes differ by more than rounding: no batch norm, and no Muon, which takes the
smallest directions of a gradient, rounding among them, for as much as the largest. Pictures at their own
size: on shrunk ones rounding was seen to grow four hundred times as much."""


UNEVEN_CLOCKS = """
import atexit, itertools, os, runpy, sys, types
from pathlib import Path
import trainer.schedule
import torch.distributed as dist
leave = dist.destroy_process_group
dist.destroy_process_group = lambda: (say("before"), leave())
atexit.register(lambda: say("at exit"))

def say(when):
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except OSError:
            pass  # it has just ended
    print(f"Threads {when}:", *sorted(names), file=sys.stderr)

reading, tick_s = itertools.count(), (0.02, 0.03)[int(os.environ["RANK"])]
trainer.schedule.time = types.SimpleNamespace(monotonic=lambda: tick_s * next(reading))
runpy.run_module("trainer", run_name="__main__")
"""
"""Each look at the clock takes its time, more of it in process 1: a busy machine changes nothing. At its
end each process names the threads it still has."""

SLOW_GOODBYE = """
import runpy, time
import torch.distributed as dist
leave = dist.destroy_process_group
dist.destroy_process_group = lambda: (time.sleep(3), leave())
runpy.run_module("trainer", run_name="__main__")
"""
"""torchrun ends whoever is left within a second."""


def torchrun(
    data: Path,
    out: Path,
    *options: str,
    settings: dict[str, Any],
    program: Sequence[str] = ("-m", "trainer"),
) -> subprocess.Popen[str]:
    """Two processes of `trainer fit` with the tiny settings."""
    config = out.with_suffix(".toml")
    given = {**TINY, **settings}.items()
    config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in given))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        *program, "fit", str(data), "--out", str(out), "--config", str(config), *options,
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines(out: Path, kind: str) -> list[dict[str, Any]]:
    if not (out / "log.jsonl").exists():
        return []
    found = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def test_two_processes_learn_what_one_does(data: Path, tmp_path: Path) -> None:
    """Three tiles a step, so that one process has two of them, the other one."""
    process = torchrun(data, tmp_path / "two", "--json", settings={**PLAIN, "steps": 40})
    run(prepare(request(data, tmp_path / "one", steps=40, **PLAIN)), Silent())
    stdout, stderr = process.communicate(timeout=250)
    assert process.returncode == 0, stderr
    one, two = (load_checkpoint(tmp_path / name / LAST) for name in ("one", "two"))
    for part in ("net", "average"):
        for name, value in one[part].items():
            assert torch.allclose(value, two[part][name], rtol=1e-3, atol=1e-5), name
    # Something was learned, so that equal does not mean unmoved.
    first, last = (line["loss"] for line in lines(tmp_path / "one", "steps"))
    assert last < 0.7 * first
    # Rank 0 alone wrote and spoke, and the frames that it did not see were counted.
    told = [[line["step"] for line in lines(tmp_path / name, "validation")] for name in ("one", "two")]
    assert told[0] == told[1]
    for ours, theirs in zip(*(lines(tmp_path / name, "validation") for name in ("one", "two")), strict=True):
        for c, d in zip(ours["classes"], theirs["classes"], strict=True):
            assert (c["pixels"], c["defects"]) == (d["pixels"], d["defects"])
        assert ours["score"] == pytest.approx(theirs["score"], abs=0.02)
    assert len(stdout.splitlines()) == 1 and stderr.count("Done:") == 1 and "2 processes" in stderr
    assert load_run(tmp_path / "two").scaled


def test_the_clock_stops_all_processes_at_one_step(data: Path, tmp_path: Path) -> None:
    """As users train: batch norm, Muon, minutes. A process that went on alone would wait for the others."""
    clocked = tmp_path / "clocked.py"
    clocked.write_text(UNEVEN_CLOCKS)
    process = torchrun(data, tmp_path / "r", settings={"minutes": 0.15}, program=[str(clocked)])
    stderr = process.communicate(timeout=250)[1]
    assert process.returncode == 0, stderr
    kept = load_checkpoint(tmp_path / "r" / LAST)
    assert kept["elapsed_s"] >= 9 and kept["mark"]["step"] > 10 and kept["mark"]["frozen"]
    assert load_run(tmp_path / "r").metrics["validation"]["frames"] == 2
    # A thread of gloo that outlives the interpreter may abort the process (SIGABRT), and with it the run.
    before, after = (
        [line for line in stderr.splitlines() if line.startswith(f"Threads {when}:")]
        for when in ("before", "at exit")
    )
    assert len(before) == len(after) == 2
    assert all("gloo" in line for line in before) and not any("gloo" in line for line in after)


def worker(process: subprocess.Popen[str], rank: int) -> psutil.Process:
    found = [p for p in psutil.Process(process.pid).children() if p.environ().get("RANK") == str(rank)]
    assert len(found) == 1
    return found[0]


def wait_for_steps(process: subprocess.Popen[str], out: Path) -> None:
    until = time.monotonic() + 200
    while not lines(out, "steps"):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.2)


def test_a_process_that_dies_ends_the_run_and_another_sitting_goes_on(data: Path, tmp_path: Path) -> None:
    out, slow = tmp_path / "r", tmp_path / "slow.py"
    slow.write_text(SLOW_GOODBYE)
    process = torchrun(data, out, settings={**PLAIN, "steps": 100_000}, program=[str(slow)])
    wait_for_steps(process, out)
    killed, other = worker(process, 1), worker(process, 0)
    killed.send_signal(signal.SIGKILL)
    # gloo itself would wait for it for half an hour.
    stderr = process.communicate(timeout=250)[1]
    assert process.returncode != 0
    assert "--resume" in stderr
    assert not other.is_running()
    step = load_checkpoint(out / LAST)["mark"]["step"]
    assert step >= 20
    # One process goes on where two were.
    prepared = prepare_resume(resumption(data, out))
    run(prepared, Silent(), lambda now: now == step + 2)
    assert load_checkpoint(out / LAST)["mark"]["step"] == step + 2


def test_ctrl_c_stops_all_processes_between_two_steps(data: Path, tmp_path: Path) -> None:
    """Only one of them is told."""
    out = tmp_path / "r"
    process = torchrun(data, out, settings={**PLAIN, "steps": 100_000})
    wait_for_steps(process, out)
    worker(process, 1).send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=250)[1]
    assert "Stopped; go on with the same command and --resume" in stderr
    assert load_checkpoint(out / LAST)["mark"]["step"] >= 20


def test_dice_over_halves_of_a_batch_has_the_gradient_of_the_whole() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 6, 7, generator=random)
    mask = torch.randint(0, 3, (4, 6, 7), generator=random)
    mask[:3][mask[:3] == 2] = 255  # class 2 is shown in one half only
    weights = torch.ones(mask.shape)

    def sums(part: torch.Tensor, rows: slice) -> torch.Tensor:
        return loss_sums(part, mask[rows], weights[rows])[1]

    whole = logits.clone().requires_grad_()
    value = dice_loss(sums(whole, slice(None)))
    value.backward()  # type: ignore[no-untyped-call]
    halves = [logits[:2].clone().requires_grad_(), logits[2:].clone().requires_grad_()]
    both = [sums(half, rows) for half, rows in zip(halves, (slice(2), slice(2, None)), strict=True)]
    total = sum(both).detach()  # type: ignore[union-attr]
    for own in both:
        loss = dice_loss(own + (total - own.detach()))
        assert float(loss.detach()) == pytest.approx(float(value.detach()), rel=1e-6)
        loss.backward()  # type: ignore[no-untyped-call]
    gradient = torch.cat([half.grad for half in halves])  # type: ignore[misc]
    assert whole.grad is not None and torch.allclose(gradient, whole.grad, rtol=1e-5, atol=1e-8)
    # Each half by itself, which is what averaging over processes would do, is another loss.
    assert abs(float(dice_loss(both[0].detach())) - float(value.detach())) > 1e-3


def test_tiles_are_shared_out_and_stay_the_same(data: Path) -> None:
    dataset = load_dataset([data])
    config = fit_config("modern", steps=1, classes=dataset.classes, **TINY)
    sampler = TileSampler(load_stock(dataset.samples, config), config)
    whole = sampler.batch(7, 0.3)
    parts = [sampler.batch(7, 0.3, rank, 2) for rank in range(2)]
    assert [len(part.mask) for part in parts] == [2, 1]
    for rank, part in enumerate(parts):
        assert torch.equal(part.images, whole.images[rank::2]) and torch.equal(part.mask, whole.mask[rank::2])
    with pytest.raises(UsageError, match=r"3 tiles of 36x36 px, too few for 4 processes; raise step_px"):
        sampler.refuse_more_than_tiles(4)
    sampler.refuse_more_than_tiles(3)


def test_every_process_sees_the_same_loss_to_the_last_bit(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one of them could call a run diverged, and the others wait for it."""
    dataset = load_dataset([data])
    config = fit_config("modern", steps=1, classes=dataset.classes, **TINY, **PLAIN)
    sampler = TileSampler(load_stock(dataset.samples, config), config)
    learner = Learner(config, Ranks(), None)
    learner._ranks = Ranks(0, 2)

    def losses(number: int) -> list[float]:
        parts, sums = [sampler.batch(number, 0.3, rank, 2) for rank in range(2)], iter(())
        monkeypatch.setattr(Ranks, "total", lambda _self, value: own.append(value.detach()) or own[-1])
        kept = []
        for part in parts:
            own: list[torch.Tensor] = []
            learner.gradients(part)
            kept.append(own)
        found = []
        for part in parts:
            sums = iter([a + b for a, b in zip(*kept, strict=True)])
            monkeypatch.setattr(Ranks, "total", lambda _self, _value, sums=sums: next(sums))
            found.append(float(learner.gradients(part)))
        return found

    for number in range(12):
        first, second = losses(number)
        assert first == second


def test_one_named_gpu_is_not_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="cuda:0 is one GPU for 2 processes; say cuda"), joined("cuda:0"):
        pass


def test_a_process_that_torchrun_did_not_start_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match=r"Process 1 of 2 does not meet .*torchrun"), joined("cpu"):
        pass


def test_what_was_shared_out_comes_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [np.full(n, n) for n in range(7)]
    three = [Ranks(rank, 3) for rank in range(3)]

    def all_shares(into: list[Any], _own: object) -> None:
        into[:] = [list(ranks.own(items)) for ranks in three]

    monkeypatch.setattr(dist, "all_gather_object", all_shares)
    for ranks in three:
        assert [len(item) for item in ranks.gathered(ranks.own(items))] == list(range(7))
    assert Ranks().gathered([1, 2]) == [1, 2]


def test_other_data_on_another_host_is_refused_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(into: list[Any], _own: object) -> None:
        into[:] = ["a" * 64, "b" * 64]

    monkeypatch.setattr(dist, "all_gather_object", found)
    for rank in range(2):
        with pytest.raises(UsageError, match=r"Process 1 reads other data than process 0 \(bbbb.* and aaaa"):
            Ranks(rank, 2).refuse_other_data("a" * 64)
    Ranks().refuse_other_data("a" * 64)


@pytest.mark.parametrize("recipe", ["modern", "paper"])
def test_each_process_has_as_many_tiles_as_a_single_one_unless_the_step_is_given(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: RecipeName
) -> None:
    """The paper's step is one tile, of two processes two: with a step of 2 px it was refused."""
    monkeypatch.setattr(Ranks, "refuse_other_data", lambda _self, _sha256: None)
    monkeypatch.setattr("trainer.learner.DistributedDataParallel", lambda net, _on: net)

    def tiles(world: int, **given: Any) -> int:
        out = tmp_path / f"{world}-{len(given)}"
        settings = {"steps": 1, "base": 4, "depth": 3, **given}
        prepared = prepare(Request((data,), out, recipe, settings=settings, ranks=Ranks(0, world)))
        prepared.held.close()
        # What is kept asks for as many tiles again when the run is resumed.
        assert from_toml((out / CONFIG).read_text()) == prepared.config
        return prepared.training._sampler.tiles

    alone = tiles(1)
    assert (recipe == "paper") == (alone == 1)
    assert tiles(3) == 3 * alone
    assert tiles(2, step_px=60_000) == tiles(1, step_px=60_000)
