"""One measurement in a process of its own: `python -m deploy.qualify.trial '{...}'` prints one JSON object.

A process each, so that memory is this engine's alone and a fault costs one figure.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from deploy.apart import compile_apart
from deploy.compile import Request
from deploy.qualify.candidates import Candidate
from deploy.qualify.rate import Product, cpu_product, gpu_product
from deploy.qualify.sample import frame_of
from deploy.qualify.soak import soak
from inspector.durable import durable_file
from inspector.engine.graph import first_line
from inspector.engine.open import choose_plan, open_engine
from inspector.engine.protocol import Engine
from inspector.engine.rivals import Rivals
from inspector.engine.segment import segment
from inspector.errors import (
    CertificateError,
    CompiledEngineError,
    EngineNotCompiled,
    InspectionError,
    UsageError,
)
from inspector.package import load_package
from inspector.tiling import TilePlan
from inspector.types import Image, ProbMap


@dataclass(frozen=True, slots=True)
class Trial:
    """What to measure."""

    candidate: Candidate
    package: str
    frame: tuple[int, int]
    seconds: float
    """How long frames are timed, at least one; of a soak, its whole length."""
    memory_mb: int
    keep: str | None = None
    """File that gets the frame's probabilities, to hold engines against each other."""
    kind: str = "speed"
    """speed or soak."""


def measured(trial: Trial) -> dict[str, Any]:
    """The figures. Raises what opening and running the engine raises."""
    package = load_package(Path(trial.package))
    settings = trial.candidate.settings(trial.memory_mb)
    if trial.candidate.engine == "tensorrt":
        compile_apart(Request(package.path, frame=trial.frame), lambda _share, _phase: None)
    began, used = time.perf_counter(), _gpu_bytes(trial.candidate)
    plan = choose_plan(package, trial.frame, settings)
    engine = open_engine(package, plan, settings)
    opened = time.perf_counter() - began
    work = Work(engine, plan, frame_of(package, trial.frame))

    def taken() -> dict[str, int]:
        on_gpu = _gpu_bytes(trial.candidate) - used
        return {"rss_mb": _resident_mb(), **({"gpu_mb": round(on_gpu / 1e6)} if on_gpu else {})}

    try:
        found = work.soak(trial.seconds) | taken() if trial.kind == "soak" else work.speed(trial, taken)
    finally:
        engine.close()
    facts = {key: value for key, value in asdict(engine.info).items() if key != "package"}
    return {"engine": facts, "tiles": len(plan.tiles), "tile": plan.input,
            "open_s": round(opened, 2), **found}  # fmt: skip


def product_of(candidate: Candidate) -> Product:
    """What this candidate's device multiplies in its precision. Raises UsageError or EngineError."""
    return (gpu_product if candidate.on_gpu else cpu_product)(candidate.precision)


@dataclass(frozen=True, slots=True)
class Work:
    """One frame on one open engine."""

    engine: Engine
    plan: TilePlan
    frame: Image

    def whole(self) -> ProbMap:
        """The frame as the line computes it: cut, run, pasted."""
        return segment(self.frame, self.plan, self.engine)

    def alone(self, tile: Image) -> None:
        """One tile as often as the frame has tiles, nothing cut or pasted."""
        self.engine.run((tile for _ in self.plan.tiles), lambda _index, _probs: None)

    def speed(self, trial: Trial, taken: Callable[[], dict[str, int]]) -> dict[str, Any]:
        """Seconds a frame, of the engine alone on as many tiles, and of the machine's matrix product.

        All three in turn, in each round, for the trial's seconds, with the share of the processor that
        other programs took. taken: asked for the memory before the matrices take theirs.
        """
        probs = self.whole()
        if trial.keep is not None:
            with durable_file(Path(trial.keep)) as file:
                np.save(file, probs)
        del probs
        tile = np.resize(self.frame, self.plan.input + self.frame.shape[2:])
        rivals = Rivals()
        rounds = [self._round(tile)]
        memory, product = taken(), _product_or_why(trial.candidate)
        multiplied = [_seconds(product.run)] if isinstance(product, Product) else []
        ends = time.perf_counter() + trial.seconds - sum(rounds[0])
        while time.perf_counter() < ends:
            rounds.append(self._round(tile))
            if isinstance(product, Product):
                multiplied.append(_seconds(product.run))
        whole, alone = zip(*rounds, strict=True)
        return {"frames": len(whole), "frame_s": statistics.median(whole), "worst_s": max(whole),
                "engine_only_s": statistics.median(alone), "product": _product_figures(product, multiplied),
                "others_share": round(rivals.share(), 3), **memory}  # fmt: skip

    def _round(self, tile: Image) -> tuple[float, float]:
        return _seconds(self.whole), _seconds(lambda: self.alone(tile))

    def soak(self, seconds: float) -> dict[str, Any]:
        """See deploy.qualify.soak; the frame in turn with itself upside down."""
        turned = replace(self, frame=np.ascontiguousarray(self.frame[::-1]))
        return soak((self.whole, turned.whole), seconds)


def _product_or_why(candidate: Candidate) -> Product | str:
    try:
        return product_of(candidate)
    except (InspectionError, RuntimeError) as error:  # as torch and OpenVINO say that memory is out
        return first_line(error)


def _product_figures(product: Product | str, seconds: list[float]) -> dict[str, Any]:
    if isinstance(product, str):
        return {"words": product}
    rate = product.flop / statistics.median(seconds)
    return {"device": product.device, "tool": product.tool, "flop_per_s": rate}


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _resident_mb() -> int:
    """Largest resident memory of this process and of those that it runs, such as an engine's, in MB.

    Not getrusage: its largest begins at that of the process which started this one, and counts children
    that ended, such as a compiler.
    """
    me = psutil.Process()
    return round(sum(_largest_kb(one.pid) for one in (me, *me.children(recursive=True))) * 1024 / 1e6)


def _largest_kb(pid: int) -> int:
    """VmHWM of a process; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _gpu_bytes(candidate: Candidate) -> int:
    """What is in use on the GPU by anybody; 0 for an engine on the CPU, or without torch."""
    if not candidate.on_gpu or importlib.util.find_spec("torch") is None:
        return 0
    import torch

    free, total = torch.cuda.mem_get_info(0)
    return total - free


def outcome(trial: Trial) -> dict[str, Any]:
    """The figures with outcome `ran`, or `not run`, `refused` or `failed` with the reason."""
    try:
        return {"outcome": "ran", **measured(trial)}
    except (EngineNotCompiled, UsageError) as error:
        return {"outcome": "not run", "words": str(error)}
    except (CertificateError, CompiledEngineError) as error:
        return {"outcome": "refused", "words": str(error)}
    except InspectionError as error:
        return {"outcome": "failed", "words": str(error)}


def parse_trial(text: str) -> Trial:
    """A trial from its JSON."""
    fields = json.loads(text)
    return Trial(**{**fields, "candidate": Candidate(**fields["candidate"]), "frame": tuple(fields["frame"])})


def main() -> int:
    """Print the outcome of the trial in the first argument as the last line of stdout."""
    print(json.dumps(outcome(parse_trial(sys.argv[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
