"""False alarms of the earlier network are found where they are, aimed at, and kept for a resumed run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.networks import seeing_network
from inspector.errors import UsageError
from inspector.tiling import Geometry
from trainer.mining import (
    EACH,
    FILE,
    find_false_alarms,
    load_false_alarms,
    save_false_alarms,
    with_false_alarms,
)
from trainer.recipes import fit_config
from trainer.sampler import TileSampler
from trainer.stock import FALSE_ALARM, Picture, Stock

CLASSES = ("dark", "bright")


def stock() -> Stock:
    """One picture with a true dark spot, a good one and one that is ignored; one plain picture."""
    image = np.full((120, 160), 128, np.uint8)
    mask = np.zeros_like(image)
    for x in (20, 80, 130):
        image[50:60, x : x + 10] = 10
    mask[50:60, 20:30] = 1
    mask[50:60, 130:140] = 255
    pictures = tuple(
        Picture(i, m, None, {1: np.argwhere(m == 1)} if (m == 1).any() else {}, Path("here"))
        for i, m in ((image, mask), (np.full_like(image, 128), np.zeros_like(mask)))
    )
    return Stock(pictures, np.ones(3, np.float32), ((128.0,), (64.0,)))


def mined() -> tuple[np.ndarray, ...]:
    trained = seeing_network(4, 3)
    found = find_false_alarms(trained.net, stock(), (0.5, 0.5), Geometry(3), contextlib.nullcontext())  # type: ignore[arg-type]
    return found


def test_only_the_good_spot_is_a_false_alarm() -> None:
    found = mined()
    assert len(found[0]) == EACH and len(found[1]) == 0
    y, x = found[0].T
    assert y.min() >= 49 and y.max() <= 60 and x.min() >= 79 and x.max() <= 90


def test_tiles_are_aimed_at_false_alarms_as_often_as_asked() -> None:
    aimed = with_false_alarms(stock(), mined())
    assert FALSE_ALARM in aimed.pictures[0].anchors and FALSE_ALARM not in aimed.pictures[1].anchors
    config = fit_config("modern", steps=1, classes=CLASSES, depth=3, false_alarm_share=0.5, tile_px=28)
    sampler = TileSampler(aimed, config)
    rng = np.random.default_rng(1)
    drawn = [sampler._places.draw(rng, 0.0)[1] for _ in range(400)]
    hits = [at for at in drawn if at is not None]
    assert 160 < len(hits) < 240
    assert {int(x) for _, x in hits if x is not None} <= set(range(79, 91))


def test_without_false_alarms_the_draws_are_those_of_before() -> None:
    plain = fit_config("modern", steps=1, classes=CLASSES, depth=3, tile_px=28)
    asked = plain.model_copy(update={"false_alarm_share": 0.5})
    first, second = (TileSampler(stock(), config).batch(3, 0.5) for config in (plain, asked))
    assert np.array_equal(first.images, second.images)


def test_what_was_found_is_kept_with_the_run(tmp_path: Path) -> None:
    found = mined()
    save_false_alarms(tmp_path, found)
    kept = load_false_alarms(tmp_path, 2)
    assert all(np.array_equal(a, b) for a, b in zip(found, kept, strict=True))
    with pytest.raises(UsageError, match="start again"):
        load_false_alarms(tmp_path / "other", 2)


@pytest.mark.parametrize("harm", ["cut", "empty", "text", "another run's"])
def test_a_broken_file_is_named_with_the_remedy(tmp_path: Path, harm: str) -> None:
    save_false_alarms(tmp_path, mined())
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no archive"}.get(harm, whole))
    with pytest.raises(UsageError, match=r"false_alarms\.npz is not what the run wrote.*restore the file"):
        load_false_alarms(tmp_path, 3 if harm == "another run's" else 2)
