"""`trainer fit` says when validation frames show what also trains."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tiny_run import request

from trainer.dataset import Sample
from trainer.fit import load_stock, prepare
from trainer.lookalikes import warn_of_lookalikes


def shown(folder: Path, stem: str, seed: int, gain: float = 1.0) -> tuple[Sample, np.ndarray]:
    surface = np.random.default_rng(seed).normal(0, 1, (240, 200)).astype(np.float32)
    picture = 120 + gain * 300 * cv2.GaussianBlur(surface, (0, 0), 2)
    path = folder / "images" / f"{stem}.png"
    return Sample(stem, f"{folder}/{stem}", folder, path, 1, {}), picture.clip(0, 255).astype(np.uint8)


def different(folder: Path, count: int, first: int) -> list[tuple[Sample, np.ndarray]]:
    return [shown(folder, f"{seed:03d}", seed) for seed in range(first, first + count)]


def test_another_exposure_of_a_training_frame_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    held_out = [shown(tmp_path, "dim", seed=4, gain=0.4), shown(tmp_path, "new", seed=900)]
    warn_of_lookalikes(different(tmp_path, 30, first=0), held_out)
    assert "1 of 2 validation frames" in caplog.text and "dim = 004." in caplog.text
    assert f"trainer lint {tmp_path} --write-parts" in caplog.text


def test_the_owner_of_a_parts_json_knows_better(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "parts.json").write_text("{}")
    warn_of_lookalikes(different(tmp_path, 30, first=0), [shown(tmp_path, "dim", seed=4, gain=0.4)])
    assert not caplog.text


@pytest.mark.parametrize("case", ["all different", "all alike", "the same frames"])
def test_says_nothing_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str):
    train = different(tmp_path, 30, first=0)
    held_out = different(tmp_path, 6, first=30)
    if case == "all alike":
        train = [shown(tmp_path, f"t{number}", seed=1, gain=0.5 + number / 60) for number in range(30)]
        held_out = [shown(tmp_path, f"v{number}", seed=1, gain=0.9) for number in range(6)]
    if case == "the same frames":
        held_out = train
    warn_of_lookalikes(train, held_out)
    assert not caplog.text


def test_a_run_says_so_before_it_starts(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Twelve surfaces, each under two exposures, so that a validation frame has its twin in training."""
    folder = tmp_path / "line"
    mask = np.zeros((240, 200), np.uint8)
    mask[50:60, 50:60] = 1
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for seed in range(12):
        for name, gain in (("bright", 1.0), ("dim", 0.5)):
            sample, picture = shown(folder, f"{seed}_{name}", seed, gain)
            cv2.imwrite(str(sample.image_path), picture)
            cv2.imwrite(str(folder / "masks" / sample.image_path.name), mask)
    prepare(request(folder, tmp_path / "r", steps=1)).held.close()
    assert "show the same thing as a training frame" in caplog.text


def test_to_look_for_them_takes_nothing_of_the_minutes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now = [0.0]

    def takes(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("trainer.schedule.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("trainer.fit.load_stock", lambda *given: (takes(5), load_stock(*given))[1])
    monkeypatch.setattr("trainer.fit.warn_of_lookalikes", lambda *_: takes(60))
    prepared = prepare(request(data, tmp_path / "r", minutes=1.0))
    prepared.held.close()
    assert prepared.training._schedule.elapsed_s() == 5
