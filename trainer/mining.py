"""Where the network in training sees damage that is not there: what to aim tiles at from then on.

Drawn at random, a place that fools a good network comes up once in thousands of tiles, since most
of every frame has long been learned. Source: hard negative mining, Sung and Poggio 1998.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inspector.defects import mask_of
from inspector.errors import UsageError
from inspector.tiling import Geometry
from inspector.types import Mask
from trainer.checkpoint import save_atomically
from trainer.stock import FALSE_ALARM, Picture, Stock
from trainer.validate import segment_frame

FILE = "false_alarms.npz"
EACH = 4
"""Pixels kept of one false alarm, so that a large one does not hide the specks."""
DOUBT = 0.5
"""Share of a class's threshold from which a pixel counts as fooled: what nearly was a false alarm is next."""


def find_false_alarms(
    net: nn.Module, stock: Stock, thresholds: Sequence[float], geometry: Geometry, autocast: torch.autocast
) -> tuple[NDArray[np.intp], ...]:
    """For each picture (n, 2) pixels (y, x) of its false alarms; net in evaluation mode.

    thresholds: one for each defect class.
    """
    lowered = [DOUBT * threshold for threshold in thresholds]
    found = []
    for picture in stock.pictures:
        with torch.inference_mode(), autocast:
            probs = segment_frame(net, picture.image, geometry, stock.normalisation)
        found.append(_fooled(mask_of(probs, lowered), picture.mask))
    return tuple(found)


def with_false_alarms(stock: Stock, found: Sequence[NDArray[np.intp]]) -> Stock:
    """The stock with these pixels as anchors, beside those of the classes."""
    pictures = [_aimed(picture, pixels) for picture, pixels in zip(stock.pictures, found, strict=True)]
    return replace(stock, pictures=tuple(pictures))


def save_false_alarms(run: Path, found: Sequence[NDArray[np.intp]]) -> None:
    """Keep them in the RUN folder, so that a resumed run draws the same tiles."""
    rows = [np.column_stack([np.full(len(pixels), n), pixels]) for n, pixels in enumerate(found)]
    places = np.concatenate(rows).astype(np.int32)
    save_atomically(run / FILE, lambda file: np.savez_compressed(file, places=places, pictures=len(found)))


def load_false_alarms(run: Path, pictures: int) -> tuple[NDArray[np.intp], ...]:
    """What `save_false_alarms` kept of so many. Raises UsageError when the file is gone or broken."""
    path = run / FILE
    if not path.exists():
        raise UsageError(f"{path} is gone, without which the run cannot go on; start again in a new --out.")
    try:
        # From memory: numpy leaves the file of a broken archive open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            places, count = kept["places"].astype(np.intp), int(kept["pictures"])
        if count != pictures or places.ndim != 2 or places.shape[1] != 3:
            raise ValueError(f"it is of {count} pictures")
    except (OSError, ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f"{path} is not what the run wrote, and without it the run cannot go on; restore the file, or"
            " start again in a new --out."
        ) from error
    return tuple(places[places[:, 0] == n, 1:] for n in range(pictures))


def _fooled(said: Mask, truth: Mask) -> NDArray[np.intp]:
    """Pixels of predicted regions that touch no true or ignored pixel, a few of each region."""
    y, x = np.mgrid[-3:4, -3:4]
    disc = (y**2 + x**2 <= 9).astype(np.uint8)
    near = cv2.dilate((truth > 0).astype(np.uint8), disc) > 0
    count, labels = cv2.connectedComponents((said > 0).astype(np.uint8), connectivity=8)
    true_ones = np.unique(labels[near])
    rng = np.random.default_rng(count)
    pixels = np.argwhere((labels > 0) & ~np.isin(labels, true_ones))
    pixels = pixels[rng.permutation(len(pixels))]
    of_region = labels[pixels[:, 0], pixels[:, 1]]
    order = np.argsort(of_region, kind="stable")
    starts = np.searchsorted(of_region[order], of_region[order])
    return np.asarray(pixels[order[np.arange(len(order)) - starts < EACH]])


def _aimed(picture: Picture, pixels: NDArray[np.intp]) -> Picture:
    if not len(pixels):
        return picture
    return replace(picture, anchors={**picture.anchors, FALSE_ALARM: pixels})
