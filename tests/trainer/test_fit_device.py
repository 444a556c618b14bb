"""Which device trains, and that one that cannot be had is refused by name."""

from __future__ import annotations

import pytest
import torch

from inspector.errors import GpuMissing, UsageError
from trainer.device import autocast_of, choose_device
from trainer.recipes import fit_config


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_auto_is_the_gpu_of_this_process_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert choose_device("auto") == torch.device("cpu")
    gpus(monkeypatch, 2)
    assert choose_device("auto", 1) == torch.device("cuda", 1)
    assert choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:1", 0) == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("wanted", "rank"), [("cuda", 0), ("cuda:3", 0), ("cuda", 2), ("auto", 2)])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str, rank: int) -> None:
    gpus(monkeypatch, 0 if wanted == "cuda" and rank == 0 else 2)
    with pytest.raises(GpuMissing, match=r"GPU \d was asked for and PyTorch .* sees \d .*--device cpu"):
        choose_device(wanted, rank)


@pytest.mark.parametrize("wanted", ["gpu", "cuda:x", "cuda:-1", "mps", ""])
def test_another_word_is_refused(wanted: str) -> None:
    with pytest.raises(UsageError, match="use auto, cpu, cuda or cuda:N"):
        choose_device(wanted)


def test_precision_is_as_the_config_says() -> None:
    for precision, enabled in (("f32", False), ("bf16", True)):
        autocast = autocast_of(fit_config("modern", steps=1, precision=precision))
        assert autocast._enabled is enabled and autocast.device == "cpu"
