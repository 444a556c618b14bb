"""The border weights against the usual code, which transforms the whole picture once an instance.

Bar: 512x512 with 200 instances at least 100 times as fast as the usual code, error below 1e-4;
time grows with the pixels, not with pixels times instances.

    python -m benchmarks.weight_map
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.rows import append_row, verdict
from trainer.weights import SIGMA, W0, border_weights

BAR_TIMES, BAR_ERROR, BAR_DENSE = 100.0, 1e-4, 2.0
TABLE = [
    (256, 50),
    (512, 50),
    (512, 200),
    (512, 800),
    (1024, 50),
    (1024, 200),
    (1024, 800),
    (2048, 200),
    (2048, 3200),
]
USUAL_UP_TO = 200
"""The usual code holds a float64 plane an instance and takes seconds; it runs up to this many at 512."""


def usual(instances: NDArray[np.int32], background: NDArray[np.bool_]) -> NDArray[np.float64]:
    """As most public U-Net code does it: a transform of the whole picture for each instance, then a sort."""
    ids = [i for i in np.unique(instances) if i]
    distances = np.stack([ndimage.distance_transform_edt(instances != i) for i in ids], axis=-1)
    distances.sort(axis=-1)
    return np.where(
        background, W0 * np.exp(-((distances[..., 0] + distances[..., 1]) ** 2) / (2 * SIGMA**2)), 0
    )


def discs(size: int, count: int, seed: int) -> NDArray[np.int32]:
    """`count` discs that cover about a quarter of the picture, some of them touching or overlapping."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((size, size), np.int32)
    radius = max(2.0, size * (0.25 / (np.pi * count)) ** 0.5)
    label = 0
    while label < count:
        y, x = rng.integers(0, size, 2)
        before = picture.copy() if count <= USUAL_UP_TO else None
        cv2.circle(picture, (int(x), int(y)), int(radius * rng.uniform(0.6, 1.4)), label + 1, -1)
        # A disc that hides an earlier one would leave fewer instances than the table says.
        if before is not None and len(np.unique(picture)) != label + 2:
            picture = before
            continue
        label += 1
    return np.unique(picture, return_inverse=True)[1].reshape(picture.shape).astype(np.int32)


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def measure(size: int, count: int, seed: int) -> dict[str, float]:
    """One row of the table."""
    instances = discs(size, count, seed)
    background = instances == 0
    row: dict[str, float] = {"size": size, "instances": int(instances.max())}
    row["ms"] = milliseconds(lambda: border_weights(instances, background), 7)
    row["ns_per_px"] = row["ms"] * 1e6 / size**2
    if count <= USUAL_UP_TO and size <= 512:
        row["usual_ms"] = milliseconds(lambda: usual(instances, background), 3)
        row["times"] = row["usual_ms"] / row["ms"]
        row["error"] = float(
            np.abs(border_weights(instances, background) - usual(instances, background)).max()
        )
    return row


def main() -> int:
    print(f"{'size':>10} {'instances':>9} {'ms':>9} {'ns/px':>7} {'usual ms':>9} {'times':>6} {'error':>9}")
    rows = []
    for size, count in TABLE:
        row = measure(size, count, seed=1)
        rows.append(row)
        extra = f"{row['usual_ms']:9.0f} {row['times']:6.0f} {row['error']:9.1e}" if "times" in row else ""
        print(
            f"{size:>5}x{size:<4} {row['instances']:>9} {row['ms']:9.2f} {row['ns_per_px']:7.1f} {extra}",
            flush=True,
        )
    main_row = next(row for row in rows if (row["size"], row["instances"]) == (512, 200))
    few = next(row for row in rows if (row["size"], row["instances"]) == (1024, 50))
    many = next(row for row in rows if row["size"] == 1024 and row["instances"] > 700)
    growth = many["ms"] / few["ms"]
    more = many["instances"] / few["instances"]
    fast = main_row["times"] >= BAR_TIMES and main_row["error"] < BAR_ERROR
    print(
        f"512x512, 200 instances: {main_row['times']:.0f} times the usual code, error {main_row['error']:.1e}"
        f" (bar: >= {BAR_TIMES:.0f}, < {BAR_ERROR:.0e}): {verdict(fast)}"
    )
    print(
        f"1024x1024, {more:.0f} times the instances on the same pixels: {growth:.1f} times the time"
        f" (bar: below half of {more:.0f}): {verdict(growth < more / 2)}"
    )
    large = max(rows, key=lambda row: row["size"] * row["instances"])
    dense = large["ns_per_px"] / main_row["ns_per_px"]
    print(
        f"16 times the pixels and the instances: {dense:.2f} times the time a pixel"
        f" (bar: below {BAR_DENSE}): {verdict(dense < BAR_DENSE)}"
    )
    holds = bool(fast and growth < more / 2 and dense < BAR_DENSE)
    append_row("weight_map", {"table": rows, "dense_ns_per_px": dense, "holds": holds})
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
