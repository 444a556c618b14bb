"""One training in its own process and folder, and what the test split says of it.

What benchmarks.accuracy, benchmarks.ablation and benchmarks.choices share. A trial that has its row is not
run again; one that was stopped goes on from its last checkpoint, or begins again where there is none yet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.parts import RULE, with_parts
from benchmarks.rows import RESULTS, append_row, commit
from benchmarks.steps import ROOT, StepFailed, step, stopped_in_order
from trainer.checkpoint import BEST, LAST
from trainer.journal import LOG

BASE, DEPTH = 16, 4
ALSO = {
    "isbi2012_em": ("pixel_error", "rand_error", "warping_error"),
    "dsb2018_nuclei": ("seg", "ap50"),
}
"""Set -> figures beyond those that every set has."""
SLOW = "warping_error"
"""Of plain masks only."""
FIGURES = (
    "frames", "parts", "miou", "miou_95", "per_class", "per_defect", "border", "confusion", "pixel_error",
    "pixel_error_95", "rand_error", "rand_error_95", "challenge", "warping_error", "warping_error_95",
    "warping", "seg", "seg_95", "ap50", "ap50_95",
    "ap50_by_frame", "ap50_by_frame_95", "instances", "regions",
)  # fmt: skip
"""What a row keeps of `trainer evaluate --json`."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """What is trained, and how."""

    data: str
    """Name of the set."""
    recipe: str
    """modern or paper of `trainer fit`, or baseline: benchmarks/baseline.py."""
    seed: int
    minutes: float | None
    """Length of the training; None where `steps` of the config says it."""
    settings: tuple[str, ...] = ()
    """Options of `trainer fit` beside these."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings for its --config file."""
    without: str | None = None
    """An idea that benchmarks/altered.py takes out of the trainer."""
    averages: tuple[str, ...] = ()
    """Test-time averages whose figures are noted beside the plain ones."""

    def identity(self) -> Row:
        """What two rows of the same trial have in common; every field of it stands in the row."""
        return {
            "data": self.data,
            "recipe": self.recipe,
            "settings": list(self.settings),
            "config": dict(self.config),
            "without": self.without,
            "parts_rule": RULE,
            "seed": self.seed,
            "minutes": self.minutes,
            "base": BASE,
            "depth": DEPTH,
        }

    def words(self) -> str:
        """The trial on one line."""
        changes = [*self.settings, *([json.dumps(self.config)] if self.config else [])]
        changes += [f"without {self.without}"] if self.without else []
        length = "" if self.minutes is None else f", {self.minutes:g} min"
        return f"{self.data} {self.recipe} seed {self.seed}{length} {' '.join(changes)}".strip()

    def folder(self, work: Path) -> Path:
        """Where its steps are kept, one folder an identity."""
        digest = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:8]
        return work / f"{self.data}-{self.recipe}-seed{self.seed}-{digest}"


def rows(name: str, since: str = "", results: Path = RESULTS) -> list[Row]:
    """The rows of results/NAME.jsonl, oldest first; those before the date `since` (ISO) left out."""
    path = results / f"{name}.jsonl"
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in found if row["date"] >= since]


def finished(trial: Trial, found: Sequence[Row]) -> bool:
    """Whether one of the rows is this trial's."""
    wanted = json.loads(json.dumps(trial.identity()))
    return any(all(row.get(key) == value for key, value in wanted.items()) for row in found)


def measure(trial: Trial, data: Path, work: Path) -> Row:
    """Train, judge on the test split, and return the row. Raises StepFailed."""
    folder = trial.folder(work)
    if (folder / "recorded").exists():
        shutil.rmtree(folder)  # its row is not to count any more
    folder.mkdir(parents=True, exist_ok=True)
    began = _begun(folder)
    if trial.recipe == "baseline":
        figures = fit = _baseline(trial, data, folder)
    else:
        fit = _fitted(trial, data, folder)
        figures = _evaluated(trial, data, folder)
    row = {**trial.identity(), **began, **fit["cost"], "steps": _steps(folder, fit)}
    row["validation_iou"] = fit.get("validation_iou")
    row |= {name: figures[name] for name in FIGURES if name in figures}
    row["averaged"] = {way: _kept(_evaluated(trial, data, folder, way)) for way in trial.averages}
    return row


def keep(name: str, trial: Trial, row: Row, command: str, work: Path) -> None:
    """One more line in results/NAME.jsonl; the trial's folder is of no use from now on."""
    append_row(name, {**row, "command": command})
    (trial.folder(work) / "recorded").touch()


def shared_options(parser: argparse.ArgumentParser, name: str) -> None:
    """What every benchmark that trains can be told; see `run_all`."""
    parser.add_argument("--work", type=Path, default=ROOT / "scratch" / name, help="where steps are kept")
    parser.add_argument("--since", default="", help="run again what has only rows before this ISO date")
    parser.add_argument("--list", action="store_true", help="show what has a row and what has not")
    parser.add_argument("--no-keep", action="store_true", help="append no row: to try the script itself")


