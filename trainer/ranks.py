"""The processes of one run, as torchrun starts them, and what they must agree on.

Rank 0 alone writes and speaks. All ranks do the same steps at the same time: what depends on a clock
or a signal is decided by rank 0, or by whoever was told to stop.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from inspector.errors import UsageError
from trainer.device import CPU, choose_device

PATIENCE = timedelta(minutes=15)
"""How long a process waits for the others: longer than any of them loads its data."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of the run."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU
    neighbours: int = 1
    """Processes of this run on this host, which share its cores."""

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def own(self, items: Sequence[T]) -> Sequence[T]:
        """This process's share; every item belongs to one process."""
        return items[self.rank :: self.world]

    def agreed(self, value: float) -> float:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        told = torch.tensor(value if self.first else 0.0, dtype=torch.float64)
        return float(self.total(told))

    def any(self, flag: bool) -> bool:
        """Whether it is true on any rank."""
        if self.world == 1:
            return flag
        return bool(self.total(torch.tensor(int(flag))) > 0)

    def total(self, value: Tensor) -> Tensor:
        """The sum over all ranks, on every rank; takes no part in gradients."""
        if self.world == 1:
            return value.detach()
        summed = value.detach().clone()
        dist.all_reduce(summed)
        return summed

    def add_up(self, counts: Iterable[NDArray[np.int64]]) -> None:
        """Replace each array, in place, by its sum over all ranks."""
        for array in counts if self.world > 1 else ():
            dist.all_reduce(torch.from_numpy(array))

    def follow_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor, in place, by rank 0's."""
        for tensor in tensors if self.world > 1 else ():
            dist.broadcast(tensor, 0)

    def gathered(self, own: Sequence[T]) -> list[T]:
        """What `own` parted, in its first order again, once each rank has done its share."""
        if self.world == 1:
            return list(own)
        shares: list[Any] = [None] * self.world
        dist.all_gather_object(shares, list(own))
        count = sum(len(share) for share in shares)
        return [shares[n % self.world][n // self.world] for n in range(count)]

    def refuse_other_data(self, sha256: str) -> None:
        """Raises UsageError on every rank when the processes do not read the same data."""
        if self.world == 1:
            return
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, sha256)
        other = next((rank for rank, value in enumerate(found) if value != found[0]), None)
        if other is not None:
            raise UsageError(
                f"Process {other} reads other data than process 0 ({found[other][:12]} and {found[0][:12]});"
                " give every host the same folders."
            )


ALONE = Ranks()
"""A run of one process on the CPU."""


@contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """This process's place in the run that torchrun started, or a run of its own without torchrun.

    Raises UsageError when the device cannot be had, or the other processes cannot be met.
    """
    rank, world, local, neighbours = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
    )
    if world > 1 and ":" in device:
        raise UsageError(
            f"--device {device} is one GPU for {world} processes; say cuda, and each takes one of its own."
        )
    chosen = choose_device(device, local)
    if world == 1:
        yield Ranks(device=chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    _meet(rank, world, chosen)
    try:
        yield Ranks(rank, world, chosen, neighbours)
    except BaseException:
        # torchrun ends the others as soon as one has died: what this one has to say is said first.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    finally:
        dist.destroy_process_group()


def _meet(rank: int, world: int, device: torch.device) -> None:
    """Make the process group. Raises UsageError when the other processes cannot be met."""
    # Small agreements go over gloo also on GPUs: they must not wait for the kernels that still run.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    # First, since its functions take the group there is at import as a default and so keep it for good, and
    # what DistributedDataParallel loads imports it once there is one.
    import_module("torch.distributed.nn.functional")
    # The group dies with the modules that hold it, which stand in cycles. One that outlives Python aborts
    # the process where a thread of gloo then asks for it.
    atexit.register(gc.collect)
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"Process {rank} of {world} does not meet the others ({str(error).splitlines()[0]}); start all"
            " with torchrun, on each host with the same --rdzv-endpoint."
        ) from error
