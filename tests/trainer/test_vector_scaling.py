"""Scaled probabilities are frequencies, the scaling is found again, and pixels keep their order."""

from __future__ import annotations

import contextlib
from math import inf, nan

import numpy as np
import pytest
import torch

from benchmarks.networks import pictures, seeing_network
from trainer.sampler import network_input
from trainer.validate import Shown
from trainer.vector_scaling import Samples, calibrated, fit_scaling


def untold(_words: str, _done: int, _count: int) -> None: ...


def drawn(n: int, classes: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Calibrated logits of n pixels and classes that were drawn from them."""
    random = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(n, classes, generator=random)
    truth = torch.multinomial(torch.softmax(logits, 1), 1, generator=random)[:, 0]
    return logits, truth


def test_the_scaling_that_spoiled_the_logits_is_found() -> None:
    logits, truth = drawn(200_000, 4)
    offsets = torch.tensor([0.0, -1.0, 0.5, -2.0])
    spoiled = 3.0 * logits - offsets
    found = fit_scaling(Samples(spoiled, truth, torch.ones(len(truth))))
    assert found.temperature == pytest.approx(3.0, rel=0.02)
    assert found.offsets == pytest.approx(offsets.tolist(), abs=0.1)


def test_a_thinned_sample_with_weights_gives_the_same_scaling() -> None:
    logits, truth = drawn(200_000, 3)
    spoiled = 2.0 * logits
    kept = (truth > 0) | (torch.rand(len(truth), generator=torch.Generator().manual_seed(2)) < 0.25)
    weight = torch.where(truth > 0, 1.0, 4.0)
    found = fit_scaling(Samples(spoiled[kept], truth[kept], weight[kept]))
    assert found.temperature == pytest.approx(2.0, rel=0.03)
    assert found.offsets == pytest.approx([0.0, 0.0, 0.0], abs=0.1)


def test_a_class_that_no_frame_shows_moves_with_the_others() -> None:
    logits, truth = drawn(100_000, 3)
    spoiled = torch.cat((logits, torch.full((len(logits), 1), -20.0)), 1)
    spoiled[:, 1:3] += 1.5
    found = fit_scaling(Samples(spoiled, truth, torch.ones(len(truth))))
    assert found.offsets[3] == pytest.approx((found.offsets[1] + found.offsets[2]) / 2, abs=1e-5)


def test_a_network_is_scaled_in_its_last_layer_and_pixels_keep_their_order() -> None:
    trained = seeing_network(4, 3)
    frames = []
    for image in pictures(4, (96, 96), 1):
        gray = image[..., 0]
        mask = np.where(gray < 60, 1, np.where(gray > 200, 2, 0)).astype(np.uint8)
        mask[:8] = 255
        frames.append(Shown(gray, mask, None, "one"))
    scaled = calibrated(trained, frames, contextlib.nullcontext(), untold)  # type: ignore[arg-type]
    tile = [np.pad(frames[0][0], 20, mode="reflect")[:132, :132]]
    with torch.inference_mode():
        before, after = (net(network_input(tile, trained.normalisation)) for net in (trained.net, scaled.net))
    assert not torch.allclose(before, after)
    odds_before, odds_after = before[:, 1] - before[:, 0], after[:, 1] - after[:, 0]
    line = np.polyfit(odds_before.flatten().numpy(), odds_after.flatten().numpy(), 1)
    assert line[0] > 0
    assert torch.allclose(odds_after, line[0] * odds_before + line[1], atol=1e-3)
    assert scaled.scaled and calibrated(scaled, frames, contextlib.nullcontext(), untold) is scaled  # type: ignore[arg-type]
    first = trained.net.down[0].state_dict()
    assert all(torch.equal(v, first[k]) for k, v in scaled.net.down[0].state_dict().items())


@pytest.mark.parametrize("row", [(nan, 0, 0), (0, inf, 0), (0, -inf, 0), (-3e38, 3e38, 0)])
def test_a_network_of_which_no_scaling_can_be_reckoned_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, row: tuple[float, ...]
) -> None:
    logits, truth = drawn(2000, 3)
    logits[5], truth[5] = torch.tensor(row), 0
    samples = Samples(logits, truth, torch.ones(len(truth)))
    monkeypatch.setattr("trainer.vector_scaling.sample_logits", lambda *_: samples)
    trained = seeing_network(4, 3)
    assert calibrated(trained, (), contextlib.nullcontext(), untold) is trained  # type: ignore[arg-type]


def test_frames_without_a_defect_change_nothing() -> None:
    trained = seeing_network(4, 3)
    good = [Shown(np.full((60, 60), 128, np.uint8), np.zeros((60, 60), np.uint8), None, "one")]
    assert calibrated(trained, good, contextlib.nullcontext(), untold) is trained  # type: ignore[arg-type]
