"""The processor of this machine: its name, and what it computes in."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path

import openvino as ov

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL_CACHE_BYTES = 16 << 20
# Dot products of 8-bit integers, as the kernel names them: Intel and AMD, and ARM.
_INT8_FLAGS = {"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "i8mm", "asimddp"}
_ONE_CORE = threading.Lock()  # two threads that ask first at the same time would make two


def openvino_version() -> str:
    """Version of the installed OpenVINO, without its build tag."""
    return str(ov.__version__).split("-")[0]


def core() -> ov.Core:
    """OpenVINO of this process, made at the first call and kept until its end; for any thread.

    One for all: its CPU plugin gives the thread that loads it another stack for signals. Of two
    cores that go in the order in which they came, the second puts the first one's stack back, whose
    memory is gone, and the next signal ends the process without a word (OpenVINO 2026.4.1).
    """
    with _ONE_CORE:
        return _core()


@cache
def _core() -> ov.Core:
    return ov.Core()


def cpu_name() -> str:
    """The processor as OpenVINO names it."""
    return str(core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def cpu_has_bf16() -> bool:
    """Whether the processor computes bf16 itself (AVX-512 BF16 or AMX)."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def cpu_has_vnni() -> bool:
    """Whether the processor multiplies 8-bit integers itself (VNNI, AMX, or ARM's dot products).

    Without that OpenVINO runs int8 in pairs of 16 bits: at most a little faster than f32, and
    sums may saturate, which the certificate finds out. False where the system does not tell.
    """
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    first = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return bool(_INT8_FLAGS & set(first.split()))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def last_cache_bytes() -> int:
    """Size of the largest cache that core 0 reads through; 16 MiB where the system does not tell."""
    sizes = []
    for file in _CACHES.glob("index*/size"):
        text = file.read_text(encoding="ascii", errors="replace").strip()
        if text[:-1].isdigit() and text[-1:] in ("K", "M"):
            sizes.append(int(text[:-1]) << (10 if text[-1] == "K" else 20))
    return max(sizes, default=_USUAL_CACHE_BYTES)
