"""Engines come and go in any order, and the process still hears signals."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from inspector.engine import cpu
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


def test_threads_that_ask_at_once_get_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cache` alone lets two in: one of the two cores goes, and takes the stack for signals with it."""
    made = []

    class SlowCore:
        def __init__(self) -> None:
            made.append(self)
            time.sleep(0.2)  # room for the second thread to ask

    monkeypatch.setattr(cpu.ov, "Core", SlowCore)
    monkeypatch.setattr(cpu, "_core", cache(cpu._core.__wrapped__))
    together = threading.Barrier(2)

    def ask(_: int) -> object:
        together.wait(10)
        return cpu.core()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, range(2))
    assert first is second and len(made) == 1
