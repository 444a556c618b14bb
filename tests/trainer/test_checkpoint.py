"""A checkpoint is whole or refused by name: every byte counts, and a write that fails leaves the old one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.checkpoint import (
    LAST,
    PREVIOUS,
    BrokenCheckpoint,
    load_checkpoint,
    load_last,
    save_atomically,
    save_last,
)


def content(step: int) -> dict[str, Any]:
    random = torch.Generator().manual_seed(step)
    return {"net": {"weight": torch.randn(40, 50, generator=random)}, "mark": {"step": step}, "name": "a"}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return torch.equal(one["net"]["weight"], other["net"]["weight"]) and all(
        one[key] == other[key] for key in ("mark", "name")
    )


def test_a_changed_byte_anywhere_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_atomically(path, content(1))
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
    save_atomically(path, content(1))
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


def test_a_write_that_fails_leaves_the_old_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_last(tmp_path, content(1))
    save_last(tmp_path, content(2))
    real = torch.save

    def disk_full(what: object, file: Any) -> None:
        file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_last(tmp_path, content(3))
    assert same(load_last(tmp_path), content(2))
    monkeypatch.setattr(torch, "save", real)
    save_last(tmp_path, content(4))
    assert same(load_last(tmp_path), content(4)) and same(load_last(tmp_path, previous=True), content(2))


def test_a_crash_between_the_two_names_is_told(tmp_path: Path) -> None:
    save_last(tmp_path, content(7))
    (tmp_path / LAST).rename(tmp_path / PREVIOUS)
    with pytest.raises(Exception, match=r"no last\.pt.*previous\.pt, of step 7, .*--resume --previous"):
        load_last(tmp_path)
