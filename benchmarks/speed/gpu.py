"""The same on an NVIDIA GPU, where there is one: every engine that `python -m deploy.qualify` knows there."""

from __future__ import annotations

from pathlib import Path

from benchmarks.networks import seeing_package
from benchmarks.speed.line import BASE, Scope, megapixels
from benchmarks.speed.record import Row
from deploy.qualify.candidates import Candidate, candidates, this_machine
from deploy.qualify.sample import package_flop_per_px
from deploy.qualify.session import run_trial
from deploy.qualify.trial import Trial
from inspector.package import ModelPackage

DEPTH, FRAME = 4, "1080p"
SECONDS, RATE_SECONDS, MEMORY_MB = 20.0, 5.0, 4096


def measure_gpu(scope: Scope, folder: Path) -> Row:
    """Speed and useful rate of each engine on the GPU, each in a process of its own; no bar is set."""
    machine = this_machine()
    row: Row = {"base": BASE, "depth": DEPTH, "bars": {}, "held": {}, "holds": None}
    if machine.no_gpu is not None:
        return {**row, "not_run": {"GPU": machine.no_gpu}}
    package = seeing_package(folder / "package", BASE, DEPTH)
    size = scope.sizes[FRAME]
    engines: dict[str, Row] = {}
    lacking: dict[str, str] = {}
    for candidate in (one for one in candidates(machine) if one.on_gpu):
        why = machine.lacks(candidate)
        if why is None:
            engines[candidate.name] = _speed(candidate, package, size)
        else:
            lacking[candidate.name] = why
    return {**row, "frame": size, "seconds": SECONDS, "engines": engines, "not_run": lacking}


def _speed(candidate: Candidate, package: ModelPackage, size: tuple[int, int]) -> Row:
    """What the trial found, with megapixels a second and the share of the GPU's own matrix product."""
    trial = Trial(candidate, str(package.path), size, SECONDS, MEMORY_MB)
    found = run_trial(trial)
    if found["outcome"] != "ran":
        return found
    found["mpx_per_s"] = megapixels(size) / found["frame_s"]
    rate = run_trial(Trial(candidate, "", (0, 0), RATE_SECONDS, MEMORY_MB, kind="rate"))
    if rate["outcome"] == "ran":
        useful = 1e6 * found["mpx_per_s"] * package_flop_per_px(package)
        found["useful"] = useful / rate["flop_per_s"]
    return found