def run_all(
    name: str,
    trials: Sequence[Trial],
    given: argparse.Namespace,
    command: Callable[[Trial], str],
    view: Callable[[str, Path], Path] = with_parts,
) -> int:
    """Run every trial without a row in results/NAME.jsonl; 1 when one failed or all were stopped.

    A trial that fails does not keep the others from running. command: what a person types for one. view:
    makes the folder that a set is trained and judged on.
    """
    failed = 0
    try:
        with stopped_in_order():
            for trial in trials:
                has_row = finished(trial, rows(name, given.since))
                print(f"{'has its row' if has_row else 'to run':<12} {trial.words()}", flush=True)
                if has_row or given.list:
                    continue
                try:
                    data = view(trial.data, given.work.resolve() / f"{view.__name__}-{RULE}" / trial.data)
                    row = measure(trial, data, given.work.resolve())
                except StepFailed as error:
                    print(f"  {error}", file=sys.stderr)
                    failed += 1
                    continue
                print(f"  {outcome(row)}", flush=True)
                if not given.no_keep:
                    keep(name, trial, row, command(trial), given.work.resolve())
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        return 1
    return 1 if failed else 0


def outcome(row: Row) -> str:
    """A row's main figures on one line."""
    classes = [name for name in row["per_class"] if name != "background"]
    f1 = ", ".join(f"{row['per_class'][name]['dice'] or 0:.3f}" for name in classes)
    more = [f"{name} {row[name]:.4f}" for name in ("rand_error", "pixel_error", "ap50", "seg") if name in row]
    return f"mIoU {row['miou']:.3f}, F1 {f1} after {row['steps']} steps {' '.join(more)}"


def _begun(folder: Path) -> Row:
    """The code and the moment that the training began with, and how many sittings it took."""
    path, now = folder / "begun.json", commit()
    began: Row = {"commit": now, "began": datetime.now(UTC).isoformat(timespec="seconds"), "sittings": 1}
    trained = (folder / "fit.json").exists()
    if path.exists() and (trained or (folder / "run" / LAST).exists()):
        began = json.loads(path.read_text(encoding="utf-8"))
        if trained:
            return began
        began["sittings"] += 1
        if now not in began["commit"].split(", "):
            began["commit"] += f", {now}"
    path.write_text(json.dumps(began) + "\n", encoding="utf-8")
    return began


def _trainer(trial: Trial) -> list[str]:
    return ["trainer"] if trial.without is None else ["benchmarks.altered", trial.without]


def _fitted(trial: Trial, data: Path, folder: Path) -> Row:
    run = folder / "run"
    resumed = [*_trainer(trial), "fit", str(data), "--out", "run", "--resume", "--json"]
    if (run / LAST).exists():
        return step(folder, "fit", resumed)
    if not (folder / "fit.json").exists():
        shutil.rmtree(run, ignore_errors=True)
    (folder / "settings.toml").write_text(toml(trial.config), encoding="utf-8")
    length = [] if trial.minutes is None else ["--minutes", f"{trial.minutes:g}"]
    options = ["--recipe", trial.recipe, *length, "--seed", str(trial.seed)]
    options += ["--base", str(BASE), "--depth", str(DEPTH), *trial.settings]
    if trial.config:
        options += ["--config", "settings.toml"]
    return step(folder, "fit", [*_trainer(trial), "fit", str(data), "--out", "run", *options, "--json"])


def _evaluated(trial: Trial, data: Path, folder: Path, average: str | None = None) -> Row:
    if not (folder / "run" / BEST).exists():
        raise StepFailed(f"{folder} holds no network; remove it, so that it is trained again.")
    command = [*_trainer(trial), "evaluate", "run", str(data), "--split", "test", "--json"]
    for name in ALSO.get(trial.data, ()):
        if average is None or name != SLOW:
            command += ["--also", name]
    if average is None:
        return step(folder, "evaluate", command)
    return step(folder, f"evaluate-{average}", [*command, "--average", average])


def _baseline(trial: Trial, data: Path, folder: Path) -> Row:
    command = ["benchmarks.baseline", str(data), "--minutes", f"{trial.minutes:g}", "--seed", str(trial.seed)]
    fit = step(folder, "fit", [*command, "--out", "baseline.pt"])
    for name in ALSO.get(trial.data, ()):
        command += ["--also", name]
    return {**step(folder, "evaluate", [*command, "--judge", "baseline.pt"]), **fit}


def _steps(folder: Path, fit: Row) -> int:
    """Training steps of the whole run."""
    if "steps" in fit:
        return int(fit["steps"])
    lines = (folder / "run" / LOG).read_text(encoding="utf-8").splitlines()
    return max(int(json.loads(line)["step"]) for line in lines)


def _kept(figures: Row) -> Row:
    names = ("miou", "per_class", "pixel_error", "rand_error", "rand_error_95")
    return {name: figures[name] for name in names if name in figures}


def toml(settings: Mapping[str, Any]) -> str:
    """Settings of FitConfig, with `augment` as a table, as TOML."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if key != "augment"]
    inner = [f"{key} = {json.dumps(value)}" for key, value in settings.get("augment", {}).items()]
    return "\n".join([*plain, *(["[augment]", *inner] if inner else [])]) + "\n"
