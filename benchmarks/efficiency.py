"""How much of the engine's speed the line keeps, and of bare OpenVINO's the engine.

    python -m benchmarks.efficiency [--rounds 3] [--frames 20] [--size 1080x1920] [--model PACKAGE]

Bars: `inspector bench` efficiency >= 0.95; engine only >= 0.95 of an independent bare loop here,
which compiles the same file with OpenVINO alone and runs the same tile.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import openvino as ov

from benchmarks.networks import seeing_package
from benchmarks.rows import append_row, verdict
from deploy.qualify.cache import own_cache
from inspector.cli.bench import LineBench, measure
from inspector.config import LineConfig, ModelConfig
from inspector.package import load_package
from inspector.size import parse_size

BAR = 0.95


class BareLoop:
    """OpenVINO as its own samples use it: read, reshape, compile for latency, infer."""

    def __init__(self, onnx: Path, tile: tuple[int, int], precision: str) -> None:
        core = ov.Core()
        model = core.read_model(onnx)
        channels = model.input("image").partial_shape[3].get_length()
        model.reshape({"image": ov.PartialShape([1, *tile, channels])})
        for result in model.get_results():
            if "prob" not in result.output(0).get_names():
                model.remove_result(result)
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        self.request = core.compile_model(model, "CPU", hints).create_infer_request()
        shape = (1, *tile, channels)
        self.request.get_input_tensor().data[:] = np.random.default_rng(0).integers(90, 160, shape, np.uint8)
        self.request.infer()

    def seconds(self, runs: int) -> float:
        """Seconds a run."""
        began = time.perf_counter()
        for _ in range(runs):
            self.request.infer()
        return (time.perf_counter() - began) / runs


@click.command()
@click.option("--rounds", default=3)
@click.option("--frames", default=20)
@click.option("--size", default="1080x1920")
@click.option(
    "--model", type=click.Path(path_type=Path), help="Default: a base 16 depth 4 network made here."
)
@click.option("--keep/--no-keep", default=True, help="Append the row to benchmarks/results.")
def main(rounds: int, frames: int, size: str, model: Path | None, keep: bool) -> None:
    """Measure both ratios and print them with their bars."""
    with own_cache(), tempfile.TemporaryDirectory() as folder:
        package = load_package(model) if model else seeing_package(Path(folder) / "base16", 16, 4)
        bench = LineBench(LineConfig(model=ModelConfig(package=package.path)), package, parse_size(size))
        figures = measure(bench, frames, rounds)
        bare = BareLoop(package.onnx, bench.plan.input, bench.engine.info.precision)
        ours, theirs = [], []
        for _ in range(max(3, rounds)):
            ours.append(bench.engine_only(frames)[0])
            theirs.append(bare.seconds(frames * len(bench.plan.tiles)) * len(bench.plan.tiles))
        ratio = statistics.median(theirs) / statistics.median(ours)
        bench.engine.close()
    print(
        f"{rounds} interleaved rounds of {frames} frames of {size}, {figures['tiles']} tile(s) a frame,"
        f" {bench.engine.info.precision} on {bench.engine.info.device}"
    )
    print(
        f"line      {figures['mpx_per_s']:.3f} Mpx/s end to end, engine only"
        f" {figures['engine_only_mpx_per_s']:.3f}, efficiency {figures['efficiency']:.4f}"
        f" (bar {BAR}): {verdict(figures['efficiency'] >= BAR)}"
    )
    print(
        f"engine    {1000 * statistics.median(ours):.1f} ms a frame, bare OpenVINO"
        f" {1000 * statistics.median(theirs):.1f} ms, ratio {ratio:.4f} (bar {BAR}): {verdict(ratio >= BAR)}"
    )
    if keep:
        append_row(
            "efficiency",
            {
                **figures,
                "rounds": rounds,
                "frames": frames,
                "engine_to_bare": round(ratio, 4),
                "holds": figures["efficiency"] >= BAR and ratio >= BAR,
            },
        )


if __name__ == "__main__":
    main()
