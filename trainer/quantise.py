"""int8 for the CPU: the release graph quantised after training by NNCF, on tiles of training frames.

8 bits span the extremes seen over the calibration tiles: their mean, NNCF's default, clips what is
rare, and a defect is rare. The first convolution stays in floating point, for it reads gray values
of up to 255 to find a scratch of 3; so does all that follows the softmax. Where golden tiles then
still differ by more than a certificate allows, more of the layers at full resolution stay.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import openvino as ov

from inspector.config import ModelConfig
from inspector.engine.certificate import LIMITS
from inspector.engine.cpu import openvino_version
from inspector.engine.graph import CompileOptions
from inspector.engine.open import choose_plan
from inspector.engine.openvino import OpenVinoEngine
from inspector.engine.parity import Parity, measure
from inspector.engine.quantised import AccuracyLoss, Calibration, QuantisedRecord, store_quantised
from inspector.errors import CertificateError, CompileError, UsageError
from inspector.package import ONNX, ModelPackage
from trainer.calibration import CalibrationTiles, calibration_tiles
from trainer.dataset import Dataset, Sample
from trainer.evaluate import Segmenter, evaluate

_LOG = logging.getLogger(__name__)

_CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData")
MOST_VALIDATION_FRAMES = 40
"""Frames with masks on which the loss is measured, at most: f32 takes seconds for a large one."""


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
    few: list[tuple[int, ...]] = [(1,), (1, last), (1, 2, last - 2, last - 1, last)]
    levels = [(*range(1, 2 * n + 1), *range(last - 3 * n, last + 1)) for n in range(1, depth)]
    return few + levels


def quantise(package: ModelPackage, calibration: CalibrationTiles) -> Quantised:
    """The fastest int8 graph that stays within a certificate's limits on the golden tiles.

    Raises UsageError where NNCF is not installed, CertificateError when no choice of layers does,
    with the figures of the last one.
    """
    nncf = _nncf()
    with TemporaryDirectory(prefix="quantise-") as name:
        for layers in float_layer_choices(package.manifest.depth):
            path = _write_graph(nncf, package, calibration, layers, Path(name))
            parity = golden_parity(package, path)
            _LOG.info(
                "int8 but for convolution %s: largest difference %.4f, mask equal %.3f %%, %d of %d golden"
                " defects found.", ", ".join(map(str, layers)), parity.max_difference,
                100 * parity.mask_equal, parity.defects - parity.lost, parity.defects,
            )  # fmt: skip
            if within_limits(parity):
                return Quantised(path.read_bytes(), path.with_suffix(".bin").read_bytes(), layers, parity)
    limits = LIMITS["int8"]
    raise CertificateError(
        f"{package.path} does not bear 8 bits: a golden probability differs by {parity.max_difference:.4f}"
        f" (limit {limits.max_difference}), {100 * parity.mask_equal:.3f} % of the mask pixels are equal"
        f" (limit {100 * limits.mask_equal:g}), {parity.lost} golden defects are lost; serve it in bf16 or"
        " f32, or calibrate on more frames."
    )


def compile_int8(package: ModelPackage, dataset: Dataset, tiles: int = 64, seed: int = 0) -> QuantisedRecord:
    """Quantise on training frames, measure the loss on validation frames, and keep the graph; its record.

    Nothing is read from the dataset's test frames. Raises what `quantise` raises, and CompileError
    where the cache cannot be written; an older graph is then still there.
    """
    training, validation = dataset.validation(seed=seed)
    geometry = package.geometry
    calibration = calibration_tiles(training, len(package.classes), geometry, tiles, seed)
    _LOG.info("Calibrating on %d tiles of %d training frames.", len(calibration.tiles), calibration.frames)
    found = quantise(package, calibration)
    fields = {
        "package": package.id,
        "onnx_sha256": package.manifest.files[ONNX],
        "nncf": str(_nncf().__version__),
        "openvino": openvino_version(),
        "calibration": Calibration(
            data_sha256=calibration.sha256,
            tiles=len(calibration.tiles),
            tile=calibration.tiles.shape[1:3],
            frames=calibration.frames,
        ),
        "float_layers": found.float_layers,
        "loss": accuracy_loss(package, found, validation, held_out=validation is not training),
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


def accuracy_loss(
    package: ModelPackage, quantised: Quantised, samples: Sequence[Sample], held_out: bool
) -> AccuracyLoss:
    """IoU of f32 and of int8 with the truth of the same frames.

    held_out: whether the frames gave no calibration tile.
    """
    some = samples[:MOST_VALIDATION_FRAMES]
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


def _write_graph(
    nncf: ModuleType,
    package: ModelPackage,
    calibration: CalibrationTiles,
    layers: Sequence[int],
    folder: Path,
) -> Path:
    """Quantise all convolutions but `layers`; the graph as a file, its weights beside it."""
    model = ov.Core().read_model(package.onnx)
    order = [op for op in model.get_ordered_ops() if op.get_type_name() in _CONVOLUTIONS]
    kept = [order[number - 1].get_friendly_name() for number in layers] + _from_softmax(model)
    tiles = [tile[None] for tile in calibration.tiles]
    ranges = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    with redirect_stdout(sys.stderr):  # NNCF shows its progress where our data goes
        quantised = nncf.quantize(
            model,
            nncf.Dataset(tiles),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(tiles),
            ignored_scope=nncf.IgnoredScope(names=kept),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=ranges
            ),
        )
    path = folder / f"int8-{len(layers)}.xml"
    ov.save_model(quantised, path, compress_to_fp16=False)
    return path


def _from_softmax(model: ov.Model) -> list[str]:
    """Names of the softmax and of all that follows: quantised, they would cut what is certain to 0.7."""
    ahead = [model.output("prob_f32").get_node().input_value(0).get_node()]
    names: set[str] = set()
    while ahead:
        node = ahead.pop()
        if node.get_type_name() != "Result" and node.get_friendly_name() not in names:
            names.add(node.get_friendly_name())
            ahead += [port.get_node() for out in node.outputs() for port in out.get_target_inputs()]
    return sorted(names)


def _nncf() -> ModuleType:
    """NNCF, imported now and not before. Raises UsageError where it is not installed."""
    os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to its makers
    try:
        nncf = importlib.import_module("nncf")
        importlib.import_module("nncf.quantization.range_estimator")
    except ImportError as error:
        raise UsageError(
            f"int8 is made with NNCF, which cannot be imported ({error}); install it with"
            " `pip install 'inspection-appliance[int8]'`."
        ) from error
    # nncf.set_log_level would raise the level of everybody's handlers, and our own warnings were lost.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
