"""The engines on an NVIDIA GPU, where there is one, on the paper's network: base 64, depth 5, frames of 4K.

Measured by the trials of `python -m deploy.qualify`, each in a process of its own; float32 on the same GPU
is what masks are held against. The bars are those of torch in half precision.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.networks import seeing_package
from benchmarks.speed import bars
from benchmarks.speed.line import Scope
from benchmarks.speed.record import Row
from deploy.qualify.candidates import candidates, this_machine
from deploy.qualify.row import Group, row_of
from deploy.qualify.scope import Scope as TrialScope
from deploy.qualify.scope import Subject

GPU_BASE, GPU_DEPTH, FRAME = 64, 5, (2160, 3840)
SECONDS, MEMORY_MB = 20.0, 4096


def measure_gpu(_scope: Scope, folder: Path) -> Row:
    """Speed, share of the matrix product, hidden copies and masks of each engine on the GPU."""
    machine = this_machine()
    row: Row = {"base": GPU_BASE, "depth": GPU_DEPTH, "bars": bars.GPU, "held": {}, "holds": None}
    if machine.no_gpu is not None:
        return {**row, "not_run": {"GPU": machine.no_gpu}}
    on_gpu = [one for one in candidates(machine) if one.on_gpu]
    lacking = {one.name: why for one in on_gpu if (why := machine.lacks(one)) is not None}
    able = [one for one in on_gpu if one.name not in lacking]
    scope = TrialScope((FRAME,), SECONDS, 0.0, MEMORY_MB)
    package = seeing_package(folder / "package", GPU_BASE, GPU_DEPTH)
    group = Group(Subject(package.manifest.name, package), FRAME, folder)
    engines = {one.name: row_of(group, one, scope) for one in able}
    group.reference.unlink(missing_ok=True)
    rates = {name: one["product"].get("flop_per_s") for name, one in engines.items() if "product" in one}
    held = held_bars(engines.get(bars.GPU_ENGINE))
    holds = all(held.values()) if held else None
    return {**row, "frame": FRAME, "seconds": SECONDS, "engines": engines, "rates": rates,
            "not_run": lacking, "held": held, "holds": holds}  # fmt: skip


def held_bars(one: Row | None) -> dict[str, bool]:
    """Which of the bars hold for this engine; empty when it did not run. One that failed holds none."""
    if one is None:
        return {}
    if one["outcome"] != "ran":
        return {name: False for name in bars.GPU}
    parity = one["parity"]
    equal = 1 - parity["changed_px"] / parity["pixels"] if parity else 0.0
    values = {"useful": one["share"] or 0.0, "efficiency": one["end_to_end"], "masks": equal}
    return {name: values[name] >= least for name, least in bars.GPU.items()}
