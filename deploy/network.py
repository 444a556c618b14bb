"""A package's graph as a TensorRT network: parsed, fixed to one tile, and audited before it is built.

TensorRT computes in the types that the graph has (strong typing), so the audit of the parsed network
says what the engine will do. Others asked for fp16, got float32 and an exit code of 0.
"""

from __future__ import annotations

from collections import Counter

from inspector.engine.compiled import CHECK, IMAGE, IoTensor, contract
from inspector.engine.tensorrt_api import ERRORS, Builder, Network, TensorRt, logger_of
from inspector.errors import CompileError, PackageError, Refused
from inspector.package import ModelPackage

_SOFTMAX = "prob_f32"
_CLASSES_AND_PIXELS = 0b1110
HALF_LAYERS, FLOAT_LAYERS = ("CONVOLUTION", "DECONVOLUTION"), ("SOFTMAX", "REDUCE")
"""What has to compute in fp16, and what has to stay in float32."""


def parsed(trt: TensorRt, builder: Builder, package: ModelPackage) -> Network:
    """The package's graph, strongly typed. Raises CompileError with the parser's words."""
    ERRORS.take()
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger_of(trt))
    if not parser.parse(package.onnx.read_bytes()):
        words = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise CompileError(
            f"TensorRT does not read {package.onnx}: {words or ERRORS.take()}; export the package again."
        )
    return network


def fix_tile(
    trt: TensorRt, network: Network, package: ModelPackage, tile: tuple[int, int]
) -> tuple[IoTensor, ...]:
    """Fix height and width, and give out a check of every pixel in place of the whole softmax.

    The softmax is many times the size of what is served, and copying it would cost more than the
    network. Its mean over a tile is one number, and not finite as soon as one value is not.
    Returns the network's tensors by name. Raises PackageError unless they are those of a release
    graph, ShapeMismatch for an illegal tile.
    """
    wanted = contract(package, tile)
    outputs = {one.name: one for one in (network.get_output(i) for i in range(network.num_outputs))}
    if network.num_inputs != 1 or network.get_input(0).name != IMAGE or _SOFTMAX not in outputs:
        raise PackageError(
            f"The graph of {package.path} has no input {IMAGE} or no output {_SOFTMAX}; export it again."
        )
    network.get_input(0).shape = (-1, *tile, package.manifest.channels)
    mean = network.add_reduce(outputs[_SOFTMAX], trt.ReduceOperation.AVG, _CLASSES_AND_PIXELS, False)
    if mean is None:
        raise CompileError(f"TensorRT does not add the check of the softmax: {ERRORS.take()}.")
    network.unmark_output(outputs[_SOFTMAX])
    check = mean.get_output(0)
    check.name = CHECK
    network.mark_output(check)
    found = _tensors(network)
    if found != wanted:
        raise PackageError(
            f"The graph of {package.path} gives {_words(found)} instead of {_words(wanted)}; export it again."
        )
    return found


def audit(network: Network) -> dict[str, dict[str, int]]:
    """Layer type -> output types -> how many.

    Raises Refused unless there are convolutions and every one gives fp16, and softmax and check
    give float32.
    """
    layers: dict[str, Counter[str]] = {}
    for layer in (network.get_layer(i) for i in range(network.num_layers)):
        types = "+".join(layer.get_output(j).dtype.name for j in range(layer.num_outputs))
        layers.setdefault(layer.type.name, Counter())[types] += 1
    for kinds, wanted in ((HALF_LAYERS, "HALF"), (FLOAT_LAYERS, "FLOAT")):
        for kind in kinds:
            wrong = {types: count for types, count in layers.get(kind, {}).items() if types != wanted}
            if wrong:
                types, count = next(iter(wrong.items()))
                raise Refused(
                    f"{count} {kind} layer(s) of the parsed graph compute in {types} instead of {wanted}, so"
                    " this engine would not be fp16; export the package again with `trainer export`."
                )
    if "CONVOLUTION" not in layers or "SOFTMAX" not in layers:
        raise Refused(
            f"The parsed graph has only {', '.join(sorted(layers))} and no convolution or no softmax;"
            " export the package again with `trainer export`."
        )
    return {kind: dict(counts) for kind, counts in sorted(layers.items())}


def _tensors(network: Network) -> tuple[IoTensor, ...]:
    found = [("INPUT", network.get_input(i)) for i in range(network.num_inputs)]
    found += [("OUTPUT", network.get_output(i)) for i in range(network.num_outputs)]
    tensors = [
        IoTensor(name=one.name, mode=mode, dtype=one.dtype.name, shape=tuple(one.shape))
        for mode, one in found
    ]
    return tuple(sorted(tensors, key=lambda one: one.name))


def _words(tensors: tuple[IoTensor, ...]) -> str:
    return ", ".join(f"{one.name} {one.dtype} {list(one.shape)}" for one in tensors)
