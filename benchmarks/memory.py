"""Frames of 12 and of 100 megapixels within 1.0 and 1.5 GB, and said of them what is said in one piece.

    python -m benchmarks.memory [--case 100] [--precision f32] [--frames 2]

`inspector run` itself, in a process of its own, on a folder of pictures, every second one with a
crack from corner to corner: the largest resident memory that the kernel saw of it. Each result is
held against the same frame in one piece, without a limit: of 12 megapixels the whole frame is one
tile; of 100, which would take 27 GB, larger tiles, but one map of all probabilities, one mask and
one band of regions. Also printed: what the planner predicted, so that the memory model stays honest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from benchmarks.networks import seeing_package
from benchmarks.rows import append_row, verdict
from benchmarks.watched import line_config, memory_mb, watched_run
from deploy.qualify.cache import own_cache
from inspector.config import ModelConfig
from inspector.engine.planner import choose_plan, predicted_mb
from inspector.errors import MemoryLimitError
from inspector.inputs import read_image
from inspector.package import ModelPackage, load_package
from inspector.png import png_parts
from inspector.types import Defect, Image, Segmentation

BASE, DEPTH = 16, 4


@dataclass(frozen=True, slots=True)
class Case:
    """Frames of one size, and what may be resident."""

    frame: tuple[int, int]
    limit_mb: int
    frames: int
    """Enough of 12 megapixels to fill the recorder's memory of recent frames."""
    reference: ModelConfig
    """How the one piece is computed."""


CASES = {
    "12": Case((3000, 4000), 1000, 14, ModelConfig(memory_mb=100_000, tile="whole")),
    "100": Case((10_000, 10_000), 1500, 4, ModelConfig(memory_mb=5000)),
}


