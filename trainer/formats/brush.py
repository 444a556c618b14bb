"""Label Studio's brush strokes: the RGBA picture of a region as packed runs of bytes.

A bit stream: 32 bits number of values, 5 bits word size - 1, four times 4 bits (length size - 1);
then blocks of: 1 bit repeated or not, 2 bits which length size, the length - 1, and one value, or
as many values as the length says. Values are R, G, B, A of each pixel by rows; A counts.
Source: the rle-pack format of thi.ng/umbrella, which Label Studio uses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DatasetError
from trainer.formats.regions import Size
from trainer.formats.runs import counts_of

CHANNELS = 4
OPAQUE = 128
"""Alpha from which a pixel is painted; a stroke's soft rim is below it, as in Label Studio's own masks."""
_WORD = 8
_LENGTHS = (3, 4, 8, 16)
_BROKEN = "A brush stroke of Label Studio is broken; export the tasks again as JSON."


def brush_pixels(stroke: Sequence[int], size: Size) -> NDArray[np.bool_]:
    """The painted pixels (H, W) of one stroke. Raises DatasetError when it does not fit the size."""
    if not all(type(byte) is int and 0 <= byte < 256 for byte in stroke):
        raise DatasetError(_BROKEN)
    bits = np.unpackbits(np.asarray(stroke, np.uint8))
    text = (bits + ord("0")).tobytes().decode("ascii")
    if len(text) < 53:
        raise DatasetError(_BROKEN)
    count, word = int(text[:32], 2), int(text[32:37], 2) + 1
    if count != size[0] * size[1] * CHANNELS or word != _WORD:
        raise DatasetError(
            f"A brush stroke holds {count // CHANNELS} pixels, {size[0]}x{size[1]} has {size[0] * size[1]};"
            " it was painted on another size. Export picture and labels again together."
        )
    lengths = [int(text[37 + 4 * n : 41 + 4 * n], 2) + 1 for n in range(4)]
    values = np.zeros(count, np.uint8)
    at, done = 53, 0
    while done < count:
        if at + 3 > len(text):
            raise DatasetError(_BROKEN)
        repeated, bits_of_length = text[at] == "1", lengths[int(text[at + 1 : at + 3], 2)]
        start = at + 3 + bits_of_length
        if start > len(text):
            raise DatasetError(_BROKEN)
        length = int(text[at + 3 : start], 2) + 1
        at = start + _WORD * (1 if repeated else length)
        if at > len(text) or done + length > count:
            raise DatasetError(_BROKEN)
        values[done : done + length] = np.packbits(bits[start:at])
        done += length
    return values.reshape(*size, CHANNELS)[..., 3] >= OPAQUE


def brush_stroke(pixels: NDArray[np.bool_]) -> list[int]:
    """The stroke that paints these pixels (H, W), 255 in all four channels."""
    blocks = [f"{pixels.size * CHANNELS:032b}", f"{_WORD - 1:05b}", *(f"{n - 1:04b}" for n in _LENGTHS)]
    for index, pixel_count in enumerate(counts_of(pixels)):
        left = pixel_count * CHANNELS
        while left:
            length = min(left, 1 << _LENGTHS[-1])
            which = next(n for n, size in enumerate(_LENGTHS) if length <= 1 << size)
            blocks.append(f"1{which:02b}{length - 1:0{_LENGTHS[which]}b}{'1' * 8 if index % 2 else '0' * 8}")
            left -= length
    text = "".join(blocks)
    bits = np.frombuffer(text.encode("ascii"), np.uint8) - ord("0")
    return [int(byte) for byte in np.packbits(bits)]
