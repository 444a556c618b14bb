"""Instances: found, invented, merged and split ones, SEG of the Cell Tracking Challenge, AP at IoU 0.5."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.types import Mask
from trainer.metrics.intervals import mean_by_parts, rate_by_parts, ratio
from trainer.metrics.judged import Judged
from trainer.metrics.parting import Parting, part_at_necks, without_specks
from trainer.weights import IGNORE, instances_of

COUNTED = ("true", "predicted", "hits", "jaccard", "merges", "merged", "splits", "split")
"""True and predicted instances; pairs with an IoU above 0.5; sum of SEG's Jaccard indices; merges too
many to undo and the true instances in them; pieces too many and the true instances in pieces."""
SHARES = ("seg", "ap50")
"""Figures that are asked for by name."""
PIECE = 10
"""A piece holds at least one in so many pixels of the instance it splits, as a found defect does."""
_NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def grow_back(mask: Mask, instances: NDArray[np.int32]) -> NDArray[np.int32]:
    """The instances with the 1 px ridge between those of one class given back to the larger one.

    Undoes `trainer.weights.open_touching`: a network that was trained on ridges predicts them, and
    they are no part of the truth. mask: uint8 (H, W) of class ids. instances: (H, W), 0 = none.
    Where two are about equally large, nobody can tell which gave the ridge; and a gap of one pixel
    that the truth has as well is closed too. Both cost a perfect prediction a little of its SEG.
    """
    # A ridge pixel sees two instances: the highest and the lowest label around it differ.
    labels = instances.astype(np.float32)
    square = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(labels, square)
    lowest = -cv2.dilate(np.where(labels > 0, -labels, -np.inf).astype(np.float32), square)
    ys, xs = np.nonzero((mask == 0) & (instances == 0) & (highest > 0) & (highest != lowest))
    padded = np.pad(instances, 1)
    seen = np.stack([padded[ys + 1 + dy, xs + 1 + dx] for dy, dx in _NEIGHBOURS], axis=1)
    sizes = np.bincount(instances.ravel())
    class_of = np.zeros(len(sizes), np.int64)
    class_of[instances.ravel()] = mask.ravel()
    kinds = class_of[seen]
    rivals = (seen[:, :, None] != seen[:, None, :]) & (kinds[:, :, None] == kinds[:, None, :])
    between = (rivals & (seen > 0)[:, None, :]).any(axis=2) & (seen > 0)
    # Larger first, then the lower label.
    weight = np.where(between, sizes[seen] * len(sizes) - seen, -1)
    takes = weight.argmax(axis=1)
    grown = instances.copy()
    chosen = between.any(axis=1)
    grown[ys[chosen], xs[chosen]] = seen[np.arange(len(seen)), takes][chosen]
    return grown


def predicted_instances(mask: Mask, partings: Sequence[Parting] = ()) -> NDArray[np.int32]:
    """8-connected components of each class, grown back over the ridge; labels, and 0 on background.

    partings: what else tells them apart, one for each defect class; () for nothing else.
    """
    instances = instances_of(mask)
    for k, parting in enumerate(partings):
        if parting.necks:
            instances = part_at_necks(instances, mask == k + 1)
    grown = grow_back(mask, instances)
    return without_specks(grown, mask, partings) if any(p.speck_px for p in partings) else grown


def count_instances(truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> NDArray[np.float64]:
    """The numbers of COUNTED of one frame and class, from the labels of its pixels, 0 = none.

    SEG: a true instance R is matched by the predicted S that holds more than half of it and gives
    |R & S| / |R | S|, else 0. Source: Maska et al. 2014, section 2.4 of the supplement.
    hits: IoU above 0.5, where no instance can have two partners (Data Science Bowl 2018).
    A merge: one S holds more than half of several R (Matula et al. 2015, "needing a split"). A
    split, the other way round: several S lie by more than half in one R, each over a tenth of it.
    """
    sizes, said_sizes = (np.bincount(labels.ravel()) for labels in (truth, predicted))
    # Only pairs that meet are looked at: a large frame has thousands of either.
    both = (truth > 0) & (predicted > 0)
    pairs, shared = np.unique(
        truth[both].astype(np.int64) * len(said_sizes) + predicted[both], return_counts=True
    )
    true, said = np.divmod(pairs, len(said_sizes))
    iou = shared / (sizes[true] + said_sizes[said] - shared)
    held = 2 * shared > sizes[true]
    pieces = (2 * shared > said_sizes[said]) & (PIECE * shared >= sizes[true])
    in_one, in_pieces = np.bincount(said[held]), np.bincount(true[pieces])
    numbers = (
        np.count_nonzero(sizes[1:]),
        np.count_nonzero(said_sizes[1:]),
        np.count_nonzero(iou > 0.5),
        iou[held].sum(),
        (in_one[in_one > 1] - 1).sum(),
        in_one[in_one > 1].sum(),
        (in_pieces[in_pieces > 1] - 1).sum(),
        np.count_nonzero(in_pieces > 1),
    )
    return np.array(numbers, np.float64)


class InstanceFigures:
    """SEG, AP50, merges and splits over frames, of each class and of all together."""

    def __init__(self, classes: Sequence[str], also: Collection[str]) -> None:
        """also: which of `seg` and `ap50` were asked for; the counts come with either."""
        self._also = frozenset(also)
        self._told_apart, self._regions = _Tally(classes), _Tally(classes)

    def update(self, judged: Judged) -> None:
        """Count one frame. Ignored pixels belong to no instance."""
        self._told_apart.update(judged, predicted_instances(judged.predicted, judged.partings))
        if any(parting.words for parting in judged.partings):
            self._regions.update(judged, predicted_instances(judged.predicted))

    def json(self) -> dict[str, Any]:
        """seg and ap50 where asked, with intervals by part, and `instances` with all counts.

        ap50 is over all instances, ap50_by_frame the mean over the frames that have a true or a predicted
        one, where a crowded frame counts like any other. Where partings tell instances apart, `regions` has
        all of it for the 8-connected regions, as the line counts them.
        """
        counts = self._told_apart.json()
        found = {name: counts.pop(name) for name in list(counts) if name.split("_")[0] in SHARES}
        found = {name: value for name, value in found.items() if name.split("_")[0] in self._also}
        found["instances"] = counts
        return found | ({"regions": self._regions.json()} if self._regions.frames else {})


class _Tally:
    """Counts of the frames' instances, told apart in one way."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._parts: dict[str, NDArray[np.float64]] = {}
        """(classes, numbers of COUNTED) of each part."""
        self._frames: dict[str, NDArray[np.float64]] = {}
        """Sum of each part's frames' own average precisions, and of how many frames."""
        self.frames = 0

    def update(self, judged: Judged, said: NDArray[np.int32]) -> None:
        """said: (H, W) labels of the predicted instances."""
        valid = judged.truth != IGNORE
        true = instances_of(judged.truth, judged.instances)
        class_of = np.zeros(int(said.max(initial=0)) + 1, np.int64)
        named = judged.predicted > 0
        class_of[said[named]] = judged.predicted[named]  # a ridge pixel has the class of who took it
        counts = np.zeros((len(self._classes), len(COUNTED)))
        for k in range(len(self._classes)):
            of_truth = np.where(judged.truth == k + 1, true, 0)
            of_model = np.where(valid & (class_of[said] == k + 1), said, 0)
            counts[k] = count_instances(of_truth, of_model)
        self._parts[judged.part] = self._parts.get(judged.part, 0) + counts
        total = dict(zip(COUNTED, counts.sum(0).tolist(), strict=True))
        either = total["true"] + total["predicted"] - total["hits"]
        of_frame = np.array([total["hits"] / either, 1.0] if either else [0.0, 0.0])
        self._frames[judged.part] = self._frames.get(judged.part, 0) + of_frame
        self.frames += 1

    def json(self) -> dict[str, Any]:
        """Shares and counts of all classes together, and of each in `classes`."""
        parts, frames = list(self._parts.values()), list(self._frames.values())
        rows = {name: _figures([part[k] for part in parts]) for k, name in enumerate(self._classes)}
        by_frame = ratio(*np.sum(frames, axis=0).tolist()) if frames else None
        return {
            **_figures([part.sum(0) for part in parts]),
            "ap50_by_frame": by_frame,
            "ap50_by_frame_95": mean_by_parts(frames),
            "classes": rows,
        }


