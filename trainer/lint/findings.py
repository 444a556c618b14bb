"""What lint says: findings with their remedy, and the figures of the folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble and every place where it is."""

    level: Level
    """error: `trainer` would refuse the folder, or figures made with it would be wrong."""
    code: str
    """Short name that a script can look for, such as `size` or `same-picture`."""
    words: str
    """One sentence: what is there."""
    remedy: str
    """One sentence: what to do."""
    places: tuple[str, ...] = ()
    """File names, pairs of them, or names with a figure; the worst first."""

    def json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return {
            "level": self.level,
            "code": self.code,
            "words": self.words,
            "remedy": self.remedy,
            "places": list(self.places),
        }


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What a class shows in one side of the split."""

    pixels: int
    share: float
    """Part of all pixels that are not ignored."""
    defects: int
    frames: int


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """How wide the labels of one class are beside what is seen."""

    measured: int
    """Labels with a visible edge, out of `labels` that were tried."""
    labels: int
    width_px: float
    """Median of the widest place of a label."""
    excess_px: float
    """Median distance by which a label reaches beyond the visible edge, on each side."""
    ratio: float
    """Median of label width by visible width; 1 = fits."""


@dataclass(slots=True)
class Report:
    """Everything that was found out about a dataset folder."""

    folder: Path
    addition: bool = False
    """Frames that an operator flagged, to be trained on beside a dataset that has the rest."""
    frames: dict[str, int] = field(default_factory=dict)
    """Number of frames in each side of the split."""
    good: dict[str, int] = field(default_factory=dict)
    """Frames without any defect, in each side."""
    sizes: tuple[tuple[int, int], ...] = ()
    classes: dict[str, dict[str, ClassRow]] = field(default_factory=dict)
    """Class name -> side of the split -> row."""
    edges: dict[str, EdgeRow] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    """Stem -> part as parts.json says; a frame that it leaves out is a part of its own."""
    shown: dict[str, frozenset[int]] = field(default_factory=dict)
    """Stem -> class ids that its mask shows; none where the mask cannot be used."""
    groups: list[list[str]] = field(default_factory=list)
    """Stems that show one and the same part, as far as pictures tell; two or more in each."""

    def add(self, level: Level, code: str, words: str, remedy: str, places: tuple[str, ...] = ()) -> None:
        """Note one finding."""
        self.findings.append(Finding(level, code, words, remedy, places))

    def of(self, level: Level) -> list[Finding]:
        """The findings of one level."""
        return [found for found in self.findings if found.level == level]

    def proposed_parts(self) -> dict[str, str]:
        """Stem -> part, with the parts joined whose pictures show the same thing."""
        joined = {part: part for part in self.parts.values()}

        def root(part: str) -> str:
            while joined[part] != part:
                part = joined[part]
            return part

        for group in self.groups:
            first = root(self.parts[group[0]])
            for stem in group[1:]:
                joined[root(self.parts[stem])] = first
        return {stem: root(part) for stem, part in self.parts.items()}


def worded(template: str, number: int, noun: str = "file") -> str:
    """`{n} [has|have] one id.` for so many files: `1 file has one id.`, `2 files have one id.`"""
    chosen = re.sub(r"\[([^|\]]*)\|([^\]]*)\]", lambda forms: forms[1 if number == 1 else 2], template)
    return chosen.format(n=counted(number, noun))


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
