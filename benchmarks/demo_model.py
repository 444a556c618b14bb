"""The demo models on lines they have never seen: recall by class, false alarms a frame, and time a frame.

    python -m benchmarks.demo_model
    python -m benchmarks.demo_model --development --package PACKAGE [PACKAGE ...]

Generates 200 frames of 720x1280 from seeds 996001 to 996004, half of the parts clean, all nuisances
on, and runs data_samples/demo_model and data_samples/demo_model_base8 over them through the line's own
engine, tiles and rules, each frame by all in turn, so that the times of one command compare. No model
was trained on these seeds or chosen by them. Seeds 990001 to 990004, and four each from 991001, 992001,
993001, 994001 and 995001 on, were exams of earlier models; the first four serve development now, and
their rows name them. Counted: true defects of length >= 20 px or area >= 40 px, and contrast-to-noise >= 1.5;
smaller or fainter ones are neither found nor false alarms. Bars: recall >= 0.95, >= 0.90 for each
class, <= 0.1 false alarms a frame.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import chi2

from benchmarks.rows import append_row, verdict
from inspector.config import ModelConfig
from inspector.db.figures import wilson
from inspector.defects import MatchCounts, find_defects, match_defects
from inspector.engine.open import choose_plan, open_engine
from inspector.engine.protocol import Engine
from inspector.engine.rivals import Rivals
from inspector.engine.segment import find_damage
from inspector.errors import InspectionError, UsageError
from inspector.inputs import to_input
from inspector.package import ModelPackage, load_package
from inspector.tiling import TilePlan
from inspector.types import Mask, Segmentation
from trainer.synth.defects import CLASSES
from trainer.synth.line import LineSpec, still_frames
from trainer.synth.scene import Rendered, Scene
from trainer.synth.truth import TrueDefect

SAMPLES = Path(__file__).parent.parent / "data_samples"
PACKAGES = (SAMPLES / "demo_model", SAMPLES / "demo_model_base8")
SIZE = (720, 1280)
FRAMES = 200
EXAM_SEEDS = (996001, 996002, 996003, 996004)
DEVELOPMENT_SEEDS = (990001, 990002, 990003, 990004)
MIN_LENGTH_PX, MIN_AREA_PX, MIN_CONTRAST = 20.0, 40, 1.5
RECALL_BAR, CLASS_BAR, ALARM_BAR = 0.95, 0.90, 0.1
IGNORE = 255


def poisson(count: int, frames: int) -> tuple[float, float]:
    """95 % interval of a mean number a frame, exact (Garwood 1936)."""
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    return low / frames, float(chi2.ppf(0.975, 2 * count + 2)) / 2 / frames


def counts(defect: TrueDefect) -> bool:
    """Whether a true defect is large and strong enough to count."""
    large = defect.length_px >= MIN_LENGTH_PX or defect.area_px >= MIN_AREA_PX
    return large and defect.contrast_to_noise >= MIN_CONTRAST


def counted_truth(frame: Rendered) -> Mask:
    """The frame's mask with the defects that do not count set to ignore."""
    mask = frame.mask.copy()
    small = [defect.id for defect in frame.defects if not counts(defect)]
    mask[np.isin(frame.instances, small)] = IGNORE
    return mask


def unseen_frames(frames: int, seeds: Sequence[int]) -> Iterator[Rendered]:
    """The benchmark's frames, an equal number from each seed."""
    for index, seed in enumerate(seeds):
        share = frames // len(seeds) + (index < frames % len(seeds))
        spec = LineSpec(SIZE, seed)
        yield from Scene(spec).frames(still_frames(spec, share))


class Tally:
    """What has been counted so far."""

    def __init__(self) -> None:
        self.frames = self.clean = self.not_counted = self.alarms = self.large_alarms = 0
        self.by_class = {name: MatchCounts() for name in CLASSES}

    def add(self, frame: Rendered, said: Segmentation) -> None:
        """Match one frame: found and missed on what counts, false alarms against every true defect."""
        predicted = said.mask
        self.frames += 1
        self.clean += not frame.defects
        self.not_counted += sum(not counts(defect) for defect in frame.defects)
        for name, found in match_defects(counted_truth(frame), frame.instances, predicted, CLASSES).items():
            self.by_class[name] += found
        self.alarms += alarms(frame, predicted)
        large = np.zeros_like(predicted)
        for defect in find_defects(said, CLASSES):
            if defect.length_px >= MIN_LENGTH_PX or defect.area_px >= MIN_AREA_PX:
                y0, x0, y1, x1 = defect.box
                box = predicted[y0:y1, x0:x1]
                large[y0:y1, x0:x1][box == defect.class_id] = defect.class_id
        self.large_alarms += alarms(frame, large)


def alarms(frame: Rendered, predicted: Mask) -> int:
    """False alarms of one frame, all classes."""
    matched = match_defects(frame.mask, frame.instances, predicted, CLASSES)
    return sum(found.false_alarms for found in matched.values())


