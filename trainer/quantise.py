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

import numpy as np
import torch
from numpy.typing import NDArray

from inspector.engine.certificate import refuse_over_limit
from inspector.engine.graph import CompileOptions
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.parity import Parity, measure
from inspector.engine.quantised import LEAST_GOLDEN_PX, AccuracyLoss, Calibration, Quantisation
from inspector.errors import UsageError
from inspector.package import INT8, Golden, ModelPackage, write_package
from trainer.calibration import CalibrationTiles, calibration_tiles
from trainer.dataset import Dataset, Sample
from trainer.eight_bits import layers_in_8_bits
from trainer.export import VALIDATION_SHARE, probabilities
from trainer.initial import start_from
from trainer.int8_graph import EightBitGraph, int8_onnx
from trainer.int8_loss import accuracy_loss, kept_thresholds, loss_doubts, refuse_lost
from trainer.release import ReleaseGraph
from trainer.seen import SEEN, SeenPictures
from trainer.unet import UNet
from trainer.validate import Tell

_LOG = logging.getLogger(__name__)

_NOT_MEASURED = AccuracyLoss(frames=0, held_out=False, iou_f32={}, iou_int8={}, miou_f32=None, miou_int8=None)


def export_int8(
    package: ModelPackage,
    dataset: Dataset,
    out: Path,
    names: tuple[str, str],
    tiles: int = 64,
    tell: Tell = lambda *_: None,
) -> ModelPackage:
    """Write the int8 package of a package in floating point to `out`.

    names: name and version of the new package. tiles: how many to fit on. tell: called with what is done
    so far. Nothing is read from test frames. An escape target that int8 was not seen to keep is left out,
    and what it loses within its limits is logged as a warning. Raises UsageError when `out` exists, the
    package is one in 8 bits, or its skip maps are added; Refused as `refuse_lost` does, or when OpenVINO
    computes something else from the graph. Nothing is written then.
    """
    if out.exists():
        raise UsageError(f"{out} exists already and packages are never changed; give a new name.")
    graph = _graph(package)  # refuses before any frame is read
    training, validation = _cut(package, dataset)
    cut = calibration_tiles(training, len(package.classes), package.geometry, tiles, package.manifest.seed)
    held_out = validation is not training
    _LOG.info(
        "Fitting 8 bits on %d tiles, cut from %d of %d training frames%s.", len(cut.tiles), cut.frames,
        len(training), "" if held_out else ", all of which also show what it costs",
    )  # fmt: skip
    fitted = _fitted(graph, cut, package.golden().tiles, tell)
    made = Quantisation(source=package.id, calibration=_record(cut), loss=_NOT_MEASURED)
    fields: dict[str, Any] = {"name": names[0], "version": names[1], "files": {}}
    fields["metrics"] = {INT8: made.model_dump(mode="json")}
    with TemporaryDirectory(prefix="int8-") as folder:
        unmeasured = package.manifest.model_copy(update=fields)
        candidate = write_package(Path(folder) / "candidate", unmeasured, *fitted)
        loss, golden, figures = _cost(package, candidate, validation, held_out, tell)
    made = made.model_copy(update={"loss": loss, "golden": golden, "golden_least_px": LEAST_GOLDEN_PX})
    fields["metrics"] = {"validation": figures, INT8: made.model_dump(mode="json")}
    fields["metrics"] |= _seen(package, training, validation)
    fields["thresholds"] = kept_thresholds(package, loss)
    return write_package(out, package.manifest.model_copy(update=fields), *fitted)


def _cut(package: ModelPackage, dataset: Dataset) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """(training, validation), cut by the package's seed and share: of the data that it was trained on, as
    `trainer fit` cut it.

    Packages that an earlier version exported do not say their share; fit's default is taken.
    """
    share, seed = package.manifest.metrics.get(VALIDATION_SHARE), package.manifest.seed
    if isinstance(share, float) and 0 < share < 1:
        return dataset.validation(share, seed)
    return dataset.validation(seed=seed)


def _cost(
    package: ModelPackage, candidate: ModelPackage, validation: Sequence[Sample], held_out: bool, tell: Tell
) -> tuple[AccuracyLoss, Parity, dict[str, Any]]:
    """What the candidate loses on these frames and on the golden tiles, and its figures on the frames.

    Raises Refused where that is more than int8 may cost, and logs a warning of what it loses within that.
    """
    golden = golden_parity(candidate, package.golden())
    loss, figures = accuracy_loss(package, candidate, validation, held_out, tell)
    refuse_lost(package, loss, golden)
    for words in loss_doubts(package, loss):
        _LOG.warning("%s", words)
    return loss, golden, figures


def _seen(package: ModelPackage, training: Sequence[Sample], validation: Sequence[Sample]) -> dict[str, Any]:
    """What the package has seen and what 8 bits were fitted to and measured on; {} where it does not say."""
    before = SeenPictures.read(package.manifest.metrics.get(SEEN))
    if before is None:
        return {}
    fitted, measured = ((sample.image() for sample in samples) for samples in (training, validation))
    return {SEEN: SeenPictures.of(fitted, measured).joined(before).kept()}


def _fitted(
    graph: ReleaseGraph, cut: CalibrationTiles, golden: NDArray[np.uint8], tell: Tell
) -> tuple[bytes, Golden]:
    """The graph in 8 bits as an ONNX file, and its own golden probabilities."""
    layers = layers_in_8_bits(graph, torch.from_numpy(cut.tiles), tell=tell)
    in_8_bits = EightBitGraph(layers, graph.net.config).eval()
    return int8_onnx(in_8_bits), Golden(golden, probabilities(in_8_bits, golden))


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


def golden_parity(package: ModelPackage, trained: Golden) -> Parity:
    """What the engine makes of the golden tiles, against the probabilities of the network in floating point,
    whose defects count from LEAST_GOLDEN_PX on.

    Raises CertificateError unless OpenVINO computes the int8 package's own golden probabilities. Not ONNX
    Runtime, which the other packages are checked with: it rounds otherwise between layers.
    """
    own = package.golden()
    height, width = own.tiles.shape[1:3]
    engine = OpenVinoEngine(package, (height, width), CompileOptions("int8"))
    try:
        refuse_over_limit(engine.info, measure(engine, package, own))
        return measure(engine, package, trained, LEAST_GOLDEN_PX)
    finally:
        engine.close()
