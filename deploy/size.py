"""Which tile to compile for frames of a size, and how much the builder may take of the GPU."""

from __future__ import annotations

from inspector.errors import MemoryLimitError, UsageError
from inspector.package import ModelPackage
from inspector.tiling import TilePlan, cheapest_plan

MB = 1 << 20
WORKSPACE_WITHOUT_GPU = 1024 * MB
_SHARE_FOR_MAPS, _SHARE_FOR_WORKSPACE = 0.5, 0.5
MOST_ELEMENTS = (1 << 31) - 1
"""Of one tensor, a limit of TensorRT."""


def workspace_bytes(asked_mb: int | None, free_bytes: int | None) -> int:
    """What the builder may take: as asked, but never more than is free; half of what is free by default.

    free_bytes: of the GPU's memory, None without one. Raises UsageError when more is asked than is free.
    """
    if asked_mb is not None:
        if free_bytes is not None and asked_mb * MB > free_bytes:
            raise UsageError(
                f"--workspace-mb {asked_mb} is more than the {free_bytes // MB} MB that are free on the GPU;"
                " give less, or free some."
            )
        return asked_mb * MB
    return WORKSPACE_WITHOUT_GPU if free_bytes is None else int(_SHARE_FOR_WORKSPACE * free_bytes)


def bytes_per_input_px(package: ModelPackage) -> int:
    """GPU memory for each input pixel, from the widest place: the last level up, where a skip map, the
    map that came up and both joined live in fp16, beside the softmax in float32. A calculation, not
    a measurement."""
    planes = len(package.classes) + 1
    return 4 * package.manifest.base * 2 + 12 * planes + 5 * package.manifest.channels


def plan_for_gpu(
    package: ModelPackage, frame: tuple[int, int], batch: int, free_bytes: int | None
) -> TilePlan:
    """The plan with the fewest input pixels whose tile fits the GPU; the whole frame where that fits.

    Raises MemoryLimitError where not even the smallest does.
    """
    base = package.manifest.base
    most = MOST_ELEMENTS // (2 * base * batch)
    if free_bytes is not None:
        most = min(most, int(_SHARE_FOR_MAPS * free_bytes) // (bytes_per_input_px(package) * batch))
    try:
        return cheapest_plan(frame, package.geometry, most)
    except MemoryLimitError as error:
        raise MemoryLimitError(
            f"No tile for frames of {frame[0]}x{frame[1]} fits the {(free_bytes or 0) // MB} MB that are free"
            " on the GPU; free some."
        ) from error