def picture(frame: tuple[int, int], seed: int, damaged: bool) -> Image:
    """Mid gray with fine noise; damaged: a dark crack across the frame, and bright specks in two corners."""
    noise = np.random.default_rng(seed).normal(128, 6, (500, frame[1])).clip(100, 156).astype(np.uint8)
    image = np.tile(noise, (-(-frame[0] // 500), 1))[: frame[0]].copy()
    if damaged:
        cv2.line(image, (20, 30), (frame[1] - 30, frame[0] - 40), 20, 7)
        for y, x in ((0, 0), (frame[0] - 9, frame[1] - 12)):
            image[y : y + 9, x : x + 12] = 240
    return image


def run_line(case: Case, package: Path, precision: str, folder: Path) -> dict[str, Any]:
    """`inspector run` on the pictures in folder/in; its largest resident memory and its summary."""
    peak = 0.0

    def look(process: Path) -> None:
        nonlocal peak
        peak = max(peak, memory_mb(process, "VmHWM"))  # it only grows, so little can be missed

    summary = watched_run(line_config(folder, package, precision, case.limit_mb), look, 0.02)
    return {"rss_mb": round(peak, 1), "frames": summary["grabbed"], "verdicts": summary["verdicts"],
            "engine": summary["engine"], "fps": summary["fps"],
            "stages_ms": summary["stages_ms"]}  # fmt: skip


def in_one_piece(package: ModelPackage, settings: ModelConfig, image: Path, out: Path) -> dict[str, Any]:
    """In this process: the frame without bands and bounds. The mask goes to `out`."""
    from inspector import defects, regions
    from inspector.engine.open import open_engine
    from inspector.engine.segment import segment

    pixels = read_image(image)
    plan = choose_plan(package, (pixels.shape[0], pixels.shape[1]), settings)
    engine = open_engine(package, plan, settings)
    probs = segment(pixels, plan, engine)
    engine.close()
    mask = defects.mask_of(probs, package.thresholds)
    certainty = np.take_along_axis(probs, np.maximum(mask, 1)[..., None] - 1, axis=2)[..., 0]
    certainty[mask == 0] = 0
    defects.regions = partial(regions.regions, band_px=mask.size)  # type: ignore[attr-defined]
    found = defects.find_defects(Segmentation(mask, certainty), package.classes)
    np.save(out, mask)
    return {
        "tile": plan.input,
        "tiles": len(plan.tiles),
        "rss_mb": round(memory_mb(Path("/proc/self"), "VmHWM"), 1),
        "defects": [_rounded(one) for one in found],
    }


def _rounded(defect: Defect) -> list[Any]:
    """As the line's output has it."""
    lengths = [round(value, 2) for value in (defect.length_px, defect.width_px)]
    return [defect.class_name, list(defect.box), defect.area_px, *lengths, round(defect.confidence, 4)]


def compared(case: Case, package: Path, precision: str, folder: Path) -> dict[str, Any]:
    """What the line wrote of the last damaged picture against the one piece, in a process of its own."""
    said = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(said) if line["defects"])
    settings = case.reference.model_copy(update={"precision": precision})
    task = {"package": str(package), "settings": settings.model_dump(mode="json"),
            "image": str(folder / "in" / last["source"]), "out": str(folder / "mask.npy")}  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.memory", "--child", json.dumps(task)]
    piece = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    (stored,) = folder.glob(f"evidence/*/{last['frame']:08d}.mask.png")
    keys = ("class", "box", "area_px", "length_px", "width_px", "confidence")
    mine = [[one[key] for key in keys] for one in last["defects"]]
    return {
        "mask_pixels_changed": int(np.count_nonzero(read_image(stored) != np.load(folder / "mask.npy"))),
        "defects": len(mine),
        "defects_equal": mine == piece.pop("defects"),
        "in_one_piece": piece,
    }


def measured(case: Case, package: ModelPackage, precision: str, folder: Path) -> dict[str, Any]:
    """The refusal of the whole frame as a tile, the line within the limit, and the comparison."""
    settings = ModelConfig.model_validate({"memory_mb": case.limit_mb, "precision": precision})
    try:
        choose_plan(package, case.frame, settings.model_copy(update={"tile": "whole"}))
        refusal = ""
    except MemoryLimitError as error:
        refusal = str(error)
    (folder / "in").mkdir()
    for number in range(case.frames):
        with (folder / "in" / f"{number:02d}.png").open("wb") as file:
            file.writelines(png_parts(picture(case.frame, number, number % 2 == 1)))
    line = run_line(case, package.path, precision, folder)
    plan = choose_plan(package, case.frame, settings)
    row = {"frame": case.frame, "limit_mb": case.limit_mb, "refusal": refusal, "line": line,
           "predicted_mb": predicted_mb(package, plan, settings)}  # fmt: skip
    row |= compared(case, package.path, precision, folder)
    same = row["mask_pixels_changed"] == 0 and row["defects_equal"]
    good = line["verdicts"]["PASS"] == line["verdicts"]["REJECT"] == case.frames // 2
    return row | {"holds": bool(refusal) and line["rss_mb"] <= case.limit_mb and same and good}


def tell(name: str, row: dict[str, Any]) -> None:
    """The figures of one case, for people."""
    line, piece = row["line"], row["in_one_piece"]
    print(f"{name} MP ({row['frame'][0]}x{row['frame'][1]} gray), limit {row['limit_mb']} MB")
    print(f"  whole as one tile: {'refused: ' + row['refusal'] if row['refusal'] else 'NOT REFUSED'}")
    print(
        f"  inspector run, {line['frames']} frames on {line['engine']['name']} {line['engine']['precision']}:"
        f" largest resident {line['rss_mb']:.0f} MB, predicted {row['predicted_mb']} MB at most"
    )
    print(
        f"  against one piece ({piece['tiles']} tiles of {piece['tile']}, {piece['rss_mb']:.0f} MB):"
        f" {row['mask_pixels_changed']} pixels of the mask differ, {row['defects']} defects"
        f" {'equal' if row['defects_equal'] else 'NOT EQUAL'}"
    )
    print(f"  bar: {verdict(row['holds'])}")


@click.command()
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), help="Megapixels; both.")
@click.option("--precision", default="f32", type=click.Choice(["auto", "f32", "bf16"]))
@click.option("--frames", type=click.IntRange(2), help="Of each case [14 of 12 MP, 4 of 100 MP]; even.")
@click.option("--keep/--no-keep", default=True, help="Append the row to benchmarks/results.")
@click.option("--child", "task", hidden=True)
def main(names: tuple[str, ...], precision: str, frames: int | None, keep: bool, task: str | None) -> None:
    """Refuse whole, run in tiles, compare."""
    if task is not None:
        given = json.loads(task)
        settings = ModelConfig.model_validate(given["settings"])
        package = load_package(Path(given["package"]))
        print(json.dumps(in_one_piece(package, settings, Path(given["image"]), Path(given["out"]))))
        return
    rows: dict[str, Any] = {}
    for name in names or CASES:
        with own_cache(), tempfile.TemporaryDirectory() as folder:
            package = seeing_package(Path(folder) / "base16", BASE, DEPTH)
            case = CASES[name] if frames is None else replace(CASES[name], frames=frames // 2 * 2)
            rows[name] = measured(case, package, precision, Path(folder))
        tell(name, rows[name])
    if keep:
        holds = all(row["holds"] for row in rows.values())
        append_row(
            "memory", {"base": BASE, "depth": DEPTH, "precision": precision, "cases": rows, "holds": holds}
        )


if __name__ == "__main__":
    main()
