"""The network's input loses nothing to half precision or bfloat16."""

from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.dataset import Sample
from trainer.recipes import fit_config
from trainer.sampler import network_input
from trainer.stock import load_stock


def stock_of(monkeypatch: pytest.MonkeyPatch, image: np.ndarray):
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[:4] = 1
    monkeypatch.setattr(Sample, "read", lambda self: (image, mask, None))
    channels = 1 if image.ndim == 2 else 3
    sample = Sample("a", "a", Path(), Path("a.png"), channels, (1,))
    return load_stock([sample], fit_config("modern", steps=1, channels=channels))


@pytest.mark.parametrize(("middle", "spread"), [(20, 3), (117, 38), (203, 51), (128, 0)])
@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)])
def test_every_gray_value_is_exact_in_sixteen_bits(monkeypatch, middle, spread, shape):
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(middle, spread, shape), 0, 255).astype(np.uint8)
    normalisation = stock_of(monkeypatch, image).normalisation
    levels = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 2))
    x = network_input([levels if len(shape) == 2 else np.dstack([levels] * 3)], normalisation)
    assert len(torch.unique(x)) >= 256
    assert torch.equal(x.bfloat16().float(), x)
    assert torch.equal(x.half().float(), x)


def test_it_centres_and_scales_within_a_factor_of_root_two(monkeypatch):
    image = np.random.default_rng(0).normal(117, 38, (200, 200)).clip(0, 255).astype(np.uint8)
    (mean,), (spread,) = stock_of(monkeypatch, image).normalisation
    assert abs(mean - 117) <= 1
    assert 38 / 2**0.5 <= spread <= 38 * 2**0.5
