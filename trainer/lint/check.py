"""The whole check: every frame read once, then what only all of them together tell."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from trainer.dataset import one_thread
from trainer.folder import IGNORE
from trainer.lint.balance import balance
from trainer.lint.complaints import complaint, heard
from trainer.lint.findings import EdgeRow, Level, Report, counted, worded
from trainer.lint.frames import SPECK_PX, FrameFacts, Problem, frame_facts
from trainer.lint.layout import Layout, layout_of
from trainer.lint.twins import SAME, Twin, crowded, grouped, twins

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""
FAT_RATIO, FAT_PX = 1.4, 0.75
THIN_RATIO = 0.7
FEWEST_LABELS = 5
LIKENESS = f"Behind each is its likeness: 1 of equal pictures, {SAME} the least that counts."
KNOWN = "{n} of frames in train and test [shows|show] the same thing: the exam is known. " + LIKENESS
TWO_PARTS = (
    "{n} of frames on one side [shows|show] the same thing but [counts|count] as two parts. " + LIKENESS
)

_FRAME_FINDINGS: dict[str, tuple[Level, str, str]] = {
    "unreadable": (
        "error",
        "{n} cannot be read as [a picture|pictures].",
        "Replace the file, or take it and its mask out.",
    ),
    "damaged": (
        "warning",
        "{n} can be read, but the decoder complains: pixels may be missing.",
        "Look at each; where a part is gray or shifted, copy it again from the camera.",
    ),
    "size": (
        "error",
        "{n} of labels [does|do] not have the size of [its picture|their pictures].",
        "Draw or export it again in full size; it is never resized, since that moves edges.",
    ),
    "bad-mask": (
        "error",
        "{n} [is no mask|are no masks].",
        "Save class ids 0, 1, 2 ... as 8-bit gray PNG.",
    ),
    "soft-mask": (
        "error",
        "{n} with many values [is no class mask|are no class masks]: soft edges or a photograph.",
        "Cut it at half its white and save class ids.",
    ),
    "unknown-class": (
        "error",
        "{n} [holds|hold] class ids that classes.json does not name.",
        "Name them in classes.json, or repair the mask.",
    ),
    "bad-instances": ("error", "{n} cannot be used as instances.", "Write ids as 16-bit gray PNG."),
    "white-mask": (
        "warning",
        "{n} [holds|hold] 255 and no class: 255 means ignore, so nothing there is learned.",
        "If white was to mean the defect, write class ids (1, 2 ...) instead.",
    ),
    "instance-on-good": (
        "warning",
        "{n} [has|have] instances where the mask is good; they do not count.",
        "Draw them into the mask, or erase them from the instances.",
    ),
    "no-instance": (
        "warning",
        "{n} [leaves|leave] defect pixels without an instance; each piece becomes one.",
        "Give them an id, or leave out instances/ for this frame.",
    ),
    "instance-of-two": (
        "warning",
        "{n} [has|have] one id on two classes.",
        "Give each class its own instance.",
    ),
}


def lint(folder: Path, progress: Progress | None = None) -> Report:
    """Check a dataset folder and return all findings.

    Raises DatasetError when it is no dataset folder at all. Nothing in it is changed.
    """
    one_thread()
    report = Report(folder)
    layout = layout_of(folder, report)
    report.parts = layout.parts
    stems = list(layout.pictures)
    facts: list[FrameFacts] = []
    with heard() as said, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for found in pool.map(lambda stem: frame_facts(layout, stem), stems):
            facts.append(found)
            if progress:
                progress(len(facts), len(stems))
        complained = bool(said())
    if complained:
        _damaged(facts, layout)
    report.sizes = tuple(sorted({frame.size for frame in facts if frame.size is not None}))
    report.shown = {frame.stem: frozenset(frame.pixels) - {0, IGNORE} for frame in facts}
    _frame_findings(facts, report)
    _depths(facts, report)
    names = layout.names or _unnamed(facts)
    balance(facts, layout.side, names, report)
    _edges(facts, names, report)
    _specks(facts, report)
    _twins(facts, layout, report)
    report.findings.sort(key=lambda finding: finding.level != "error")
    return report


def _damaged(facts: list[FrameFacts], layout: Layout) -> None:
    """Note the pictures that their decoder reads with a complaint; read again to know whose it was."""
    for frame in facts:
        path = layout.pictures[frame.stem]
        if frame.size is not None and (words := complaint(path)) is not None:
            frame.problems.append(Problem("damaged", f"images/{path.name} ({words})"))


def _unnamed(facts: list[FrameFacts]) -> dict[int, str]:
    """The names that `trainer` gives where no classes.json does."""
    highest = max((value for frame in facts for value in frame.pixels if value < IGNORE), default=0)
    return {class_id: f"class_{class_id}" for class_id in range(1, highest + 1)}


def _frame_findings(facts: list[FrameFacts], report: Report) -> None:
    """What is wrong with single frames. White masks are the error of `balance` where none shows a class."""
    for code, (level, words, remedy) in _FRAME_FINDINGS.items():
        if code == "white-mask" and not any(report.shown.values()):
            continue
        places = tuple(p.place for frame in facts for p in frame.problems if p.code == code)
        if places:
            report.add(level, code, worded(words, len(places)), remedy, places)


def _depths(facts: list[FrameFacts], report: Report) -> None:
    kinds = Counter(frame.stored for frame in facts if frame.stored)
    if len(kinds) > 1:
        usual = kinds.most_common(1)[0][0]
        places = tuple(f"{frame.stem}: {frame.stored}" for frame in facts if frame.stored not in ("", usual))
        report.add(
            "warning",
            "mixed",
            f"Pictures are stored in {len(kinds)} ways; most are {usual}.",
            "A line gives one kind: convert the others, or check where they come from.",
            places,
        )


def _edges(facts: list[FrameFacts], names: dict[int, str], report: Report) -> None:
    for class_id, name in names.items():
        edges = [(frame.stem, edge) for frame in facts for edge in frame.edges if edge.class_id == class_id]
        seen = [
            (stem, edge, edge.excess_px, edge.ratio) for stem, edge in edges if edge.excess_px is not None
        ]
        if not seen:
            continue
        widths, excess, ratios = (
            [edge.width_px for _, edge, _, _ in seen],
            [e or 0.0 for _, _, e, _ in seen],
            [r or 1.0 for _, _, _, r in seen],
        )
        row = EdgeRow(
            len(seen),
            len(edges),
            float(np.median(widths)),
            float(np.median(excess)),
            float(np.median(ratios)),
        )
        report.edges[name] = row
        fat = row.ratio >= FAT_RATIO and row.excess_px >= FAT_PX
        if len(seen) < FEWEST_LABELS or not (fat or (row.ratio <= THIN_RATIO and row.excess_px <= -FAT_PX)):
            continue
        order = sorted(seen, key=lambda found: -(found[2] or 0.0) if fat else (found[2] or 0.0))
        worst: dict[str, str] = {}
        for stem, _, px, _ in order:
            worst.setdefault(stem, f"{stem}: {px:+.1f} px on each side")
        report.add(
            "warning",
            "fat-label" if fat else "thin-label",
            f"Labels of {name} are {row.ratio:.1f} times as wide as what is seen ({abs(row.excess_px):.1f}"
            f" px too {'far' if fat else 'little'} on each side; {row.measured} of {row.labels} labels show"
            " an edge).",
            "Draw to the visible edge: areas and widths in millimetres are learned from the label. It"
            " measures contrast, so look at the worst before correcting.",
            tuple(worst.values()),
        )


def _specks(facts: list[FrameFacts], report: Report) -> None:
    spotted = sorted((frame for frame in facts if frame.specks), key=lambda frame: -frame.specks)
    if spotted:
        total = sum(frame.specks for frame in spotted)
        report.add(
            "warning",
            "speck",
            f"{counted(total, 'piece')} of at most {SPECK_PX} px in {counted(len(spotted), 'mask')}.",
            "Erase slips of the brush; each counts as a defect to be found.",
            tuple(f"masks/{frame.stem}.png: {frame.specks}" for frame in spotted),
        )


def _twins(facts: list[FrameFacts], layout: Layout, report: Report) -> None:
    frames = [(frame, small) for frame in facts if (small := frame.small) is not None]
    if len(frames) < 2:
        return
    stems = [frame.stem for frame, _ in frames]
    sides = np.array([layout.side[stem] == "test" for stem in stems], np.int64)
    pairs = twins([small for _, small in frames], [frame.exact for frame, _ in frames], sides)
    groups = grouped(len(stems), pairs)
    crowd = crowded(groups, len(stems))
    if crowd:
        report.add(
            "warning",
            "all-alike",
            f"{len(crowd[0])} of {counted(len(stems), 'frame')} look like one part: lint cannot tell copies"
            " apart.",
            "Name the part of each frame in parts.json and split by part.",
            tuple(stems[i] for i in crowd[0]),
        )
        lost = {index for group in crowd for index in group}
        pairs = [pair for pair in pairs if pair.one not in lost]
        groups = [group for group in groups if group not in crowd]
    report.groups = [[stems[index] for index in group] for group in groups]
    _twin_findings(pairs, stems, layout, report)


def _twin_findings(pairs: list[Twin], stems: list[str], layout: Layout, report: Report) -> None:
    across, within = [], []
    for pair in pairs:
        one, other = stems[pair.one], stems[pair.other]
        if layout.side[one] != layout.side[other]:
            across.append(f"{one} ({layout.side[one]}) = {other} ({layout.side[other]}): {pair.likeness:.2f}")
        elif layout.parts[one] != layout.parts[other]:
            within.append(f"{one} = {other}: {pair.likeness:.2f}")
    if across:
        report.add(
            "error",
            "same-picture",
            worded(KNOWN, len(across), "pair"),
            "Move all frames of a part to one side; --write-parts and --write-split propose how.",
            tuple(across),
        )
    if within:
        report.add(
            "warning",
            "same-part",
            worded(TWO_PARTS, len(within), "pair"),
            "Give them one part in parts.json (--write-parts proposes one), else validation, which is cut"
            " by part, flatters the network.",
            tuple(within),
        )
