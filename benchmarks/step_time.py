"""What a training step costs beside the bare forward and backward pass on the same tensors.

    python -m benchmarks.step_time
    python -m benchmarks.step_time --base 4 --depth 3 --steps 5 --rounds 2 --no-keep

Three arms take turns in one process, with the settings of `trainer fit`: `bare` is forward, plain cross
entropy and backward of the same network on the same batch; `step` is a whole step on a batch in
hand (weighted loss, Dice, clipping, Muon, moving average); `loop` is that with its tiles cut
meanwhile, as training runs. Bar: loop at most 1.1 times bare, by the median over rounds of the
ratio of their medians. Memory over a long run: benchmarks/training_memory.py.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `trainer fit` sets it, before torch is loaded

import torch
import torch.nn.functional as F

from benchmarks.rows import append_row, verdict
from trainer.config import FitConfig
from trainer.dataset import IGNORE, load_dataset, one_thread
from trainer.device import choose_device
from trainer.learner import Learner, channels_last, moved, pinned
from trainer.prefetch import AHEAD, Prefetch
from trainer.ranks import Ranks
from trainer.recipes import fit_config
from trainer.sampler import Batch, TileSampler
from trainer.stock import load_stock
from trainer.unet import UNet

DATA = Path(__file__).parent.parent / "data_samples" / "parts"
BAR = 1.1
RATE = 1e-4


class Arms:
    """The three ways to spend a step, on networks of their own."""

    def __init__(self, config: FitConfig, data: Path, device: torch.device) -> None:
        self._device = device
        self._sampler = TileSampler(load_stock(load_dataset([data]).split("train"), config), config)
        self._learner = Learner(config, Ranks(device=device), None)
        self._net = channels_last(UNet(config.unet()).to(device)).train()
        self._count = 0
        self.batch = moved(self.cut(0), device)

    def cut(self, number: int) -> Batch:
        """The tiles of a step."""
        return pinned(self._sampler.batch(number, 0.5), self._device)

    def bare(self) -> None:
        """Forward and backward, and nothing else."""
        self._net.zero_grad(set_to_none=True)
        with self._learner.autocast:
            logits = self._net(self.batch.images)
        loss = F.cross_entropy(logits.float(), self.batch.mask, ignore_index=IGNORE)
        loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())  # as a step reads its own: on a GPU this waits for the end

    def step(self) -> None:
        """A training step on the batch in hand."""
        self._learn(self.batch)

    def loop(self, steps: int) -> list[float]:
        """Seconds of each of so many steps with their tiles cut meanwhile."""
        times = []
        with Prefetch(self.cut, self._count) as batches:
            began = time.perf_counter()
            for batch in batches:
                self._learn(moved(batch, self._device))
                times.append(time.perf_counter() - began)
                began = time.perf_counter()
                if len(times) == steps + AHEAD:
                    # The first ones find their tiles cut already.
                    return times[AHEAD:]
        raise AssertionError("batches never end")

    def parts(self) -> dict[str, float]:
        """Milliseconds of what a step consists of, one after the other."""
        learner = self._learner
        named: dict[str, Callable[[], object]] = {
            "forward_loss_backward": lambda: float(learner.gradients(self.batch)),
            "clip_and_optimizer": lambda: learner.move(RATE),
            "moving_average": lambda: learner.follow(1000),
            "tiles_in_their_thread": lambda: self.cut(self._count),
        }
        return {name: 1e3 * seconds(part) for name, part in named.items()}

    def _learn(self, batch: Batch) -> None:
        self._learner.step(batch, self._count, False, RATE)
        self._count += 1


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(arms: Arms, steps: int, rounds: int) -> dict[str, Any]:
    """All arms in turn, so that each sees the same machine."""
    medians: dict[str, list[float]] = {"bare": [], "step": [], "loop": []}
    parts = []
    for _ in range(2):
        arms.bare(), arms.step()
    for number in range(rounds):
        for name in sorted(medians, key=lambda name: (list(medians).index(name) + number) % 3):
            if name == "loop":
                times = arms.loop(steps)
            else:
                times = [seconds(arms.bare if name == "bare" else arms.step) for _ in range(steps)]
            medians[name].append(statistics.median(times))
        parts.append(arms.parts())
        print("  ".join(f"{name} {1e3 * values[-1]:.0f} ms" for name, values in medians.items()), flush=True)
    ratios = {
        f"{name}_over_bare": statistics.median(
            mine / bare for mine, bare in zip(medians[name], medians["bare"], strict=True)
        )
        for name in ("step", "loop")
    }
    return {
        **{f"{name}_ms": 1e3 * statistics.median(values) for name, values in medians.items()},
        **ratios,
        "parts_ms": {name: statistics.median(part[name] for part in parts) for name in parts[0]},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--base", type=int, default=16)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20, help="of each arm in a round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-keep", action="store_true", help="append no row")
    given = parser.parse_args()
    one_thread()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))
    dataset = load_dataset([given.data])
    size = {"base": given.base, "depth": given.depth}
    config = fit_config("modern", steps=1000, channels=dataset.channels, classes=dataset.classes, **size)
    device = choose_device(given.device)
    arms = Arms(config, given.data, device)
    row = {**size, "device": str(device), "tiles": list(arms.batch.mask.shape)}
    row |= measure(arms, given.steps, given.rounds)
    row["holds"] = row["loop_over_bare"] <= BAR
    print(f"parts: {', '.join(f'{name} {value:.1f} ms' for name, value in row['parts_ms'].items())}")
    print(
        f"step {row['step_over_bare']:.3f}, loop {row['loop_over_bare']:.3f} times bare (bar: {BAR}):"
        f" {verdict(row['holds'])}"
    )
    if not given.no_keep:
        append_row("step_time", row)
    return 0 if row["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
