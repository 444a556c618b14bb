"""One frame read whole: what its files are, what its mask holds, and what is wrong with either."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError, ShapeMismatch
from inspector.inputs import read_image, to_input
from inspector.types import Image, Mask
from trainer.folder import IGNORE, read_mask
from trainer.lint.edges import LabelEdge, label_edges
from trainer.lint.layout import Layout
from trainer.lint.twins import shrunk

SPECK_PX = 3
"""A piece of at most so many pixels is more likely a slip of the brush than a defect."""
MANY_VALUES = 32
"""A mask without named classes that has more values is a picture with soft edges."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one file; frames with the same code are reported together."""

    code: str
    place: str


@dataclass(slots=True)
class FrameFacts:
    """What one frame holds."""

    stem: str
    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, int] | None = None
    """(height, width); None when the picture cannot be read."""
    stored: str = ""
    """Depth and colour as stored, such as `8 bit gray`."""
    exact: str = ""
    """Hash of the picture's pixels."""
    small: NDArray[np.uint8] | None = None
    """The picture as twins are compared."""
    pixels: dict[int, int] = field(default_factory=dict)
    """Mask value -> pixels, 0 and 255 among them; empty when the mask cannot be used."""
    defects: dict[int, int] = field(default_factory=dict)
    """Class id -> instances, or 8-connected pieces where there are none."""
    specks: int = 0
    edges: list[LabelEdge] = field(default_factory=list)


def frame_facts(layout: Layout, stem: str) -> FrameFacts:
    """Read picture, mask and instances of one stem; never raises for what is in the files."""
    facts = FrameFacts(stem)
    gray = _picture(layout.pictures[stem], facts)
    mask = _mask(layout, stem, facts)
    if mask is None:
        return facts
    facts.pixels = {int(value): int(count) for value, count in enumerate(np.bincount(mask.ravel())) if count}
    fits = facts.size is None or mask.shape == facts.size
    if not fits:
        facts.problems.append(
            Problem("size", f"masks/{stem}.png is {_by(mask.shape)}, its picture {_by(facts.size)}")
        )
    instances = _instances(layout.folder / "instances" / f"{stem}.png", mask, facts)
    _defects(mask, instances, facts)
    if gray is not None and fits:
        facts.edges = label_edges(gray, mask)
    return facts


def _picture(path: Path, facts: FrameFacts) -> Image | None:
    """The picture in gray, and what lint keeps of it."""
    try:
        stored = read_image(path)
        gray = to_input(stored, 1)
    except (DatasetError, ShapeMismatch) as error:
        facts.problems.append(Problem("unreadable", f"images/{path.name} ({error})"))
        return None
    facts.size = (gray.shape[0], gray.shape[1])
    colour = "gray" if stored.ndim == 2 else "colour"
    facts.stored = f"{8 * stored.dtype.itemsize} bit {colour}"
    facts.exact = hashlib.sha256(repr(stored.shape).encode() + stored.tobytes()).hexdigest()
    facts.small = shrunk(gray)
    return gray


def _mask(layout: Layout, stem: str, facts: FrameFacts) -> Mask | None:
    """The mask when it can be used, with a problem noted when it cannot."""
    path = layout.folder / "masks" / f"{stem}.png"
    if not path.exists():
        return None  # the layout has said so
    try:
        mask = read_mask(path)
    except DatasetError as error:
        facts.problems.append(Problem("bad-mask", f"masks/{path.name} ({error})"))
        return None
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    ids = [int(value) for value in values if 0 < value < IGNORE]
    if layout.names is not None and (unknown := [str(i) for i in ids if i not in layout.names]):
        facts.problems.append(Problem("unknown-class", f"masks/{path.name}: {', '.join(unknown[:8])}"))
    elif layout.names is None and len(ids) > MANY_VALUES:
        facts.problems.append(Problem("soft-mask", f"masks/{path.name}: {len(ids)} different values"))
        return None
    if IGNORE in values and not ids:
        facts.problems.append(Problem("white-mask", f"masks/{path.name}"))
    return mask


def _instances(path: Path, mask: Mask, facts: FrameFacts) -> NDArray[Any] | None:
    """The instances when they are there and fit the mask."""
    if not path.exists():
        return None
    name = f"instances/{path.name}"
    try:
        stored = read_image(path)
    except DatasetError as error:
        facts.problems.append(Problem("bad-instances", f"{name} ({error})"))
        return None
    if stored.ndim != 2 or stored.dtype not in (np.uint8, np.uint16):
        facts.problems.append(Problem("bad-instances", f"{name} is no gray picture of 8 or 16 bits"))
        return None
    if stored.shape != mask.shape:
        facts.problems.append(Problem("size", f"{name} is {_by(stored.shape)}, its mask {_by(mask.shape)}"))
        return None
    defect = (mask > 0) & (mask != IGNORE)
    for code, wrong in (
        ("instance-on-good", (stored > 0) & (mask == 0)),
        ("no-instance", defect & (stored == 0)),
    ):
        if wrong.any():
            facts.problems.append(Problem(code, f"{name}: {np.count_nonzero(wrong)} px"))
    both = np.unique(np.stack([stored[defect & (stored > 0)], mask[defect & (stored > 0)]]), axis=1)[0]
    if len(both) > len(np.unique(both)):
        facts.problems.append(Problem("instance-of-two", name))
    return stored


def _defects(mask: Mask, instances: NDArray[Any] | None, facts: FrameFacts) -> None:
    """Count the defects of each class, and the specks."""
    for class_id in [value for value in facts.pixels if 0 < value < IGNORE]:
        region = mask == class_id
        count, _, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
        facts.specks += int(np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] <= SPECK_PX))
        if instances is not None:
            count = len(np.union1d(instances[region], [0]))
        facts.defects[class_id] = count - 1


def _by(size: tuple[int, ...] | None) -> str:
    return "unread" if size is None else f"{size[0]}x{size[1]}"
