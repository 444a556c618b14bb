"""VOC's mask files: palette PNGs and true-colour ones, by VOC's own 256 colours or by a list of names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from inspector.errors import DatasetError
from inspector.types import Mask
from trainer.folder import IGNORE

LABELMAP = "labelmap.txt"
Colour = tuple[int, int, int]
Names = dict[Colour, str] | list[str]
"""Class name by colour, or by index; '' is no class."""


def palette() -> list[Colour]:
    """The 256 colours of VOC: bits of the index, three at a time, from the highest bit of R, G, B on."""
    colours = []
    for index in range(256):
        colour = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                colour[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        colours.append((colour[0], colour[1], colour[2]))
    return colours


def write_palette(path: Path, indices: Mask) -> None:
    """A palette PNG (H, W) in VOC's colours. Raises OSError when the disk does not take it."""
    picture = PIL.Image.fromarray(indices)
    picture.putpalette([channel for colour in palette() for channel in colour])
    picture.save(path)


def class_mask(path: Path, names: Names) -> tuple[Mask, dict[int, str]]:
    """The mask with ids that the second value names."""
    stored, colours = _stored(path)
    if isinstance(names, dict) and colours != []:
        if colours is None:
            return _by_colour(_codes(stored), path, names)
        # Of a palette PNG the colours count: tools number them as they like.
        lookup = np.full(256, -1, np.int64)
        lookup[: len(colours)] = [_code(colour) for colour in colours]
        return _by_colour(lookup[stored], path, names)
    names = list(names.values()) if isinstance(names, dict) else names
    indices = indices_of(path)
    by_id = {index: name for index, name in enumerate(names) if name}
    for value in np.unique(indices[(indices > 0) & (indices != IGNORE)]).tolist():
        if not names:
            by_id[value] = f"class_{value}"
        elif value not in by_id:
            raise _unknown(path, f"the index {value}")
    return indices, by_id


def _by_colour(codes: NDArray[np.int64], path: Path, names: dict[Colour, str]) -> tuple[Mask, dict[int, str]]:
    by_id = dict(enumerate((name for name in names.values() if name), start=1))
    ids = {name: class_id for class_id, name in by_id.items()}
    values = {_code(colour): ids.get(name, 0) for colour, name in names.items()}
    values.setdefault(_code(palette()[IGNORE]), IGNORE)
    values.setdefault(0, 0)
    mask = np.zeros(codes.shape, np.uint8)
    for code in np.unique(codes).tolist():
        if code not in values:
            raise _unknown(path, "an index without a colour" if code < 0 else _colour_words(code))
        mask[codes == code] = values[code]
    return mask, by_id


def indices_of(path: Path) -> NDArray[np.uint8]:
    """Palette indices; those of VOC's own palette for a PNG in true colour."""
    stored, colours = _stored(path)
    if colours is not None:
        return stored
    codes = _codes(stored)
    table = {_code(colour): index for index, colour in enumerate(palette())}
    mask = np.zeros(codes.shape, np.uint8)
    for code in np.unique(codes).tolist():
        if code not in table:
            raise _unknown(path, _colour_words(code))
        mask[codes == code] = table[code]
    return mask


def _codes(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    wide = rgb.astype(np.int64)
    return np.asarray((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2])


def _code(colour: Colour) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


def _colour_words(code: int) -> str:
    return f"the colour {code >> 16},{code >> 8 & 255},{code & 255}"


def _unknown(path: Path, what: str) -> DatasetError:
    return DatasetError(
        f"{path} holds {what}, which is no class; name it in {LABELMAP}, and save masks without soft edges"
        " or JPEG."
    )


def _stored(path: Path) -> tuple[NDArray[np.uint8], list[Colour] | None]:
    """(indices (H, W), their colours; [] for a gray PNG), or (RGB (H, W, 3), None) in true colour."""
    try:
        with PIL.Image.open(path) as picture:
            if picture.mode in ("P", "L"):
                flat = picture.getpalette("RGB") if picture.mode == "P" else None
                colours = (
                    None if flat is None else [(r, g, b) for r, g, b in zip(*[iter(flat)] * 3, strict=True)]
                )
                return np.asarray(picture, np.uint8), colours or []
            return np.asarray(picture.convert("RGB"), np.uint8), None
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); export it again.") from error


def object_codes(path: Path) -> NDArray[np.int64]:
    """A number for each pixel's object, 0 = none: the palette index, or the colour as one number."""
    stored, colours = _stored(path)
    return stored.astype(np.int64) if colours is not None else _codes(stored)
