"""What an engineer writes in an afternoon instead of this project: the comparison of every accuracy table.

A padded batch-norm U-Net of the same width, AdamW, class-weighted cross entropy plus Dice, random
224 to 256 px crops (half of them on a defect), flips and quarter turns, bf16 autocast, argmax. It
shares the dataset reader, the split and the figures with the project, and nothing else.

    python -m benchmarks.baseline ../shared/datasets/masonry_crack --minutes 12 --seed 1 --out baseline.pt
    python -m benchmarks.baseline ../shared/datasets/masonry_crack --judge baseline.pt
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `trainer fit` sets it, before torch is loaded

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from inspector.tiling import Geometry
from inspector.types import Image, Mask
from trainer.dataset import IGNORE, Sample, load_dataset
from trainer.metrics.judged import Judged
from trainer.metrics.result import ASKED, Also, EvaluationResult

DEPTH = 4
BATCH = 8
LEARNING_RATE = 1e-3
WEIGHT_CAP = 10.0
CROP_PX = 256


class Pair(nn.Sequential):
    """Two padded 3x3 convolutions with batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class PaddedUNet(nn.Module):
    """The U-Net of most tutorials: zero padding, so that output and input have one size."""

    def __init__(self, channels: int, classes: int, base: int = 16, depth: int = DEPTH) -> None:
        super().__init__()
        widths = [base << level for level in range(depth)]
        self.down = nn.ModuleList(map(Pair, [channels, *widths[:-1]], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, 2) for n in reversed(widths[:-1]))
        self.join = nn.ModuleList(Pair(2 * n, n) for n in reversed(widths[:-1]))
        self.head = nn.Conv2d(base, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), H and W multiples of 2 ** (depth - 1) -> (N, classes, H, W)."""
        skips: list[Tensor] = []
        for pair in self.down:
            x = pair(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips[:-1]), strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        return torch.as_tensor(self.head(x))


@dataclass(frozen=True, slots=True)
class Trained:
    """What the baseline has to show."""

    net: nn.Module
    mean: float
    std: float
    steps: int


def fit(samples: Sequence[Sample], classes: int, minutes: float, seed: int) -> Trained:
    """Train for so many minutes, loading included; the learning rate falls to 0 along a cosine."""
    began = time.monotonic()
    torch.manual_seed(seed)
    pictures = [sample.read()[:2] for sample in samples]
    counts = sum((np.bincount(mask.ravel(), minlength=256) for _, mask in pictures), np.zeros(256, np.int64))
    frequency = np.maximum(counts[:classes], 1) / counts[:classes].sum()
    weight = torch.tensor(np.minimum(np.sqrt(frequency.max() / frequency), WEIGHT_CAP), dtype=torch.float32)
    values = np.concatenate([image.ravel()[::97] for image, _ in pictures])
    mean, std = float(values.mean()), float(values.std())
    net = PaddedUNet(samples[0].channels, classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, fused=True)
    for step, (images, masks) in enumerate(batches(pictures, seed)):
        done = (time.monotonic() - began) / (60 * minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * done))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(((images - mean) / std).contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), masks, weight, ignore_index=IGNORE) + dice(logits, masks)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} {100 * done:3.0f} % loss {float(loss.detach()):.3f}", file=sys.stderr)
    return Trained(net.eval(), mean, std, step)


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - mean Dice over the defect classes, over the whole batch."""
    valid = (masks != IGNORE)[:, None]
    p = torch.softmax(logits.float(), 1) * valid
    truth = F.one_hot(masks.clamp(max=logits.shape[1] - 1), logits.shape[1]).permute(0, 3, 1, 2) * valid
    shared, total = (p * truth).sum((0, 2, 3)), (p + truth).sum((0, 2, 3))
    return 1 - ((2 * shared + 1) / (total + 1))[1:].mean()


