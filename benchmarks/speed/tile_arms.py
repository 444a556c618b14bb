"""Other runtimes and tilers: ONNX Runtime with tiles of 572, model_api's tiler, slices as SAHI cuts."""

from __future__ import annotations

import importlib
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino as ov
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from benchmarks.speed.arms import Arm, ClassIds, Task, timed_arm
from benchmarks.speed.padded import padded_openvino
from inspector.defects import mask_of
from inspector.engine.graph import executed_precision
from inspector.tiling import cut_tile, paste_tile, plan_tiles

ORT_TILE = 572
SLICE, SLICE_OVERLAP = 512, 0.2
MODEL_API: dict[str, tuple[int, dict[str, Any], str]] = {
    "model_api": (
        400,
        {},
        "at its defaults (tiles of 400, overlap 0.5, and the whole picture shrunk to one tile)",
    ),
    "model_api, wider tiles": (
        SLICE,
        {"tile_size": SLICE, "tiles_overlap": SLICE_OVERLAP, "tile_with_full_img": False},
        f"with tiles of {SLICE}, overlap {SLICE_OVERLAP}, without the shrunk picture",
    ),
}
"""Arm -> side of its tiles, settings of the tiler, and these in words."""


def onnx_runtime(task: Task) -> list[Arm]:
    """The line's own graph and geometry in float32, its best form there; tiles lie ready, cut before."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    graph = float32_twin(task.package.onnx).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
    geometry = task.package.geometry
    out = geometry.output(ORT_TILE)
    plan = plan_tiles(task.frame.shape[:2], (out, out), geometry)
    tiles = [cut_tile(task.frame, plan, tile)[None, ..., None] for tile in plan.tiles]

    def run() -> list[NDArray[np.uint8]]:
        return [session.run(["prob"], {"image": tile})[0][0] for tile in tiles]

    def classes(found: list[NDArray[np.uint8]]) -> ClassIds:
        probs = np.zeros((*plan.frame, found[0].shape[2]), np.uint8)
        for tile, one in zip(plan.tiles, found, strict=True):
            paste_tile(one, plan, tile, probs)
        return mask_of(probs, task.package.thresholds)

    how = (
        f"bare session.run on {len(tiles)} tiles of {ORT_TILE} that lie ready, float32 (the release graph is"
        " half precision, which it would convert at each layer), all graph optimisations"
    )
    return [timed_arm(("ONNX Runtime 572", "ONNX Runtime", onnxruntime.__version__, how), run, classes)]


def float32_twin(path: Path) -> onnx.ModelProto:
    """The release graph with its half precision body in float32, of the same values."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT16:
                wide = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(wide, attribute.t.name))
    del model.graph.value_info[:]  # says half precision of every map; it is inferred again
    return model


def model_api(task: Task) -> list[Arm]:
    """SegmentationModel behind SemanticSegmentationTiler, as its users write it.

    The padded network: model_api stretches an output to the size of its tile, so that a network
    whose output is smaller than its input would be drawn in the wrong place. Raises ImportError.
    """
    models, tilers = (importlib.import_module(f"model_api.{name}") for name in ("models", "tilers"))
    mean, std = task.normalisation
    picture = task.frame[..., None]
    arms = []
    for name, (side, settings, words) in MODEL_API.items():
        path = padded_openvino(task.net, 3, side, task.folder / f"model_api_{side}.xml")
        configuration = {
            "labels": ["good", *task.package.classes],
            "mean_values": [mean] * 3,
            "scale_values": [std] * 3,
            "intensity_repeat_channels": True,  # gray pictures; it knows networks of three planes only
        }
        model = models.SegmentationModel.create_model(
            str(path), "Segmentation", configuration, device="CPU", nthreads=task.threads
        )
        tiler = tilers.SemanticSegmentationTiler(model, settings)
        runs = executed_precision(model.inference_adapter.compiled_model)
        how = f"SemanticSegmentationTiler {words}, padded network, OpenVINO in {runs} underneath"
        labels = (name, "model_api", version("openvino-model-api"), how)
        arms.append(timed_arm(labels, partial(tiler, picture), lambda found: found.resultImage))
    return arms


def sahi_slices(task: Task) -> list[Arm]:
    """Slices where SAHI cuts them, one by one, their probabilities averaged. Raises ImportError."""
    boxes_of = importlib.import_module("sahi.slicing").get_slice_bboxes
    height, width = task.frame.shape[:2]
    boxes = boxes_of(height, width, SLICE, SLICE, False, SLICE_OVERLAP, SLICE_OVERLAP)
    compiled = _sliced_model(task)
    request = compiled.create_infer_request()

    def run() -> NDArray[np.float32]:
        total = np.zeros((len(task.package.classes) + 1, height, width), np.float32)
        votes = np.zeros((height, width), np.float32)
        for x0, y0, x1, y1 in boxes:
            piece = np.ascontiguousarray(task.frame[y0:y1, x0:x1])[None, ..., None]
            total[:, y0:y1, x0:x1] += request.infer([piece])[0][0]
            votes[y0:y1, x0:x1] += 1
        return total / votes

    how = (
        f"{len(boxes)} slices of {SLICE} with overlap {SLICE_OVERLAP} from sahi's get_slice_bboxes, padded"
        f" network in OpenVINO {executed_precision(compiled)}, one slice at a time, merged on the whole"
        " frame; without the polygons and the second prediction that sahi adds"
    )
    labels = ("SAHI slices", "SAHI", version("sahi"), how)
    return [timed_arm(labels, run, lambda probs: probs.argmax(0).astype(np.uint8))]


def _sliced_model(task: Task) -> Any:
    """The padded network for one slice of uint8 (1, 512, 512, 1), normalised inside."""
    core = ov.Core()
    model = core.read_model(padded_openvino(task.net, 1, SLICE, task.folder / "slices.xml"))
    steps = ov.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    mean, std = task.normalisation
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(mean).scale(std)
    properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": task.threads}
    return core.compile_model(steps.build(), "CPU", properties)
