"""int8 for the CPU: the release graph in 8 bits, fitted layer by layer on tiles of training frames.

The first convolution stays in floating point, for it reads gray values of up to 255 to find a scratch
of 3, and so does the head, which costs next to nothing. Where golden tiles then still differ by more
than a certificate allows, more of the layers at full resolution stay. What has lost more accuracy
on validation frames than int8 may cost is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from inspector.config import ModelConfig
from inspector.engine.certificate import LIMITS
from inspector.engine.cpu import openvino_version
from inspector.engine.graph import CompileOptions
from inspector.engine.open import choose_plan
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.parity import Parity, measure
from inspector.engine.quantised import (
    MOST_LOST,
    AccuracyLoss,
    Calibration,
    QuantisedRecord,
    store_quantised,
)
from inspector.errors import CertificateError, CompileError
from inspector.package import ONNX, ModelPackage
from trainer.calibration import CalibrationTiles, calibration_tiles
from trainer.dataset import Dataset, Sample
from trainer.eight_bits import layers_in_8_bits
from trainer.evaluate import Segmenter, evaluate
from trainer.initial import Start, start_from
from trainer.int8_graph import int8_graph
from trainer.release import ReleaseGraph
from trainer.unet import UNet

_LOG = logging.getLogger(__name__)

MOST_VALIDATION_PX = 60_000_000
"""Of the frames with masks on which the loss is measured: f32 takes half a second for a million."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """One quantised graph, not yet kept."""

    graph: bytes
    weights: bytes
    float_layers: tuple[int, ...]
    parity: Parity


def float_layer_choices(depth: int) -> list[tuple[int, ...]]:
    """Which convolutions stay in floating point, the fastest choice first; 1 is the one at the picture.

    A network of depth d has two a level on the way down, three a level on the way up, the full
    resolution last, and then the head. All but the lowest level may stay, from the top.
    """
    last = 5 * depth - 2
    few: list[tuple[int, ...]] = [(1, last), (1, last - 1, last), (1, 2, last - 1, last)]
    few.append((1, 2, last - 2, last - 1, last))
    levels = [(*range(1, 2 * n + 1), *range(last - 3 * n, last + 1)) for n in range(1, depth)]
    return few + levels


def quantise(package: ModelPackage, calibration: CalibrationTiles) -> Quantised:
    """The fastest int8 graph that stays within a certificate's limits on the golden tiles.

    Raises CertificateError when no choice of layers does, with the figures of the last one, and what
    `start_from` raises.
    """
    start = start_from(package)
    with TemporaryDirectory(prefix="quantise-") as name:
        for layers in float_layer_choices(package.manifest.depth):
            graph, weights = _graph(start, calibration, layers)
            path = Path(name) / f"{len(layers)}.xml"
            path.write_bytes(graph)
            path.with_suffix(".bin").write_bytes(weights)
            parity = golden_parity(package, path)
            _LOG.info(
                "int8 but for convolution %s: largest difference %.4f, mask equal %.3f %%, %d of %d golden"
                " defects found.", ", ".join(map(str, layers)), parity.max_difference,
                100 * parity.mask_equal, parity.defects - parity.lost, parity.defects,
            )  # fmt: skip
            if within_limits(parity):
                return Quantised(graph, weights, layers, parity)
    limits = LIMITS["int8"]
    raise CertificateError(
        f"{package.path} does not bear 8 bits: a golden probability differs by {parity.max_difference:.4f}"
        f" (limit {limits.max_difference}), {100 * parity.mask_equal:.3f} % of the mask pixels are equal"
        f" (limit {100 * limits.mask_equal:g}), {parity.lost} golden defects are lost; serve it in bf16 or"
        " f32, or calibrate on more frames."
    )


def _graph(start: Start, calibration: CalibrationTiles, float_layers: Sequence[int]) -> tuple[bytes, bytes]:
    """(graph, weights) with all convolutions but `float_layers` in 8 bits."""
    net = UNet(start.config).eval()
    net.load_state_dict(start.state)
    normalisation = start.package.manifest.normalisation
    graph = ReleaseGraph(net, (normalisation.mean, normalisation.std)).eval()
    layers = layers_in_8_bits(graph, torch.from_numpy(calibration.tiles), float_layers)
    return int8_graph(start.package, layers, start.config.skip == "concat")


def compile_int8(package: ModelPackage, dataset: Dataset, tiles: int = 64, seed: int = 0) -> QuantisedRecord:
    """Quantise on training frames, measure the loss on validation frames, and keep the graph; its record.

    Nothing is read from the dataset's test frames. Raises what `quantise` raises, CertificateError
    where more than MOST_LOST is lost, and CompileError where the cache cannot be written; an older graph
    is then still there.
    """
    training, validation = dataset.validation(seed=seed)
    geometry = package.geometry
    calibration = calibration_tiles(training, len(package.classes), geometry, tiles, seed)
    _LOG.info("Calibrating on %d tiles of %d training frames.", len(calibration.tiles), calibration.frames)
    found = quantise(package, calibration)
    loss = accuracy_loss(package, found, validation, held_out=validation is not training)
    refuse_lost(package, loss)
    fields = {
        "package": package.id,
        "onnx_sha256": package.manifest.files[ONNX],
        "torch": torch.__version__,
        "openvino": openvino_version(),
        "calibration": Calibration(
            data_sha256=calibration.sha256,
            tiles=len(calibration.tiles),
            tile=calibration.tiles.shape[1:3],
            frames=calibration.frames,
        ),
        "float_layers": found.float_layers,
        "loss": loss,
        "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        return store_quantised(package, found.graph, found.weights, fields)
    except OSError as error:
        raise CompileError(
            f"The int8 graph cannot be kept ({error.strerror}: {error.filename}); free the disk, or set"
            " INSPECTION_CACHE to a folder that can be written."
        ) from error


def golden_parity(package: ModelPackage, graph: Path) -> Parity:
    """What an int8 graph does on the golden tiles, as it would serve here."""
    height, width = package.golden().tiles.shape[1:3]
    engine = OpenVinoEngine(package, (height, width), CompileOptions("int8"), graph)
    try:
        return measure(engine, package, package.golden())
    finally:
        engine.close()


def within_limits(parity: Parity) -> bool:
    """Whether a certificate for int8 would be given."""
    limits = LIMITS["int8"]
    near = parity.max_difference <= limits.max_difference and parity.mask_equal >= limits.mask_equal
    return near and not parity.lost


def refuse_lost(package: ModelPackage, loss: AccuracyLoss) -> None:
    """Raises CertificateError, naming both values, where int8 costs more accuracy than it may."""
    if loss.too_much:
        raise CertificateError(
            f"{package.path} loses {-100 * (loss.miou_change or 0):.2f} points of mean IoU in int8 on"
            f" {loss.frames} validation frames, {100 * MOST_LOST:g} are allowed; serve it in bf16 or f32, or"
            " calibrate on more frames."
        )


def accuracy_loss(
    package: ModelPackage, quantised: Quantised, samples: Sequence[Sample], held_out: bool
) -> AccuracyLoss:
    """IoU of f32 and of int8 with the truth of the same frames.

    held_out: whether the frames gave no calibration tile.
    """
    some = _first(samples, MOST_VALIDATION_PX)
    with TemporaryDirectory(prefix="quantise-") as name:
        graph = Path(name) / "int8.xml"
        graph.write_bytes(quantised.graph)
        graph.with_suffix(".bin").write_bytes(quantised.weights)
        before = _figures(package, some, CompileOptions("f32"), package.onnx)
        after = _figures(package, some, CompileOptions("int8"), graph)
    return AccuracyLoss(
        frames=len(some),
        held_out=held_out,
        iou_f32={name: row["iou"] for name, row in before["per_class"].items()},
        iou_int8={name: row["iou"] for name, row in after["per_class"].items()},
        miou_f32=before["miou"],
        miou_int8=after["miou"],
    )


def _figures(
    package: ModelPackage, samples: Sequence[Sample], options: CompileOptions, graph: Path
) -> dict[str, Any]:
    segmenter = Segmenter(
        package.geometry,
        lambda frame: choose_plan(package, frame, ModelConfig(precision="f32")),
        lambda plan: OpenVinoEngine(package, plan.input, options, graph),
    )
    try:
        halo = package.geometry.halo
        return evaluate(samples, segmenter, package.classes, package.thresholds, halo=halo).json()
    finally:
        segmenter.close()


def _first(samples: Sequence[Sample], most_px: int) -> list[Sample]:
    """At least one, and no more than have so many pixels together."""
    some: list[Sample] = []
    for sample in samples:
        image = sample.image()
        most_px -= image.shape[0] * image.shape[1]
        if some and most_px < 0:
            break
        some.append(sample)
    return some
