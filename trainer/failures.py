"""What ends a training from outside, in words: memory that is full, another process that is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cv2
import torch

from inspector.errors import InspectionError
from inspector.tiling import Geometry
from trainer.config import FitConfig
from trainer.ranks import Ranks
from trainer.sampler import TileSampler

_FULL = ("DefaultCPUAllocator", "ALLOC_FAILED", "out of memory", "Insufficient memory", "bad_alloc")
_GONE = ("Connection closed by peer", "Connection reset", "Broken pipe", "Timed out waiting", "NCCL")


class OutOfMemory(InspectionError):
    """The memory does not hold a step, or the pictures."""


class ProcessLost(InspectionError):
    """Another process of the run has ended or does not answer."""


def memory_told(config: FitConfig, ranks: Ranks, sampler: TileSampler) -> AbstractContextManager[None]:
    """Raises OutOfMemory, which says what to lower, where a step finds no memory."""
    return _told(lambda: _lower(config, ranks, sampler))


def loading_told(folders: Sequence[Path]) -> AbstractContextManager[None]:
    """Raises OutOfMemory, which names the folders, where their pictures find no memory."""
    named = ", ".join(map(str, folders))
    return _told(
        lambda: (
            f"The memory of this machine does not hold the pictures of {named}, all of which stay there while"
            " they train; give fewer or smaller ones, or train where there is more of it."
        )
    )


@contextmanager
def _told(words: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError, cv2.error) as error:
        if is_memory(error):
            raise OutOfMemory(words()) from error
        raise


@contextmanager
def peers_told(ranks: Ranks, remedy: str) -> Iterator[None]:
    """Raises ProcessLost with the remedy for torch's own errors about a process that is gone."""
    try:
        yield
    except RuntimeError as error:
        if ranks.world > 1 and is_lost(error):
            raise ProcessLost(
                f"Another process of this run has ended or does not answer; {remedy}."
            ) from error
        raise


def is_memory(error: BaseException) -> bool:
    """Whether torch, a GPU library, numpy or OpenCV found no memory."""
    # By OpenCV's words: it keeps an error's number at the class, where another thread writes it anew.
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in _FULL)


def is_lost(error: BaseException) -> bool:
    """Whether a peer of a distributed run is gone."""
    known = isinstance(error, torch.distributed.DistError)
    return known or any(words in str(error) for words in _GONE)


def _lower(config: FitConfig, ranks: Ranks, sampler: TileSampler) -> str:
    count, (height, width) = -(-sampler.tiles // ranks.world), sampler.out
    return (
        f"The memory of {ranks.device} does not hold a step of {count} x {height}x{width} px at base"
        f" {config.base}, depth {config.depth}; lower {_smaller(config, ranks.world, sampler)} in a file for"
        " --config, or --base."
    )


def _smaller(config: FitConfig, world: int, sampler: TileSampler) -> str:
    """The settings of half as many tiles for each process, or of one tile of half the side."""
    count, (height, width) = -(-sampler.tiles // world), sampler.out
    if count > 1:
        return f"step_px (now {config.step_px}) to {count // 2 * world * height * width}"
    # Not tile_px itself, which pictures that are smaller than it do not reach.
    side = max(4, max(height, width) // config.crops // 2)
    edge = Geometry(config.depth).output_at_least(config.crops * side)
    step_px = world * min(height, edge) * min(width, edge)
    tile = f"tile_px (now {config.tile_px}) to {side}"
    # The same step in smaller tiles is more of them, with more halo in all, unless it is far below one tile.
    alone = config.step_px <= step_px
    return tile if alone else f"both {tile} and step_px (now {config.step_px}) to {step_px}"
