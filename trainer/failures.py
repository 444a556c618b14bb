"""What ends a training from outside, in words: memory that is full, another process that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from inspector.errors import InspectionError
from trainer.config import FitConfig
from trainer.ranks import Ranks
from trainer.sampler import TileSampler

_FULL = ("DefaultCPUAllocator", "ALLOC_FAILED", "out of memory")
_GONE = ("Connection closed by peer", "Connection reset", "Broken pipe", "Timed out waiting", "NCCL")


class OutOfMemory(InspectionError):
    """The processor's memory does not hold a step."""


class ProcessLost(InspectionError):
    """Another process of the run has ended or does not answer."""


@contextmanager
def memory_told(config: FitConfig, ranks: Ranks, sampler: TileSampler) -> Iterator[None]:
    """Raises OutOfMemory, which says what to lower, for torch's and numpy's own errors."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_memory(error):
            raise OutOfMemory(_lower(config, ranks, sampler)) from error
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
    """Whether torch, a GPU library or numpy found no memory."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in _FULL)


def is_lost(error: BaseException) -> bool:
    """Whether a peer of a distributed run is gone."""
    known = isinstance(error, torch.distributed.DistError)
    return known or any(words in str(error) for words in _GONE)


def _lower(config: FitConfig, ranks: Ranks, sampler: TileSampler) -> str:
    count, (height, width) = -(-sampler.tiles // ranks.world), sampler.out
    step = f"step_px (now {config.step_px}), then " if count > 1 else ""
    return (
        f"The memory of {ranks.device} does not hold a step of {count} x {height}x{width} px at base"
        f" {config.base}, depth {config.depth}; lower {step}tile_px (now {config.tile_px}) in a file for"
        " --config, or --base."
    )
