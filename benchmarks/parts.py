"""The real sets with the physical part of each frame, which their file names and pictures give away.

Without it validation, which is cut by part, holds pictures of parts that train: on magnetic_tile, where
a tile was taken under up to six exposures, it then said an IoU of 0.68 of a network that had 0.45 on the
five defects of the test split.

    python -m benchmarks.parts magnetic_tile runs/magnetic_tile
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.steps import datasets
from trainer.lint.check import lint

RULE = 1
"""Of how parts are told. One higher with each change: rows and half-done trainings of others do not count."""
LINKED = ("images", "masks", "instances", "split.json", "classes.json")
SERIES_GAP = 300
"""magnetic_tile's pictures are numbered in the order in which they were taken, those of one tile closely."""
HELD_BACK = 4
"""One part in so many of the train split is what `held_back` judges on. To change it is to change RULE."""
NEIGHBOURS = 3
"""Slices of isbi2012_em that count as one part: each resembles the next. With more of them there would be
fewer than the eight parts that validation needs."""


def with_parts(name: str, into: Path) -> Path:
    """The folder `into`, made once: the set's own files behind links, and a parts.json.

    Parts are those of the names, joined where `trainer lint` finds two that show the same thing. No
    part is on two sides of the split, which is the set's own.
    """
    if into.exists():
        return into
    # Under another name until it is whole: one that was stopped half-way is not taken for it.
    unfinished = into.with_name(f"{into.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for entry in LINKED:
        source = datasets() / name / entry
        if source.exists():
            (unfinished / entry).symlink_to(source.resolve())
    split = json.loads((unfinished / "split.json").read_text(encoding="utf-8"))
    side = {stem: which for which, stems in split.items() for stem in stems}
    if name in BY_NAME:
        named = BY_NAME[name](sorted(side))
        _write(unfinished, {stem: f"{part} {side[stem]}" for stem, part in named.items()})
    joined = lint(unfinished).proposed_parts()
    _write(unfinished, {stem: f"{part.split()[0]} {side[stem]}" for stem, part in joined.items()})
    unfinished.replace(into)
    return into


def held_back(name: str, into: Path) -> Path:
    """The folder `into`, made once: the set's train split alone, a quarter of its parts as the test split.

    Settings are compared on it, so that the set's own test split never chooses one. Parts are taken in the
    order of their names, in which those of a kind of defect stand together.
    """
    if into.exists():
        return into
    whole = with_parts(name, into.with_name(f"{into.name}-whole"))
    train = json.loads((whole / "split.json").read_text(encoding="utf-8"))["train"]
    part = json.loads((whole / "parts.json").read_text(encoding="utf-8"))
    unfinished = into.with_name(f"{into.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    for kind in ("images", "masks", "instances"):
        for path in sorted((whole / kind).glob("*")):
            if path.stem in train:
                (unfinished / kind).mkdir(parents=True, exist_ok=True)
                (unfinished / kind / path.name).symlink_to(path.resolve())
    if (whole / "classes.json").exists():
        (unfinished / "classes.json").symlink_to((whole / "classes.json").resolve())
    judged = set(sorted({part[stem] for stem in train})[1::HELD_BACK])
    split = {
        "train": [stem for stem in train if part[stem] not in judged],
        "test": [stem for stem in train if part[stem] in judged],
    }
    (unfinished / "split.json").write_text(json.dumps(split, indent=1) + "\n", encoding="utf-8")
    _write(unfinished, {stem: part[stem] for stem in train})
    unfinished.replace(into)
    return into


def photographs(stems: Iterable[str]) -> dict[str, str]:
    """masonry_crack: several crops of one photograph are named PHOTOGRAPH_NUMBER."""
    return {stem: stem.rpartition("_")[0] for stem in stems}


def exposures(stems: Iterable[str]) -> dict[str, str]:
    """magnetic_tile: KIND_expE_num_N; in the order of N a tile ends where E does not rise or N leaps."""
    kinds: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for stem in stems:
        kind, exposure, number = re.split("_exp|_num_", stem)
        kinds[kind].append((int(number), int(exposure), stem))
    found = {}
    for kind, shots in kinds.items():
        tile, last = 0, (-SERIES_GAP, 9)
        for number, exposure, stem in sorted(shots):
            tile += number - last[0] > SERIES_GAP or exposure <= last[1]
            last = number, exposure
            found[stem] = f"{kind}{tile}"
    return found


def crops(stems: Iterable[str]) -> dict[str, str]:
    """deepcrack_256: several crops of one photograph are named PHOTOGRAPH-NUMBER."""
    return {stem: re.sub(r"-\d+$", "", stem) for stem in stems}


def slices(stems: Iterable[str]) -> dict[str, str]:
    """isbi2012_em: blocks of neighbouring slices."""
    return {stem: f"block{int(stem.rpartition('_')[2]) // NEIGHBOURS}" for stem in stems}


BY_NAME: dict[str, Callable[[Iterable[str]], dict[str, str]]] = {
    "masonry_crack": photographs,
    "magnetic_tile": exposures,
    "isbi2012_em": slices,
    "deepcrack_256": crops,
}


def _write(folder: Path, parts: dict[str, str]) -> None:
    (folder / "parts.json").write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Make one such folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    parts = json.loads((with_parts(given.set, given.folder) / "parts.json").read_text(encoding="utf-8"))
    print(f"{given.folder}: {len(parts)} frames of {len(set(parts.values()))} parts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
