"""End to end speed beside what people run today, on the same frame in one process, interleaved.

    python -m benchmarks.speed [--rounds 3] [--monai FOLDER]

1080p gray, base 16, depth 4, 3 classes with background. Columns: this line end to end (grab to
commit); MONAI `sliding_window_inference` as its users run it (torch eager float32, a padded
network of the same width, window 512, overlap 0.25, batch 4); the best float32 torch run of the
whole frame (same padded network, channels-last, inference mode); bare OpenVINO on the whole frame.
MONAI is not a dependency: `pip install --no-deps --target FOLDER monai` and name the folder.
Bars: >= 10 and >= 3 times with bf16, >= 4 and >= 1.4 times where the CPU has none.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.efficiency import BareLoop
from benchmarks.networks import seeing_package
from benchmarks.rows import append_row, verdict
from inspector.cli.bench import LineBench
from inspector.config import LineConfig, ModelConfig
from inspector.engine.openvino import cpu_has_bf16
from inspector.engine.protocol import EngineInfo

SIZE = (1080, 1920)
BASE, DEPTH, PLANES = 16, 4, 3
LINE_FRAMES = 20
BARS = {True: (10.0, 3.0), False: (4.0, 1.4)}


class PaddedUNet(nn.Module):
    """The same widths with padding 1, as MONAI's users have it: output size = input size."""

    def __init__(self) -> None:
        super().__init__()
        widths = [BASE * 2**level for level in range(DEPTH)]
        self.down = nn.ModuleList(_pair(i, o) for i, o in zip([1, *widths[:-1]], widths, strict=True))
        self.lift = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.up = nn.ModuleList(_pair(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(BASE, PLANES, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, convs in enumerate(self.down):
            if level:
                skips.append(x)
                x = nn.functional.max_pool2d(x, 2)
            x = convs(x)
        for lift, convs in zip(self.lift, self.up, strict=True):
            x = convs(torch.cat((skips.pop(), lift(x)), 1))
        scores: Tensor = self.head(x)
        return scores


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))


def torch_runs(monai: Path | None) -> dict[str, Callable[[], object]]:
    """What is run beside ours; each call takes one whole frame from uint8 to probabilities."""
    frame = torch.from_numpy(np.random.default_rng(0).integers(90, 160, (1, 1, *SIZE), np.uint8))
    torch.manual_seed(0)
    plain = PaddedUNet().eval()
    last = PaddedUNet().eval().to(memory_format=torch.channels_last)

    def whole() -> Tensor:
        with torch.inference_mode():
            x = ((frame.float() - 128) / 64).contiguous(memory_format=torch.channels_last)
            return torch.softmax(last(x), 1)

    runs: dict[str, Callable[[], object]] = {"torch whole": whole}
    if monai is not None:
        sys.path.insert(0, str(monai))
    try:
        from monai.inferers import sliding_window_inference
    except ImportError as error:
        print(f"MONAI is not there ({error}); its column and bar are left out.")
        return runs

    def sliding() -> Tensor:
        with torch.no_grad():
            x = (frame.float() - 128) / 64
            found: Tensor = sliding_window_inference(x, (512, 512), 4, plain, overlap=0.25)
            return torch.softmax(found, 1)

    return {"MONAI": sliding, **runs}


def seconds_a_frame(rounds: int, monai: Path | None) -> tuple[dict[str, list[float]], EngineInfo]:
    """Seconds a frame of every column in each round, and what ours ran on; one round before warms up."""
    runs = torch_runs(monai)
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *runs, "bare OpenVINO")}
    with tempfile.TemporaryDirectory() as folder:
        package = seeing_package(Path(folder) / "base16", BASE, DEPTH)
        bench = LineBench(LineConfig(model=ModelConfig(package=package.path)), package, SIZE)
        bare = BareLoop(package.onnx, bench.plan.input, bench.engine.info.precision)
        for number in range(rounds + 1):
            place = Path(folder) / str(number)
            place.mkdir()
            found = {
                "ours": 1 / bench.line(LINE_FRAMES, place)[0].tally.fps(),
                "bare OpenVINO": bare.seconds(3),
            }
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                found[name] = time.perf_counter() - began
            if number:
                for name, value in found.items():
                    seconds[name].append(value)
    return seconds, bench.engine.info


@click.command()
@click.option("--rounds", default=3)
@click.option("--monai", type=click.Path(path_type=Path), help="Folder that MONAI was installed into.")
@click.option("--keep/--no-keep", default=True, help="Append the row to benchmarks/results.")
def main(rounds: int, monai: Path | None, keep: bool) -> None:
    """Run all columns in turn, `rounds` times after one warm-up, and print medians and bars."""
    mpx = SIZE[0] * SIZE[1] / 1e6
    seconds, info = seconds_a_frame(rounds, monai)
    speed = {name: mpx / statistics.median(values) for name, values in seconds.items()}
    print(
        f"{SIZE[0]}x{SIZE[1]} gray, base {BASE}, depth {DEPTH}, medians of {rounds} rounds; ours in"
        f" {info.precision} on {info.device}, {LINE_FRAMES} frames a round"
    )
    for name, value in speed.items():
        print(f"{name:<14} {value:6.2f} Mpx/s")
    bars = dict(zip(("MONAI", "torch whole"), BARS[cpu_has_bf16()], strict=True))
    ratios = {name: speed["ours"] / speed[name] for name in bars if name in speed}
    for name, ratio in ratios.items():
        print(f"ours / {name}: {ratio:.2f} (bar {bars[name]:g}): {verdict(ratio >= bars[name])}")
    if keep:
        append_row(
            "speed",
            {
                "frame": SIZE,
                "base": BASE,
                "depth": DEPTH,
                "precision": info.precision,
                "rounds": rounds,
                "mpx_per_s": {name: round(value, 3) for name, value in speed.items()},
                "ratios": {name: round(value, 2) for name, value in ratios.items()},
                "bars": bars,
                "holds": all(ratios.get(name, 0) >= bar for name, bar in bars.items()),
            },
        )


if __name__ == "__main__":
    main()
