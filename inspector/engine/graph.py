"""A release graph compiled by OpenVINO for tiles of one size."""

from __future__ import annotations

import io
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import openvino as ov
from openvino import opset13

from inspector.engine.blobs import blob_path, read_blob, write_blob
from inspector.engine.cpu import core, cpu_name
from inspector.errors import EngineError

_LOG = logging.getLogger(__name__)

# In the order of coarseness; OpenVINO's element types on the left.
_PRECISIONS = {"f32": "f32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_COARSENESS = ("f32", "bf16", "fp16", "int8")
_CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData")  # by the names of OpenVINO's files
_CHECK = "row sums"  # names the second output in the cache's key


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How a graph is compiled."""

    precision: str = "f32"
    """f32, bf16 or int8. int8 is what the graph of an int8 package computes in; its softmax runs in f32."""
    threads: int = 0
    """Threads that compute; 0 = as many as OpenVINO finds best."""
    cache: Path | None = None
    """Folder for compiled models, or None to compile each time."""
    hint: Literal["latency", "throughput"] = "latency"
    """One tile at a time on all threads, or several at once on a share of the threads each."""
    at_once: int = 1
    """For throughput: the most tiles that may be computed at once."""
    exact: int = 0
    """So many convolutions, from the first on, run in f32 whatever the precision."""

    def properties(self) -> dict[str, Any]:
        """The same in OpenVINO's words."""
        rest = "f32" if self.precision == "int8" else self.precision
        found: dict[str, Any] = {"INFERENCE_PRECISION_HINT": rest, "PERFORMANCE_HINT": self.hint.upper()}
        if self.hint == "latency":
            found["NUM_STREAMS"] = 1
        else:
            # OpenVINO chooses how many streams suit network and processor, up to this many.
            found["PERFORMANCE_HINT_NUM_REQUESTS"] = self.at_once
        if self.threads:
            found["INFERENCE_NUM_THREADS"] = self.threads
        return found


def compile_graph(
    graph: Path, tile: tuple[int, int], options: CompileOptions, output: str = "prob"
) -> ov.CompiledModel:
    """The graph for one tile of (height, width), with one output kept; from options.cache if it is there.

    output: `prob` for uint8 probabilities and, as a second output, the softmax summed along each row
    as a check; `prob_f32` for the softmax alone. Raises EngineError when OpenVINO
    cannot read, reshape or compile it.
    """
    properties = options.properties()
    try:
        if options.cache is None:
            return _compiled(graph, tile, output, options)
        key = {"openvino": ov.__version__, "cpu": cpu_name(), "tile": tile, "output": output, "check": _CHECK}
        key |= properties
        if options.exact:
            key["exact"] = options.exact
        kept = blob_path(options.cache, graph, key)
        compiled = _imported(kept, properties)
        if compiled is None:
            compiled = _compiled(graph, tile, output, options)
            model = io.BytesIO()
            compiled.export_model(model)
            write_blob(kept, model.getvalue())
        return compiled
    except (RuntimeError, OSError) as error:
        raise EngineError(
            f"OpenVINO cannot compile {graph} for a tile of {tile}: {first_line(error)}"
        ) from error


def executed_layers(compiled: ov.CompiledModel) -> dict[str, int]:
    """How many convolutions of the compiled model really run in each precision; f32, bf16, fp16, int8.

    Raises EngineError when OpenVINO reports a precision that is not known here, or none.
    """
    found: dict[str, int] = {}
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        if "layerType" in facts and str(facts["layerType"].astype(str)) in ("Convolution", "Deconvolution"):
            name = str(facts["runtimePrecision"].astype(str))
            known = _PRECISIONS.get(name)
            if known is None:
                raise EngineError(f"OpenVINO reports a convolution in {name}, which is not known here.")
            found[known] = found.get(known, 0) + 1
    if not found:
        raise EngineError("OpenVINO does not say in which precision its convolutions run.")
    return found


def executed_precision(compiled: ov.CompiledModel) -> str:
    """f32, bf16, fp16 or int8: the coarsest in which a convolution of the compiled model really runs."""
    return max(executed_layers(compiled), key=_COARSENESS.index)


def first_line(error: Exception) -> str:
    """OpenVINO's messages are long and have source paths; the last non-empty line says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _compiled(graph: Path, tile: tuple[int, int], output: str, options: CompileOptions) -> ov.CompiledModel:
    model = core().read_model(graph)
    shape = model.input("image").partial_shape
    model.reshape({"image": ov.PartialShape([1, tile[0], tile[1], shape[3].get_length()])})
    softmax = model.output("prob_f32").get_node().input_value(0)
    for result in model.get_results():
        if output not in result.output(0).get_names():
            model.remove_result(result)
    if output == "prob":
        model.add_outputs([_row_sums(softmax)])
    if options.exact:
        model = _with_exact(model, options.exact)
    return core().compile_model(model, "CPU", options.properties())


def _with_exact(model: ov.Model, count: int) -> ov.Model:
    """The same model, its first `count` convolutions marked to keep f32.

    The mark is a node's attribute that OpenVINO's Python cannot set, but its file format carries.
    """
    with tempfile.TemporaryDirectory(prefix="openvino-") as folder:
        xml, weights = Path(folder) / "model.xml", Path(folder) / "model.bin"
        ov.serialize(model, xml, weights)
        tree = ElementTree.parse(xml)
        layers = [layer for layer in tree.iter("layer") if layer.get("type") in _CONVOLUTIONS]
        for layer in layers[:count]:
            facts = layer.find("rt_info")
            facts = ElementTree.SubElement(layer, "rt_info") if facts is None else facts
            ElementTree.SubElement(facts, "attribute", {"name": "precise", "version": "0"})
        return core().read_model(ElementTree.tostring(tree.getroot()), weights.read_bytes())


def _imported(kept: Path, properties: dict[str, Any]) -> ov.CompiledModel | None:
    """What was kept, or None: then it is compiled anew, and kept again."""
    model = read_blob(kept)
    if model is None:
        return None
    try:
        return core().import_model(io.BytesIO(model), "CPU", properties)
    except RuntimeError as error:
        _LOG.warning("OpenVINO does not take %s back (%s); it is compiled again.", kept, first_line(error))
        return None


def _row_sums(softmax: ov.Output) -> ov.Output:
    """(1, K + 1, h): each class summed along each row, where one NaN anywhere makes its row NaN.

    A cast to uint8 turns NaN into 0, which would pass as good. To sum all pixels takes 0.6 to 1.5 ms
    of a tile's 200 (bf16, 788x788, base 16), less than OpenVINO takes to cut a sample out of them.
    """
    return opset13.reduce_sum(softmax, np.array([3]), keep_dims=False).output(0)
