"""A checkpoint is whole or refused by name: every byte counts, and a write that fails leaves the old one."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.checkpoint import (
    _LAST_HOLDS,
    BEST,
    LAST,
    PREVIOUS,
    BrokenCheckpoint,
    RunNotKept,
    load_checkpoint,
    load_last,
    load_run,
    save_atomically,
    save_last,
)


def content(step: int) -> dict[str, Any]:
    random = torch.Generator().manual_seed(step)
    others = dict.fromkeys(_LAST_HOLDS, 1.0)
    return others | {
        "net": {"weight": torch.randn(40, 50, generator=random)}, "mark": {"step": step}, "name": "a",
    }  # fmt: skip


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return torch.equal(one["net"]["weight"], other["net"]["weight"]) and all(
        one[key] == other[key] for key in ("mark", "name")
    )


def test_a_changed_byte_anywhere_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_atomically(path, partial(torch.save, content(1)))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in [
        *range(0, len(whole), 97),
        *rng.integers(0, len(whole), 60),
        *range(len(whole) - 40, len(whole)),
    ]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1 :])
        try:
            assert same(load_checkpoint(path), content(1)), at
        except BrokenCheckpoint as error:
            assert str(path) in str(error)
            refused += 1
    # Most bytes are weights; only padding and fields that nobody reads may pass.
    assert refused > 100


@pytest.mark.parametrize("length", [0, 1, 100, 4000, -1])
def test_a_cut_file_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "c.pt"
    save_atomically(path, partial(torch.save, content(1)))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BrokenCheckpoint, match=r"c\.pt is not a checkpoint that can be read \(.+\)"):
        load_checkpoint(path)


def test_what_was_last_is_previous(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_last(tmp_path, content(step))
    assert same(load_last(tmp_path), content(3)) and same(load_last(tmp_path, previous=True), content(2))
    assert {path.name for path in tmp_path.iterdir()} == {LAST, PREVIOUS}


def test_without_hard_links_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refused)
    test_what_was_last_is_previous(tmp_path)


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_is_named_and_leaves_the_old_checkpoints(tmp_path: Path) -> None:
    """The operating system refuses in the midst of the file, as it does when the disk is full."""
    save_last(tmp_path, content(1))
    save_last(tmp_path, content(2))
    words = r"last\.pt cannot be written \(.+\); see to the disk.*--resume"
    with no_file_longer_than(5000), pytest.raises(RunNotKept, match=words):
        save_last(tmp_path, content(3))
    assert same(load_last(tmp_path), content(2))
    assert not list(tmp_path.glob("*.tmp"))
    save_last(tmp_path, content(4))
    assert same(load_last(tmp_path), content(4)) and same(load_last(tmp_path, previous=True), content(2))


def test_a_crash_between_the_two_names_is_told(tmp_path: Path) -> None:
    save_last(tmp_path, content(7))
    (tmp_path / LAST).rename(tmp_path / PREVIOUS)
    with pytest.raises(Exception, match=r"no last\.pt.*previous\.pt, of step 7, .*--resume --previous"):
        load_last(tmp_path)


def test_a_checkpoint_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    """best.pt copied over last.pt, and the other way round."""
    save_atomically(tmp_path / LAST, partial(torch.save, {"net": {}, "unet": {}}))
    save_atomically(tmp_path / BEST, partial(torch.save, content(1)))
    with pytest.raises(BrokenCheckpoint, match=r"last\.pt is not .*\(it does not hold average\)"):
        load_last(tmp_path)
    with pytest.raises(BrokenCheckpoint, match=r"best\.pt is not .*\(it does not hold unet\)"):
        load_run(tmp_path)
