"""Stands in for cuda-bindings where a command runs as on an NVIDIA machine; see fake_gpu.py."""

from __future__ import annotations

import os
from typing import Any

from fake_gpu import FakeCuda

CUDA = FakeCuda(code=int(os.environ.get("FAKE_CUDA_CODE", "0")))


def __getattr__(name: str) -> Any:
    return getattr(CUDA, name)
