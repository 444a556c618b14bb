"""Engines come and go in any order, and the process still hears signals."""

from __future__ import annotations

import subprocess
import sys

from inspector.package import ModelPackage

SWAP = """
import gc, os, signal, sys
from pathlib import Path
from inspector.engine.openvino import CompileOptions, compile_graph

graph = Path(sys.argv[1])
first = compile_graph(graph, (60, 60), CompileOptions("f32"))
second = compile_graph(graph, (68, 68), CompileOptions("f32"))
del first
gc.collect()
del second
gc.collect()
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
os.kill(os.getpid(), signal.SIGTERM)
print("heard" if heard else "not heard")
"""


def test_a_signal_after_a_swap_of_engines_is_heard(tiny_package: ModelPackage) -> None:
    said = subprocess.run(
        [sys.executable, "-c", SWAP, str(tiny_package.onnx)], capture_output=True, text=True, timeout=120
    )
    assert (said.returncode, said.stdout.strip()) == (0, "heard"), said.stderr
