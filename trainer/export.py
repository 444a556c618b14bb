"""From a trained network to a model package: the release graph, its golden tiles and its manifest.

A package is written only if half precision can hold the network: no weight or activation near the
largest half (65,504). ONNX Runtime and OpenVINO compute half graphs in float32 on a CPU and see no
overflow, so torch's own half is asked. Whether half also gives the same masks is recorded and said
aloud, not refused: f32 and bf16 may serve all the same, and an fp16 engine's certificate decides.
"""

from __future__ import annotations

import logging
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inspector.defects import mask_of
from inspector.errors import Refused, UsageError
from inspector.package import (
    HALF_HEADROOM,
    LARGEST_HALF,
    Golden,
    Manifest,
    ModelPackage,
    Normalisation,
    Threshold,
    write_package,
)
from inspector.tiling import Geometry
from inspector.units import shown
from trainer.checkpoint import TrainedNetwork
from trainer.release import INPUT, PROB, PROB_F32, ReleaseGraph, release_graph, released, to_onnx
from trainer.seen import SEEN

_LOG = logging.getLogger(__name__)

MOST_DIFFERENCE = 0.02
LEAST_EQUAL = 0.9999
"""What half may change on the golden tiles, largest probability difference and equal mask pixels, before
it is said aloud: the limits that an fp16 engine's certificate refuses by."""
VALIDATION_SHARE = "validation_share"
"""Key of the manifest's `metrics`: share of the training parts that `trainer fit` kept for validation."""


@dataclass(frozen=True, slots=True)
class HalfReport:
    """What half precision does to a network, on its golden tiles."""

    largest_weight: float
    largest_activation: float
    """Of any convolution or up-convolution, in float32."""
    finite: bool
    """Every output of torch's half run."""
    difference: float
    """Largest difference of a defect class's probability from float32, 0 to 1."""
    equal: float
    """Share of mask pixels that are equal."""
    layer: str = ""
    """Which one the largest activation comes from, as `up.0.convs.conv1`."""

    def check(self) -> None:
        """Raises Refused, saying what half precision cannot hold and what to do, where it overflows."""
        remedy = "train again with more weight decay or a lower learning rate"
        if self.largest_weight > LARGEST_HALF:
            raise Refused(
                f"A weight of {shown(self.largest_weight)} does not fit half precision (65504); {remedy}."
            )
        if self.largest_activation > LARGEST_HALF / HALF_HEADROOM:
            raise Refused(
                f"An activation of {shown(self.largest_activation)} in {self.layer} comes too near the"
                f" largest half (limit {LARGEST_HALF / HALF_HEADROOM:.0f}); {remedy}."
            )
        if not self.finite:
            raise Refused(f"Half precision gives values that are not finite on the golden tiles; {remedy}.")

    def doubt(self) -> str | None:
        """What to know before an fp16 engine serves this network; None where half keeps its answers."""
        if self.difference <= MOST_DIFFERENCE and self.equal >= LEAST_EQUAL:
            return None
        return (
            f"Half precision moves probabilities by {self.difference:.4f} (limit {MOST_DIFFERENCE}) and"
            f" keeps {self.equal:.3%} of the golden mask pixels (limit {LEAST_EQUAL:.2%}): f32 and bf16 may"
            " serve this package, an fp16 engine's certificate will likely refuse it;"
            " a network this unsure gains from longer training."
        )


def export_package(
    trained: TrainedNetwork, tiles: NDArray[np.uint8], out: Path, name: str, version: str
) -> ModelPackage:
    """Write the package of a trained network to `out`, checked against the network it came from.

    tiles: uint8 (n, h, w, channels), the golden tiles, 1 to 16 of a legal size.
    Raises UsageError when `out` exists or there are no tiles, Refused when half precision overflows
    or the exported graph does not keep the network's answers; then nothing is written.
    """
    if out.exists():
        raise UsageError(f"{out} exists already and packages are never changed; give a new name.")
    if not len(tiles):
        raise UsageError("There are no golden tiles to check the package with; give validation pictures.")
    graph = release_graph(trained.net, trained.normalisation)
    reference = probabilities(ReleaseGraph(released(trained.net), trained.normalisation).eval(), tiles)
    half = half_report(trained, graph, tiles, reference)
    half.check()
    if doubt := half.doubt():
        _LOG.warning("%s", doubt)
    onnx_bytes = to_onnx(graph)
    # ONNX Runtime may round between layers as half does; what that moves is no fault of the graph.
    check_export(onnx_bytes, tiles, reference, Geometry(trained.config.depth).grid, half.difference)
    manifest = _manifest(trained, name, version, half)
    return write_package(out, manifest, onnx_bytes, Golden(tiles, reference))


