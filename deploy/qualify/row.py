"""One engine on one network and frame: its trial, its speeds, and its answer beside the reference's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.qualify.candidates import Candidate
from deploy.qualify.sample import package_flop_per_px
from deploy.qualify.scope import Scope, Subject
from deploy.qualify.trial import Trial
from deploy.qualify.verdict import row_doubts
from inspector.defects import mask_of
from inspector.engine.certificate import LIMITS
from inspector.package import ModelPackage
from inspector.types import ProbMap

Figures = dict[str, Any]

NEEDS_INT8 = (
    "is in floating point; give an int8 package beside it, `--model PACKAGE --model INT8`, made by"
    " `trainer export PACKAGE --int8 DATA --out INT8`"
)
_PATIENCE_S = 3600.0
"""How long a trial may take beyond the time that it measures: compiling, opening, one slow frame."""


@dataclass(frozen=True, slots=True)
class Group:
    """One network on one frame, which each engine computes in turn."""

    subject: Subject
    frame: tuple[int, int]
    folder: Path
    """Where answers lie while others are held against them."""

    @property
    def reference(self) -> Path:
        """The answer of the first engine in float32, once there is one."""
        return self.folder / f"reference-{self.subject.package.id[:16]}-{self.frame[0]}x{self.frame[1]}.npy"

    @property
    def answer(self) -> Path:
        """Where a trial puts its answer."""
        return self.folder / "reference-next.npy"

    def reference_answer(self) -> NDArray[np.uint8] | None:
        """None where there is none, or a power cut left it damaged."""
        try:
            found: NDArray[np.uint8] = np.load(self.reference)
        except (OSError, ValueError, EOFError):
            return None
        return found


def run_trial(trial: Trial) -> Figures:
    """The trial's outcome, from a process of its own; `failed` when that ends without a word."""
    command = [sys.executable, "-m", "deploy.qualify.trial", json.dumps(asdict(trial))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=trial.seconds + _PATIENCE_S)
    except subprocess.TimeoutExpired:
        return {"outcome": "failed", "words": f"no answer within {trial.seconds + _PATIENCE_S:.0f} s"}
    lines = done.stdout.strip().splitlines()
    try:
        found: Figures = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return {"outcome": "failed", "words": f"the process ended with {done.returncode}: {last}"}
    return found


def row_of(group: Group, candidate: Candidate, scope: Scope) -> Figures:
    """What one engine does; the first that ran in float32 is what the others are held against."""
    subject, package = group.subject, group.subject.runs(candidate)
    network = {"network": subject.name, "base": subject.package.manifest.base,
               "depth": subject.package.manifest.depth, "frame": group.frame}  # fmt: skip
    engine = {"engine_name": candidate.name, "precision": candidate.precision, "on_gpu": candidate.on_gpu}
    if package is None:
        words = f"{subject.name} {NEEDS_INT8}"
        return {**network, **engine, "package": None, "outcome": "not run", "words": words}
    path = str(package.path)
    trial = Trial(candidate, path, group.frame, scope.seconds, scope.memory_mb, str(group.answer))
    row = {**network, **engine, "package": package.id, **run_trial(trial)}
    if row["outcome"] == "ran":
        row |= speeds(row, package)
        row |= _held(group, candidate, package)
    elif "words" in row:
        row["words"] = row["words"].replace(path, subject.name)
    group.answer.unlink(missing_ok=True)
    return row


def speeds(row: Figures, package: ModelPackage) -> Figures:
    """What follows from the times of a row that ran, and why it is not to be trusted."""
    mpx_per_s = row["frame"][0] * row["frame"][1] / 1e6 / row["frame_s"]
    useful = 1e6 * mpx_per_s * package_flop_per_px(package)
    product = row["product"].get("flop_per_s")
    found = {"mpx_per_s": mpx_per_s, "useful_flop_per_s": useful,
             "share": useful / product if product else None,
             "end_to_end": row["engine_only_s"] / row["frame_s"]}  # fmt: skip
    return {**found, "doubts": row_doubts({**row, **found})}


def _held(group: Group, candidate: Candidate, package: ModelPackage) -> Figures:
    """`parity` with the reference, None without one; `reference`: whether this answer has become it."""
    theirs = group.reference_answer()
    if theirs is not None:
        mine: NDArray[np.uint8] = np.load(group.answer)
        return {"parity": parity(mine, theirs, package, candidate), "reference": False}
    if candidate.precision != "f32":
        return {"parity": None, "reference": False}
    group.answer.replace(group.reference)
    return {"parity": None, "reference": True}


def parity(mine: ProbMap, theirs: ProbMap, package: ModelPackage, candidate: Candidate) -> Figures:
    """The engine's frame against the reference's, under the limits of its precision.

    int8 is only told: it is another network, which its own certificate and the package's measurement
    on frames with masks vouch for.
    """
    difference = np.abs(np.subtract(mine, theirs, dtype=np.int16))
    changed = int(np.count_nonzero(mask_of(mine, package.thresholds) != mask_of(theirs, package.thresholds)))
    pixels, limits = mine.shape[0] * mine.shape[1], LIMITS[candidate.precision]
    # Both were rounded to levels, which may part two equal values by one.
    within = int(difference.max()) <= 255 * limits.max_difference + 1
    holds = within and 1 - changed / pixels >= limits.mask_equal
    judged = "told" if candidate.precision == "int8" else "holds" if holds else "FALLS SHORT"
    return {"levels": int(difference.max()), "mean_levels": float(difference.mean()), "changed_px": changed,
            "pixels": pixels, "verdict": judged}  # fmt: skip