@dataclass
class Served:
    """A package on an engine, and what came of it so far."""

    package: ModelPackage
    plan: TilePlan
    engine: Engine
    tally: Tally = field(default_factory=Tally)
    took_ms: list[float] = field(default_factory=list)

    def judge(self, frame: Rendered) -> None:
        """Segment the frame as the line does, timed, and count."""
        began = time.perf_counter()
        image = to_input(frame.image, self.package.manifest.channels)
        said = find_damage(image, self.plan, self.engine, self.package.thresholds)
        self.took_ms.append(1000 * (time.perf_counter() - began))
        self.tally.add(frame, said)

    def row(self) -> dict[str, Any]:
        """Which package it is, what ran it, and its median time a frame."""
        manifest, info = self.package.manifest, self.engine.info
        named = {"name": manifest.name, "version": manifest.version, "base": manifest.base}
        ran = {"engine": info.name, "precision": info.precision, "package": self.package.id}
        return {**named, **ran, "median_ms": round(median(self.took_ms), 1)}


@contextmanager
def serving(packages: Sequence[ModelPackage]) -> Iterator[list[Served]]:
    """Each package on an engine of its own, all open at once."""
    settings = ModelConfig()
    with ExitStack() as opened:
        served = []
        for package in packages:
            plan = choose_plan(package, SIZE, settings)
            engine = opened.enter_context(closing(open_engine(package, plan, settings)))
            served.append(Served(package, plan, engine))
        yield served


def judge_in_turn(served: Sequence[Served], frames: Iterable[Rendered]) -> None:
    """Each frame by all; another one is first each time, since drawing a frame leaves the caches cold."""
    for number, frame in enumerate(frames):
        first = number % len(served)
        for one in (*served[first:], *served[:first]):
            one.judge(frame)
        if number % 20 == 19:
            print(f"{number + 1} frames", file=sys.stderr)


def show(tally: Tally, seeds: Sequence[int]) -> dict[str, Any]:
    """Print the table with its bars and return it as a row."""
    row: dict[str, Any] = {
        "frames": tally.frames,
        "clean_frames": tally.clean,
        "not_counted": tally.not_counted,
    }
    total = sum(tally.by_class.values(), MatchCounts())
    print(
        f"{tally.frames} frames of {SIZE[0]}x{SIZE[1]}, {tally.clean} without a defect, seeds {tuple(seeds)}"
    )
    print(f"{total.total} true defects count, {tally.not_counted} are too small or too faint to count")
    for name, found in [*tally.by_class.items(), ("overall", total)]:
        bar = RECALL_BAR if name == "overall" else CLASS_BAR
        share = wilson(found.found, found.total)
        holds = share.share is not None and share.share >= bar
        row[name] = {"found": found.found, "total": found.total, "low": share.low, "high": share.high}
        print(
            f"{name:8s} recall {found.found:3d}/{found.total:3d} = {share.share or 0.0:.3f}"
            f" [{share.low or 0.0:.3f}, {share.high or 1.0:.3f}]  bar {bar:.2f}  {verdict(holds)}"
        )
        row[name]["holds"] = holds
    low, high = poisson(tally.alarms, tally.frames)
    rate = tally.alarms / max(1, tally.frames)
    print(
        f"false alarms {tally.alarms}/{tally.frames} frames = {rate:.3f} a frame [{low:.3f}, {high:.3f}]"
        f"  bar {ALARM_BAR}  {verdict(rate <= ALARM_BAR)}"
        f"  ({tally.large_alarms} of them as large as what counts)"
    )
    row["false_alarms"] = {"count": tally.alarms, "large": tally.large_alarms, "low": low, "high": high}
    row["holds"] = rate <= ALARM_BAR and all(row[name]["holds"] for name in (*CLASSES, "overall"))
    return row


def main() -> int:
    """0 when every bar holds, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--package", type=Path, nargs="+", default=PACKAGES, help="[the shipped ones]")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument(
        "--development", action="store_true", help="on the seeds that may be looked at while training"
    )
    chosen = parser.parse_args()
    seeds = DEVELOPMENT_SEEDS if chosen.development else EXAM_SEEDS
    try:
        packages = [load_package(path) for path in chosen.package]
        for package in packages:
            if package.classes != CLASSES:
                raise UsageError(f"{package.path} knows {package.classes}, not {CLASSES}; give a demo model.")
        with serving(packages) as served:
            rivals = Rivals()
            judge_in_turn(served, unseen_frames(chosen.frames, seeds))
            others_share = round(rivals.share(), 3)
    except InspectionError as error:
        print(f"demo_model: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Other programs took {others_share:.0%} of the processor.")
    holds = True
    for one in served:
        named = one.row()
        print("{name} {version}, base {base}: {engine} {precision}, {median_ms} ms a frame".format_map(named))
        row = show(one.tally, seeds)
        told = {"set": "development"} if chosen.development else {}
        append_row("demo_model", {**told, **named, "others_share": others_share, "seeds": seeds, **row})
        holds &= row["holds"]
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