def probabilities(graph: nn.Module, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Defect probabilities (n, oh, ow, K), float32, one tile at a time, in the graph's own precision.

    graph: a ReleaseGraph, or one that answers like it.
    """
    planes = []
    with torch.inference_mode():
        for tile in tiles:
            planes.append(graph(torch.from_numpy(tile[None]))[1][:, 1:].permute(0, 2, 3, 1).numpy())
    return np.ascontiguousarray(np.concatenate(planes), np.float32)


def half_report(
    trained: TrainedNetwork, graph: ReleaseGraph, tiles: NDArray[np.uint8], reference: NDArray[np.float32]
) -> HalfReport:
    """What half precision does to the network. graph: its release graph; reference: its probabilities."""
    net = released(trained.net)
    ranges, _ = _watched(ReleaseGraph(net, trained.normalisation), tiles)
    half_ranges, half = _watched(graph, tiles)
    layer = max(ranges, key=lambda name: ranges[name])
    # A weight beyond half makes both infinite; `check` names it.
    half, reference = np.nan_to_num(half), np.nan_to_num(reference)
    equal = [
        mask_of(_levels(a), trained.thresholds) == mask_of(_levels(b), trained.thresholds)
        for a, b in zip(half, reference, strict=True)
    ]
    return HalfReport(
        largest_weight=max(float(p.detach().abs().max()) for p in trained.net.fold().parameters()),
        largest_activation=ranges[layer],
        finite=bool(np.isfinite(list(half_ranges.values())).all()),
        difference=float(np.abs(half - reference).max()),
        equal=float(np.mean(equal)),
        layer=layer.removeprefix("net."),
    )


def check_export(
    onnx_bytes: bytes,
    tiles: NDArray[np.uint8],
    reference: NDArray[np.float32],
    grid: int,
    half_difference: float = 0.0,
) -> None:
    """Raises Refused unless ONNX Runtime gives the reference probabilities.

    half_difference: what half precision itself moves them by, allowed on top of the limit.

    Runs the tiles as one batch, and one tile that is a grid step lower as a picture of another size.
    """
    limit = MOST_DIFFERENCE + half_difference
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    cases = [(tiles, reference)]
    if reference.shape[1] > grid:
        cases.append((tiles[:1, :-grid], reference[:1, :-grid]))
    for pictures, expected in cases:
        prob, prob_f32 = session.run([PROB, PROB_F32], {INPUT: np.ascontiguousarray(pictures)})
        found = np.moveaxis(prob_f32[:, 1:], 1, -1)
        difference = float(np.abs(found - expected).max())
        rounding = float(np.abs(prob - 255.0 * found).max())
        if not difference <= limit or not rounding <= 0.51:
            raise Refused(
                f"The exported graph differs from the network by {difference:.4f} (limit {shown(limit)})"
                f" and rounds by {rounding:.2f} levels (limit 0.51); report this with the run's config."
            )


def _watched(graph: ReleaseGraph, tiles: NDArray[np.uint8]) -> tuple[dict[str, float], NDArray[np.float32]]:
    """(layer -> its largest absolute output, infinite where one was not finite; probabilities)."""
    ranges: dict[str, float] = {}

    def look(name: str, output: Tensor) -> None:
        largest = float(output.abs().max())
        ranges[name] = max(ranges.get(name, 0.0), largest if np.isfinite(largest) else np.inf)

    layers = {n: m for n, m in graph.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)}
    hooks = [
        layer.register_forward_hook(lambda _module, _inputs, output, name=name: look(name, output))
        for name, layer in layers.items()
    ]
    try:
        probs = probabilities(graph, tiles)
    finally:
        for hook in hooks:
            hook.remove()
    return ranges, probs


def _levels(probs: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255.0 * probs), np.uint8)


def _manifest(trained: TrainedNetwork, name: str, version: str, half: HalfReport) -> Manifest:
    geometry = Geometry(trained.config.depth)
    mean, std = trained.normalisation
    return Manifest(
        name=name,
        version=version,
        classes=trained.classes,
        channels=trained.channels,
        depth=trained.config.depth,
        base=trained.config.base,
        halo=geometry.halo,
        grid=geometry.grid,
        normalisation=Normalisation(mean=mean, std=std),
        thresholds=_thresholds(trained),
        mm_per_px=trained.mm_per_px,
        training_data_sha256=trained.data_sha256,
        seed=trained.seed,
        metrics=_metrics(trained, half),
    )


def _metrics(trained: TrainedNetwork, half: HalfReport) -> dict[str, Any]:
    # Read as plain TOML: a checkpoint of an earlier version may hold settings that are gone.
    share = tomllib.loads(trained.fit_config).get("validation")
    return {
        **trained.metrics,
        **({} if share is None else {VALIDATION_SHARE: share}),
        **({} if trained.seen is None else {SEEN: trained.seen.kept()}),
        "steps": trained.step,
        "half": {
            "difference": half.difference,
            "equal": half.equal,
            "activation": half.largest_activation,
            "layer": half.layer,
        },
    }


def _thresholds(trained: TrainedNetwork) -> dict[str, Threshold]:
    """By class, each with the escape target only where enough validation defects chose it by one."""
    chosen = trained.metrics.get("validation", {}).get("classes", {})
    return {
        name: Threshold(value=value, escape_target=chosen.get(name, {}).get("escape_target"))
        for name, value in zip(trained.classes, trained.thresholds, strict=True)
    }
