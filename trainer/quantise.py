"""An int8 package: the network of a package in floating point, fitted to 8 bits on training frames.

It is a network of its own, with golden probabilities of its own: what an engine makes of it is held
against them. What 8 bits changed is measured here, once, on validation frames, and stands in its
manifest; a network that loses more than int8 may cost is refused, and nothing is written.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from inspector.config import ModelConfig
from inspector.engine.certificate import refuse_over_limit
from inspector.engine.graph import CompileOptions
from inspector.engine.open import choose_plan
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.parity import measure
from inspector.engine.quantised import MOST_LOST, AccuracyLoss, Calibration, Quantisation
from inspector.errors import Refused, UsageError
from inspector.package import INT8, Golden, ModelPackage, write_package
from trainer.calibration import CalibrationTiles, calibration_tiles
from trainer.dataset import Dataset, Sample
from trainer.eight_bits import layers_in_8_bits
from trainer.evaluate import Segmenter, evaluate
from trainer.export import probabilities
from trainer.initial import start_from
from trainer.int8_graph import EightBitGraph, int8_onnx
from trainer.release import ReleaseGraph
from trainer.unet import UNet

_LOG = logging.getLogger(__name__)

MOST_VALIDATION_PX = 60_000_000
"""Of the frames with masks on which the loss is measured: f32 takes half a second for a million."""
_NOT_MEASURED = AccuracyLoss(frames=0, held_out=False, iou_f32={}, iou_int8={}, miou_f32=None, miou_int8=None)


def export_int8(
    package: ModelPackage, dataset: Dataset, out: Path, names: tuple[str, str], tiles: int = 64
) -> ModelPackage:
    """Write the int8 package of a package in floating point to `out`.

    names: name and version of the new package. tiles: how many to fit on. The package's seed cuts
    training from validation frames, as `trainer fit` did; nothing is read from test frames. Raises
    UsageError when `out` exists, the package is one in 8 bits, or its skip maps are added; Refused
    when more than MOST_LOST of the mean IoU is lost or OpenVINO computes something else from the graph.
    Nothing is written then.
    """
    if out.exists():
        raise UsageError(f"{out} exists already and packages are never changed; give a new name.")
    graph = _graph(package)  # refuses before any frame is read
    training, validation = dataset.validation(seed=package.manifest.seed)
    cut = calibration_tiles(training, len(package.classes), package.geometry, tiles, package.manifest.seed)
    _LOG.info("Fitting 8 bits on %d tiles of %d training frames.", len(cut.tiles), cut.frames)
    layers = layers_in_8_bits(graph, torch.from_numpy(cut.tiles))
    graph_in_8_bits = EightBitGraph(layers, graph.net.config).eval()
    golden = package.golden()
    golden = Golden(golden.tiles, probabilities(graph_in_8_bits, golden.tiles))
    onnx = int8_onnx(graph_in_8_bits)
    made = Quantisation(source=package.id, calibration=_record(cut), loss=_NOT_MEASURED)

    def write(place: Path, metrics: dict[str, Any]) -> ModelPackage:
        fields = {"name": names[0], "version": names[1], "metrics": metrics, "files": {}}
        return write_package(place, package.manifest.model_copy(update=fields), onnx, golden)

    with TemporaryDirectory(prefix="int8-") as folder:
        candidate = write(Path(folder) / "candidate", {INT8: made.model_dump(mode="json")})
        check_int8(candidate)
        loss, figures = accuracy_loss(package, candidate, validation, held_out=validation is not training)
    refuse_lost(package, loss)
    measured = made.model_copy(update={"loss": loss}).model_dump(mode="json")
    return write(out, {"validation": figures, INT8: measured})


def _graph(package: ModelPackage) -> ReleaseGraph:
    """The package's network in float32."""
    start = start_from(package)
    if start.config.skip != "concat":
        raise UsageError(
            f"The skip maps of {package.path} are added, and int8 is made for networks that join them; train"
            ' with skip = "concat".'
        )
    net = UNet(start.config).eval()
    net.load_state_dict(start.state)
    normalisation = package.manifest.normalisation
    return ReleaseGraph(net, (normalisation.mean, normalisation.std)).eval()


def _record(cut: CalibrationTiles) -> Calibration:
    height, width = cut.tiles.shape[1:3]
    return Calibration(data_sha256=cut.sha256, tiles=len(cut.tiles), tile=(height, width), frames=cut.frames)


def check_int8(package: ModelPackage) -> None:
    """Raises CertificateError unless OpenVINO computes the golden probabilities from the graph.

    Not ONNX Runtime, which the other packages are checked with: it rounds otherwise between layers.
    """
    golden = package.golden()
    height, width = golden.tiles.shape[1:3]
    engine = OpenVinoEngine(package, (height, width), CompileOptions("int8"))
    try:
        refuse_over_limit(engine.info, measure(engine, package, golden))
    finally:
        engine.close()


def refuse_lost(package: ModelPackage, loss: AccuracyLoss) -> None:
    """Raises Refused, naming both values, where int8 costs more accuracy than it may."""
    if loss.too_much:
        raise Refused(
            f"{package.path} loses {-100 * (loss.miou_change or 0):.2f} points of mean IoU in int8 on"
            f" {loss.frames} validation frames, {100 * MOST_LOST:g} are allowed; serve it as it is, in bf16"
            " or f32, or fit int8 on more frames or with more --tiles."
        )


def accuracy_loss(
    package: ModelPackage, in_8_bits: ModelPackage, samples: Sequence[Sample], held_out: bool
) -> tuple[AccuracyLoss, dict[str, Any]]:
    """IoU of f32 and of int8 with the truth of the same frames; and the manifest's `metrics.validation`.

    held_out: whether the frames gave no calibration tile.
    """
    some = _first(samples, MOST_VALIDATION_PX)
    before, after = (
        _figures(each, some, CompileOptions(precision))
        for each, precision in ((package, "f32"), (in_8_bits, "int8"))
    )
    loss = AccuracyLoss(
        frames=len(some),
        held_out=held_out,
        iou_f32={name: row["iou"] for name, row in before["per_class"].items()},
        iou_int8={name: row["iou"] for name, row in after["per_class"].items()},
        miou_f32=before["miou"],
        miou_int8=after["miou"],
    )
    classes = {name: {"iou": after["per_class"][name]["iou"]} for name in package.classes}
    return loss, {"frames": len(some), "classes": classes, "per_defect": after["per_defect"]}


def _figures(package: ModelPackage, samples: Sequence[Sample], options: CompileOptions) -> dict[str, Any]:
    segmenter = Segmenter(
        package.geometry,
        lambda frame: choose_plan(package, frame, ModelConfig()),
        lambda plan: OpenVinoEngine(package, plan.input, options),
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
