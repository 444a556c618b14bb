"""Which physical parts are held back: for validation from what trains, for the exam from all."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np


def held_out(shown: Mapping[str, Set[int]], fraction: float, seed: int) -> set[str]:
    """Names of the parts to hold back: of each kind the same share, at least one where two exist.

    shown: the class ids that each part shows, at least one part. A part's kind is the rarest class that
    it shows, by parts. fraction: 0 to 1. The same seed holds back the same parts, whatever their order.
    """
    frequency: dict[int, int] = {}
    for ids in shown.values():
        for class_id in ids:
            frequency[class_id] = frequency.get(class_id, 0) + 1
    kinds: dict[int, list[str]] = {}
    for name, ids in sorted(shown.items()):
        rarest = min(ids, key=lambda class_id: (frequency[class_id], class_id), default=0)
        kinds.setdefault(rarest, []).append(name)
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    for _, names in sorted(kinds.items()):
        rng.shuffle(names)
        held.update(names[: max(round(fraction * len(names)), int(len(names) > 1))])
    return held or {min(shown)}
