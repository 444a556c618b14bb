"""Pictures as PNG without loss, written row by row: no second copy of a large picture in memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from inspector.types import Image, Mask

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BAND_BYTES = 1 << 20
_GRAY, _RGB, _SUB = 0, 2, 1


def png_parts(pixels: Image | Mask) -> Iterator[bytes]:
    """The bytes of a PNG file, part by part.

    pixels: uint8 (H, W) gray or (H, W, 3) BGR, at least one pixel. Fast rather than small: each
    pixel is taken less its left neighbour, then runs are packed.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else 3
    colour = _GRAY if channels == 1 else _RGB
    yield _SIGNATURE
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    step = max(1, _BAND_BYTES // (width * channels))
    for top in range(0, height, step):
        rows = pixels[top : top + step]
        rows = rows if channels == 1 else rows[..., ::-1]
        rows = rows.reshape(len(rows), width * channels)
        line = np.empty((len(rows), 1 + width * channels), np.uint8)
        line[:, 0] = _SUB
        line[:, 1 : 1 + channels] = rows[:, :channels]
        np.subtract(rows[:, channels:], rows[:, :-channels], out=line[:, 1 + channels :])
        packed = packer.compress(line.data)
        if packed:
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush())
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
