"""Real pictures end to end, as a user would: fit, export, run the line over the test images, evaluate.

Bar: on masonry_crack, after 12 minutes of training, the crack's IoU on the test split is above the
0.595 that was seen from a plain padded batch-norm U-Net of the same width and depth in that time.
Every step is kept under --work, so that an interrupted benchmark goes on where it stopped.

    python -m benchmarks.real_data
    python -m benchmarks.real_data --only masonry_crack --minutes 12 --seed 1
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from benchmarks.accuracy import MODERN
from benchmarks.parts import RULE, with_parts
from benchmarks.rows import append_row, verdict
from benchmarks.steps import ROOT, StepFailed, step

SETS = ("masonry_crack", "magnetic_tile")
BARS = {"masonry_crack": ("class_1", 0.595)}
"""Set -> (class, IoU that was seen elsewhere in the same minutes)."""


@dataclass(frozen=True, slots=True)
class Job:
    """One set through all steps, in its own folder."""

    name: str
    data: Path
    folder: Path
    minutes: float
    seed: int

    def step(self, name: str, command: list[str]) -> dict[str, Any]:
        """The JSON object that a command prints last; run once, then read from the folder."""
        try:
            return step(self.folder, name, command)
        except StepFailed as error:
            raise SystemExit(f"{self.name}: {error}") from None

    def fit(self) -> dict[str, Any]:
        """Train; a run that was interrupted goes on."""
        if (self.folder / "run").exists() and not (self.folder / "fit.json").exists():
            return self.step("fit", ["trainer", "fit", str(self.data), "--out", "run", "--resume", "--json"])
        settings = ["--minutes", f"{self.minutes:g}", "--seed", str(self.seed), *MODERN.get(self.name, ())]
        settings += ["--base", "16", "--depth", "4"]
        return self.step("fit", ["trainer", "fit", str(self.data), "--out", "run", *settings, "--json"])

    def images(self) -> list[Path]:
        """Folders with the pictures of the test split, for the line's camera: one for each size of picture.

        A camera has one size, and the line leaves frames of another uninspected.
        """
        folder = self.folder / "test_images"
        if not folder.exists():
            stems = set(json.loads((self.data / "split.json").read_text(encoding="utf-8"))["test"])
            unfinished = self.folder / "test_images.part"
            shutil.rmtree(unfinished, ignore_errors=True)
            for path in (self.data / "images").iterdir():
                if path.stem in stems:
                    height, width = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[:2]
                    same = unfinished / f"{height}x{width}"
                    same.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, same)
            unfinished.rename(folder)
        return sorted(folder.iterdir())

    def line(self) -> dict[str, Any]:
        """The line over the test images, once for each size; what its runs say together."""
        runs = []
        for images in self.images():
            name = f"line-{images.name}"
            if not (self.folder / f"{name}.json").exists():
                for old in self.folder.glob(f"{name}.db*"):
                    old.unlink()
            command = ["inspector", "run", "--camera", str(images), "--model", "package"]
            runs.append(self.step(name, [*command, "--db", f"sqlite:///{name}.db", "--headless", "--json"]))
        return {
            "sizes": len(runs),
            "grabbed": sum(run["grabbed"] for run in runs),
            "verdicts": dict(sum((Counter(run["verdicts"]) for run in runs), Counter())),
            "reasons": dict(sum((Counter(run["reasons"]) for run in runs), Counter())),
            "engines": sorted({f"{run['engine']['name']} {run['engine']['precision']}" for run in runs}),
        }


def measure(job: Job) -> dict[str, Any]:
    """All steps of one set, as a row."""
    job.folder.mkdir(parents=True, exist_ok=True)
    job.fit()
    # Forced: a network that is of no use has its row as well.
    job.step(
        "export", ["trainer", "export", "run", "--out", "package", "--name", job.name, "--force", "--json"]
    )
    line = job.line()
    figures = job.step(
        "evaluate", ["trainer", "evaluate", "package", str(job.data), "--split", "test", "--json"]
    )
    return {
        "set": job.name,
        "minutes": job.minutes,
        "settings": list(MODERN.get(job.name, ())),
        "seed": job.seed,
        "frames": figures["frames"],
        "miou": figures["miou"],
        "miou_95": figures["miou_95"],
        "per_class": figures["per_class"],
        "per_defect": figures["per_defect"],
        "line": line,
    }


def holds(row: dict[str, Any]) -> bool | None:
    """Whether a row's bar holds; None for a set without a bar."""
    if row["set"] not in BARS:
        return None
    name, bar = BARS[row["set"]]
    return bool(row["per_class"][name]["iou"] > bar)


def show(row: dict[str, Any]) -> bool:
    """Print a row; whether its bar holds (a set without a bar always does)."""
    print(f"\n{row['set']}: {row['minutes']:g} minutes, seed {row['seed']}, {row['frames']} test frames")
    low, high = row["miou_95"]
    print(f"  mIoU {row['miou']:.3f} ({low:.3f}..{high:.3f})")
    for name, figures in row["per_class"].items():
        if figures["iou"] is not None and name != "background":
            defects = row["per_defect"]["classes"][name]
            found = f"{defects['found']}/{defects['total']} defects, {defects['false_alarms']} false alarms"
            rates = f"IoU {figures['iou']:.3f}  F1 {figures['dice']:.3f}"
            print(f"  {name:<12} {rates}  {figures['true_px']:>9,} px  found {found}")
    line = row["line"]
    print(
        f"  line: {line['grabbed']} frames of {line['sizes']} sizes, {', '.join(line['engines'])}:"
        f" {line['verdicts']}"
    )
    met = holds(row)
    if met is None:
        return True
    name, bar = BARS[row["set"]]
    print(f"  {name} IoU {row['per_class'][name]['iou']:.3f} (bar: > {bar} seen elsewhere): {verdict(met)}")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description="Fit, export, run and evaluate on real pictures.")
    parser.add_argument("--minutes", type=float, default=12.0, help="of training for each set [12]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=SETS, help="one set instead of both")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "scratch" / "real_data", help="where steps are kept"
    )
    options = parser.parse_args()
    all_hold = True
    for name in [options.only] if options.only else SETS:
        folder = options.work.resolve() / f"{name}-{options.minutes:g}min-seed{options.seed}"
        data = with_parts(name, options.work.resolve() / f"data-{RULE}" / name)
        job = Job(name, data, folder, options.minutes, options.seed)
        row = measure(job)
        all_hold = show(row) and all_hold
        if not (folder / "recorded").exists():
            append_row("real_data", row)
            (folder / "recorded").touch()
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
