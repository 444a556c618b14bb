"""The network is the paper's, to the number."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inspector.errors import ConfigError, ShapeMismatch
from inspector.tiling import Geometry
from trainer.unet import UNet, UNetConfig, check_size, crops

SMALL = UNetConfig(channels=1, classes=3, depth=3, base=4)


@pytest.fixture(scope="module")
def paper() -> UNet:
    return UNet(UNetConfig()).eval()


def test_paper_parameters(paper: UNet) -> None:
    assert sum(p.numel() for p in paper.parameters()) == 31_030_658


def test_paper_convolutions(paper: UNet) -> None:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    assert sum(isinstance(m, kinds) for m in paper.modules()) == 23


def test_paper_sizes(paper: UNet) -> None:
    seen: list[torch.Size] = []
    hook = paper.down[-1].register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    with torch.inference_mode():
        out = paper(torch.zeros(1, 1, 572, 572))
    hook.remove()
    assert seen == [torch.Size((1, 1024, 28, 28))]
    assert out.shape == (1, 2, 388, 388)


def test_crops_are_the_papers() -> None:
    assert crops(5) == (88, 40, 16, 4)


@pytest.mark.parametrize(("depth", "halo"), [(2, 8), (3, 20), (4, 44), (5, 92)])
def test_output_loses_one_halo_a_side(depth: int, halo: int) -> None:
    net = UNet(UNetConfig(depth=depth, base=2)).eval()
    step = 2 ** (depth - 1)
    for extra in (1, 3):
        size = 2 * halo + extra * step - (2 * halo) % step
        while True:
            try:
                check_size(net.config, size, size)
                break
            except ShapeMismatch:
                size += 2
        with torch.inference_mode():
            assert net(torch.zeros(1, 1, size, size)).shape[2:] == (size - 2 * halo, size - 2 * halo)


def test_rectangles_and_three_channels() -> None:
    net = UNet(UNetConfig(channels=3, classes=4, depth=3, base=4)).eval()
    assert net(torch.zeros(2, 3, 60, 84)).shape == (2, 4, 20, 44)


def test_skip_sum_has_fewer_weights_and_reads_the_skip() -> None:
    concat, summed = UNet(SMALL), UNet(UNetConfig(channels=1, classes=3, depth=3, base=4, skip="sum")).eval()
    assert sum(p.numel() for p in summed.parameters()) < sum(p.numel() for p in concat.parameters())
    for up in summed.up:
        nn.init.zeros_(up.up.weight)
    x = torch.randn(2, 1, 44, 44)
    out = summed(x)
    assert not torch.allclose(out[0], out[1])


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_coarse_levels_lie_under_the_output(depth: int) -> None:
    """Without their two outermost cells they are the output without its two outermost pixels."""
    geometry = Geometry(depth)
    torch.manual_seed(0)
    net = UNet(UNetConfig(classes=3, depth=depth, base=2), coarse_heads=True).eval()
    for out in (geometry.output_at_least(30), geometry.output_at_least(30) + geometry.grid):
        x = torch.randn(1, 1, out + 2 * geometry.halo, out + 2 * geometry.halo)
        with torch.inference_mode():
            found, finest = net.levels(x), net(x)
        assert torch.equal(found[0], finest) and len(found) == depth - 1
        for level, coarse in enumerate(found[1:], start=1):
            assert coarse.shape[1] == 3 and 2**level * (coarse.shape[2] - 4) == out - 4
            # Both lie in the middle of the input.
            assert 2**level * coarse.shape[2] == out + 2 * 2 * (2**level - 1)


def test_coarse_heads_are_not_served() -> None:
    torch.manual_seed(1)
    net = UNet(UNetConfig(classes=3, depth=4, base=4, norm="batch"), coarse_heads=True).eval()
    served, x = net.fold(), torch.randn(1, 1, 100, 100)
    assert not any(name.startswith("coarse") for name in served.state_dict())
    assert sum(name.startswith("coarse") for name in net.state_dict()) == 2 * 2
    with torch.inference_mode():
        assert torch.allclose(net(x), served(x), atol=1e-4)


def test_without_coarse_heads_there_is_one_answer_and_the_same_weights() -> None:
    plain = UNet(SMALL)
    assert len(plain.levels(torch.zeros(1, 1, 44, 44))) == 1
    heads = set(UNet(SMALL, coarse_heads=True).state_dict()) - set(plain.state_dict())
    assert heads == {"coarse.0.weight", "coarse.0.bias"}


@pytest.mark.parametrize("norm", ["instance", "group", "layer"])
def test_norms_that_read_the_tile_are_refused(norm: str) -> None:
    with pytest.raises(ConfigError, match=norm):
        UNetConfig(norm=norm)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [{"depth": 7}, {"channels": 2}, {"dropout": 1.0}, {"skip": "add"}, {"classes": 1}]
)
def test_impossible_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        UNetConfig(**bad)  # type: ignore[arg-type]


def test_initial_spread_is_he() -> None:
    torch.manual_seed(0)
    net = UNet(UNetConfig(base=32, depth=3))
    assert float(net.down[1].conv2.weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)
    assert float(net.up[0].up.weight.detach().std()) == pytest.approx((2 / 128) ** 0.5, rel=0.03)
    assert float(net.down[1].conv2.bias.detach().abs().max()) == 0.0


def test_dropout_acts_at_the_bottom_in_training_only() -> None:
    torch.manual_seed(0)
    net = UNet(SMALL)
    x = torch.randn(1, 1, 60, 60)
    net.train()
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_fold_keeps_the_function() -> None:
    torch.manual_seed(1)
    net = UNet(UNetConfig(channels=3, classes=3, depth=3, base=4, norm="batch", dropout=0.2))
    net.train()
    for _ in range(5):
        net(torch.randn(2, 3, 60, 60) * 2 + 1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
    net.eval()
    folded = net.fold()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    x = torch.randn(1, 3, 76, 60)
    with torch.inference_mode():
        assert torch.allclose(net(x), folded(x), atol=1e-4)