def batches(pictures: Sequence[tuple[Image, Mask]], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of square crops: (N, C, h, w) float32 gray values and (N, h, w) class ids."""
    rng = np.random.default_rng(seed)
    side = CROP_PX if min(min(mask.shape) for _, mask in pictures) >= CROP_PX else 224
    defects = [np.argwhere((mask > 0) & (mask != IGNORE)) for _, mask in pictures]
    showing = [n for n, found in enumerate(defects) if len(found)]
    while True:
        drawn = []
        for place in range(BATCH):
            n = int(rng.choice(showing)) if place % 2 else int(rng.integers(len(pictures)))
            aim = defects[n][rng.integers(len(defects[n]))] if place % 2 else None
            drawn.append(crop(rng, pictures[n], side, aim))
        images = np.stack([image for image, _ in drawn]).astype(np.float32)
        if images.ndim == 3:
            images = images[..., None]
        masks = np.stack([mask for _, mask in drawn]).astype(np.int64)
        yield torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(masks)


def crop(
    rng: np.random.Generator, picture: tuple[Image, Mask], side: int, aim: NDArray[np.intp] | None
) -> tuple[Image, Mask]:
    """A square crop, over the pixel `aim` if given, flipped and turned; small pictures are mirrored out."""
    image, mask = picture
    missing = [(0, max(0, side - n)) for n in mask.shape]
    if any(after for _, after in missing):
        rest = [(0, 0)] * (image.ndim - 2)
        image, mask = np.pad(image, [*missing, *rest], "symmetric"), np.pad(mask, missing, "symmetric")
    start = [int(rng.integers(n - side + 1)) for n in mask.shape]
    if aim is not None:
        start = [
            int(rng.integers(max(0, a - side + 1), min(n - side, a) + 1))
            for a, n in zip(aim.tolist(), mask.shape, strict=True)
        ]
    window = slice(start[0], start[0] + side), slice(start[1], start[1] + side)
    turns, flip = int(rng.integers(4)), 1 - 2 * int(rng.integers(2))
    return np.rot90(image[window], turns)[:, ::flip], np.rot90(mask[window], turns)[:, ::flip]


@torch.inference_mode()
def segment(trained: Trained, image: Image) -> NDArray[np.float32]:
    """float32 (H, W, K) probabilities of a whole frame, the background first."""
    height, width = image.shape[:2]
    tensor = torch.from_numpy(image.astype(np.float32).reshape(height, width, -1)).permute(2, 0, 1)[None]
    tensor = F.pad((tensor - trained.mean) / trained.std, (0, -width % 8, 0, -height % 8), "replicate")
    with torch.autocast("cpu", torch.bfloat16):
        logits = trained.net(tensor.contiguous(memory_format=torch.channels_last))
    return np.asarray(torch.softmax(logits.float(), 1)[0, :, :height, :width].permute(1, 2, 0))


def judged(
    trained: Trained, samples: Sequence[Sample], classes: Sequence[str], also: Sequence[Also] = ()
) -> EvaluationResult:
    """The figures of `trainer evaluate` of these frames, each predicted whole, its mask by argmax.

    classes: the defect classes. The figures near the frame's edge are taken where the project's own
    network of this depth takes them.
    """
    result = EvaluationResult(tuple(classes), Geometry(DEPTH).halo, tuple(also))
    for sample in samples:
        image, truth, instances = sample.read()
        said = segment(trained, image)
        levels = np.rint(255 * said[..., 1:]).astype(np.uint8)
        mask = said.argmax(-1).astype(np.uint8)
        result.add(Judged(sample, image, truth, instances, levels, mask))
    return result


def save(path: Path, trained: Trained) -> None:
    """Keep the network, the whole file or none."""
    content = {"net": trained.net.state_dict(), "mean": trained.mean, "std": trained.std}
    unfinished = path.with_suffix(".part")
    torch.save({**content, "steps": trained.steps}, unfinished)
    unfinished.replace(path)


def load(path: Path, channels: int, classes: int) -> Trained:
    """The network that `save` kept. classes: with the background."""
    content = torch.load(path, weights_only=True)
    net = PaddedUNet(channels, classes)
    net.load_state_dict(content["net"])
    net = net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Trained(net, content["mean"], content["std"], content["steps"])


def main() -> int:
    """Train and keep the network, or judge one; one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=1)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="train, and keep the network in this file")
    what.add_argument("--judge", type=Path, help="judge the network of this file on the test split instead")
    parser.add_argument("--also", action="append", choices=ASKED, default=[], help="as of trainer evaluate")
    options = parser.parse_args()
    dataset = load_dataset([options.data])
    classes = len(dataset.classes) + 1
    if options.judge is not None:
        trained = load(options.judge, dataset.channels, classes)
        print(json.dumps(judged(trained, dataset.split("test"), dataset.classes, options.also).json()))
        return 0
    trained = fit(dataset.split("train"), classes, options.minutes, options.seed)
    save(options.out, trained)
    print(json.dumps({"steps": trained.steps}))
    return 0


__all__ = ["PaddedUNet", "Trained", "fit", "judged", "load", "save", "segment"]

if __name__ == "__main__":
    sys.exit(main())
