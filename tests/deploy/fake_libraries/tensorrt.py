"""Stands in for TensorRT: the builder is TensorRT-RTX's, the runtime computes the package's own graph.

FAKE_PACKAGE: the package whose graph runs. Without a GPU a Runtime ends the process by SIGSEGV, as
the real one does. FAKE_BUILDER=die: the builder ends the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_rtx
from cuda.bindings.runtime import CUDA
from fake_gpu import FakeTensorRt

__version__ = "11.4.0.106"


class _OnnxRuntime(FakeTensorRt):
    def __init__(self) -> None:
        import onnxruntime

        super().__init__(CUDA, __version__)
        self.package = Path(os.environ["FAKE_PACKAGE"])
        onnxruntime.set_default_logger_severity(3)
        self.session = onnxruntime.InferenceSession(
            self.package / "model.onnx", providers=["CPUExecutionProvider"]
        )
        self.network = self._run

    def _run(self, tile: Any) -> tuple[Any, float]:
        prob, softmax = self.session.run(["prob", "prob_f32"], {"image": tile[None]})
        return prob[0], float(np.mean(softmax))

    def facts(self, plan: bytes) -> Any:
        """What a real plan holds, from the record beside it."""
        manifest = json.loads((self.package / "manifest.json").read_text())
        for path in (Path(os.environ["INSPECTION_CACHE"]) / "engines").glob("*/*.json"):
            record = json.loads(path.read_text())
            if record["plan_sha256"] == hashlib.sha256(plan).hexdigest():
                return {
                    "tile": record["tile"], "channels": manifest["channels"], "halo": manifest["halo"],
                    "classes": len(manifest["classes"]), "batch": list(record["batch"].values()),
                }  # fmt: skip
        raise ValueError("no record of this plan")


def Runtime(logger: Any) -> Any:
    if CUDA.code:
        os.kill(os.getpid(), signal.SIGSEGV)
    return _OnnxRuntime().Runtime(logger)


def Builder(logger: Any) -> Any:
    if os.environ.get("FAKE_BUILDER") == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    return tensorrt_rtx.Builder(logger)


def __getattr__(name: str) -> Any:
    return getattr(tensorrt_rtx, name)
