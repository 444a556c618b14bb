"""Run in a process of its own, with one release of TensorRT's real bindings on stub libraries.

Prints, as JSON, what the release has of what the project uses, and what our code makes of it.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import tensorrt_bindings as trt

from deploy.build import _builder
from deploy.progress import monitor_of
from inspector.engine import tensorrt_api
from inspector.engine.tensorrt import _runtime
from inspector.engine.tensorrt_api import ERRORS, TensorRt, logger_of
from inspector.errors import InspectionError

VALUES = {
    "NetworkDefinitionCreationFlag": ["STRONGLY_TYPED"],
    "MemoryPoolType": ["WORKSPACE"],
    "ReduceOperation": ["AVG"],
    "LayerType": ["CONVOLUTION", "DECONVOLUTION", "SOFTMAX", "REDUCE"],
    "DataType": ["HALF", "FLOAT", "UINT8"],
    "TensorIOMode": ["INPUT", "OUTPUT"],
}
NOT_PARAMETERS = {"self", "/", "*", "*args", "**kwargs"}


def protocols() -> dict[str, Any]:
    """TensorRT's name of each class -> our Protocol of it, by the first word of its docstring."""
    found = {}
    for value in vars(tensorrt_api).values():
        if inspect.isclass(value) and getattr(value, "_is_protocol", False) and value.__doc__:
            name = re.match(r"\w+", value.__doc__)
            if name and value not in (tensorrt_api.Named, TensorRt):
                found[name[0]] = value
    return found


def parameters(function: Any) -> list[list[str]]:
    """Parameter names of each overload, from the docstring: pybind functions have no signature."""
    lines = [line for line in (function.__doc__ or "").splitlines() if re.search(r"\w\(self: ", line)]
    return [re.findall(r"(?:^|, |\()(\w+): ", line.split(" -> ")[0])[1:] for line in lines]


def main() -> None:
    missing, calls = [], {}
    for name, protocol in protocols().items():
        real = getattr(trt, name, None)
        members = [
            *getattr(protocol, "__annotations__", {}),
            *(m for m in vars(protocol) if not m.startswith("_")),
        ]
        for member in members:
            if not hasattr(real, member):
                missing.append(f"{name}.{member}")
            elif inspect.isfunction(vars(protocol).get(member)):
                ours = [p for p in inspect.signature(vars(protocol)[member]).parameters if p != "self"]
                calls[f"{name}.{member}"] = {"ours": ours, "real": parameters(getattr(real, member))}
    missing += [f"{kind}.{value}" for kind, values in VALUES.items() for value in values
                if not hasattr(getattr(trt, kind), value)]  # fmt: skip
    members = [*TensorRt.__annotations__, *(m for m in vars(TensorRt) if not m.startswith("_"))]
    missing += [name for name in members if not hasattr(trt, name)]
    failures = {}
    for function in (_builder, _runtime):
        try:
            function(trt)  # type: ignore[arg-type]
        except InspectionError as error:
            failures[function.__name__] = f"{type(error).__name__}: {error}"
    logger_of(trt).log(trt.ILogger.Severity.ERROR, "said\nonce")  # type: ignore[arg-type]
    monitor = monitor_of(trt, lambda share, phase: share < 1)  # type: ignore[arg-type]
    monitor.phase_start("all", None, 2)
    steps = [monitor.step_complete("all", 0), monitor.step_complete("all", 1)]
    sources = [*Path("inspector/engine").glob("*.py"), *Path("deploy").glob("*.py")]
    print(
        json.dumps(
            {
                "version": trt.__version__,
                "classes": sorted(protocols()),
                "missing": missing,
                "calls": calls,
                "failures": failures,
                "logged": ERRORS.take(),
                "steps": steps,
                "fp16_flag": hasattr(trt.BuilderFlag, "FP16"),
                "names_gone": [
                    p.name for p in sources if re.search(r"BuilderFlag|EXPLICIT_BATCH", p.read_text())
                ],
            }
        )
    )


if __name__ == "__main__":
    main()