def _figures(parts: list[NDArray[np.float64]]) -> dict[str, Any]:
    """parts: the numbers of COUNTED of each part."""
    table = np.array(parts).reshape(-1, len(COUNTED))
    of = dict(zip(COUNTED, table.T, strict=True))
    total = dict(zip(COUNTED, table.sum(0).tolist(), strict=True))
    either = of["true"] + of["predicted"] - of["hits"]
    seg = [np.array(pair) for pair in zip(of["jaccard"], of["true"], strict=True)]
    return {
        "seg": ratio(total["jaccard"], total["true"]),
        "seg_95": mean_by_parts(seg),
        "ap50": ratio(total["hits"], float(either.sum())),
        "ap50_95": _rate_95(of["hits"], either),
        "true": int(total["true"]),
        "predicted": int(total["predicted"]),
        "matched": int(total["hits"]),
        "missed": int(total["true"] - total["hits"]),
        "invented": int(total["predicted"] - total["hits"]),
        **{name: int(total[name]) for name in ("merges", "merged", "splits", "split")},
        "merged_95": _rate_95(of["merged"], of["true"]),
        "split_95": _rate_95(of["split"], of["true"]),
    }


def _rate_95(hits: NDArray[np.float64], totals: NDArray[np.float64]) -> tuple[float, float]:
    return rate_by_parts(hits.astype(np.int64).tolist(), totals.astype(np.int64).tolist())
