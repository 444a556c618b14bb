"""The folder itself: which pictures, masks and instances belong together, split, parts and class names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import DatasetError
from inspector.inputs import IMAGE_SUFFIXES
from trainer.folder import PROVENANCE, class_names, read_json
from trainer.lint.findings import Report, counted, worded

SIDES = ("train", "test")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a dataset folder holds, by name; no picture was read."""

    folder: Path
    pictures: dict[str, Path]
    """Stem -> picture; of two pictures with one stem the first."""
    side: dict[str, str]
    """Stem -> train or test; stems that the split leaves out are train here."""
    parts: dict[str, str]
    """Stem -> physical part; a frame that parts.json leaves out is a part of its own."""
    names: dict[int, str] | None
    """Class id -> name, or None where no classes.json names them."""


def layout_of(folder: Path, report: Report) -> Layout:
    """Read the folder's names and note what does not fit together.

    Raises DatasetError when there is no folder images/ or no picture in it: that is no dataset folder.
    """
    if not (folder / "images").is_dir():
        raise DatasetError(f"{folder} has no folder images/; name a dataset folder with images/ and masks/.")
    report.addition = (folder / PROVENANCE).is_file()
    pictures = _pictures(folder, report)
    _lone(folder, pictures, report)
    parts = _parts(folder, pictures, report)
    side = _sides(folder, pictures, report)
    _cut_parts(side, parts, report)
    return Layout(folder, pictures, side, parts, _names(folder, report))


def _pictures(folder: Path, report: Report) -> dict[str, Path]:
    found: dict[str, Path] = {}
    twice: list[str] = []
    others: list[str] = []
    for path in sorted((folder / "images").iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            others.append(f"images/{path.name}")
        elif path.stem in found:
            twice.append(f"images/{found[path.stem].name} and images/{path.name}")
        else:
            found[path.stem] = path
    if not found:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DatasetError(f"{folder / 'images'} holds no picture; add {known} files.")
    if twice:
        report.add(
            "error",
            "stem",
            worded("{n} of pictures [shares|share] a stem, so one mask would fit two.", len(twice), "pair"),
            "Rename one of each pair, with its mask.",
            tuple(twice),
        )
    if others:
        report.add(
            "warning",
            "not-a-picture",
            f"{counted(len(others), 'file')} in images/ cannot be taken as a picture.",
            f"Convert to one of {', '.join(sorted(IMAGE_SUFFIXES))}, or take out.",
            tuple(others),
        )
    return found


def _lone(folder: Path, pictures: dict[str, Path], report: Report) -> None:
    """Masks that are missing, and masks and instances without a picture."""
    missing = [f"masks/{stem}.png" for stem in pictures if not (folder / "masks" / f"{stem}.png").exists()]
    if missing:
        report.add(
            "error",
            "missing-mask",
            f"{counted(len(missing), 'picture has', 'pictures have')} no mask.",
            "Draw it; a good part has a mask of zeros. Or take the picture out.",
            tuple(missing),
        )
    lone = [
        f"{kind}/{path.name}"
        for kind in ("masks", "instances")
        if (folder / kind).is_dir()
        for path in sorted((folder / kind).iterdir())
        if not path.name.startswith(".") and (path.stem not in pictures or path.suffix != ".png")
    ]
    if lone:
        report.add(
            "warning",
            "lone-label",
            worded("{n} in masks/ or instances/ [fits|fit] no picture.", len(lone)),
            "Name them STEM.png like the picture in images/, or take them out.",
            tuple(lone),
        )


def _object(path: Path, report: Report) -> dict[str, Any]:
    """The JSON object of a file; nothing, and an error noted, when it cannot be read."""
    try:
        return read_json(path, {})
    except DatasetError as error:
        report.add("error", "json", str(error), "Write it again, or take it out.", (path.name,))
        return {}


def _parts(folder: Path, pictures: dict[str, Path], report: Report) -> dict[str, str]:
    stored = _object(folder / "parts.json", report)
    unknown = sorted(set(stored) - set(pictures))
    if unknown:
        report.add(
            "warning",
            "parts-unknown",
            f"parts.json names {counted(len(unknown), 'stem')} without a picture.",
            "Take them out of parts.json.",
            tuple(unknown),
        )
    return {stem: str(stored.get(stem, stem)) for stem in pictures}


def _sides(folder: Path, pictures: dict[str, Path], report: Report) -> dict[str, str]:
    path = folder / "split.json"
    if not path.exists() and report.addition:
        return dict.fromkeys(pictures, "train")
    if not path.exists():
        report.add(
            "warning",
            "no-split",
            "There is no split.json: every frame trains and nothing is kept for the exam.",
            'Write {"train": [stems], "test": [stems]}, whole parts on one side; --write-split proposes it.',
        )
        return dict.fromkeys(pictures, "train")
    stored = _object(path, report)
    lists: dict[str, list[str]] = {}
    for name in SIDES:
        listed = stored.get(name, [])
        lists[name] = [str(stem) for stem in listed] if isinstance(listed, list) else []
        if not isinstance(listed, list):
            report.add("error", "json", f"split.json has no list under {name!r}.", "Write a list of stems.")
    _split_findings(lists, pictures, report)
    test = set(lists["test"])
    return {stem: "test" if stem in test else "train" for stem in pictures}


def _split_findings(lists: dict[str, list[str]], pictures: dict[str, Path], report: Report) -> None:
    train, test = set(lists["train"]), set(lists["test"])
    found = {
        "split-unknown": (
            sorted((train | test) - set(pictures)),
            "lists stems that have no picture",
            "Take them out of split.json, or bring the pictures.",
        ),
        "split-unlisted": (
            sorted(set(pictures) - train - test),
            "leaves pictures out",
            "Add each to train or to test, with all frames of its part.",
        ),
        "split-both": (
            sorted(train & test),
            "lists stems in train and in test",
            "Keep each on one side; an exam frame is never trained on.",
        ),
    }
    for code, (stems, words, remedy) in found.items():
        if stems:
            report.add("error", code, f"split.json {words}: {len(stems)}.", remedy, tuple(stems))
    if not test:
        report.add(
            "warning",
            "no-split",
            "split.json keeps no frame for the exam.",
            "List one part in five under test; --write-split proposes which.",
        )


def _cut_parts(side: dict[str, str], parts: dict[str, str], report: Report) -> None:
    """Parts that the split cuts through."""
    of: dict[str, dict[str, list[str]]] = {}
    for stem, part in parts.items():
        of.setdefault(part, {}).setdefault(side[stem], []).append(stem)
    cut = {part: stems for part, stems in of.items() if len(stems) > 1}
    if cut:
        places = tuple(
            f"{part}: train {', '.join(stems['train'][:3])}; test {', '.join(stems['test'][:3])}"
            for part, stems in sorted(cut.items())
        )
        report.add(
            "error",
            "part-cut",
            f"The split cuts through {counted(len(cut), 'part')}: the exam shows known parts.",
            "Move all frames of each part to one side in split.json; --write-split proposes how.",
            places,
        )


def _names(folder: Path, report: Report) -> dict[int, str] | None:
    if not (folder / "classes.json").exists():
        return None
    try:
        return class_names(folder, [])
    except DatasetError as error:
        report.add("error", "classes", str(error), "Correct classes.json.", ("classes.json",))
        return None
