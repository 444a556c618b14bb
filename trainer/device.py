"""The processor that trains, and the arithmetic it trains in."""

from __future__ import annotations

import torch

from inspector.errors import GpuMissing, UsageError
from trainer.config import FitConfig

CPU = torch.device("cpu")


def choose_device(wanted: str, local_rank: int = 0) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes an NVIDIA GPU where there is one.

    local_rank: number of this process among those of its host; each has a GPU of its own.
    Raises GpuMissing when a GPU was asked for and there is none, UsageError for another word.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return CPU
    name, _, number = wanted.partition(":")
    if name not in ("auto", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"--device {wanted} is not known; use auto, cpu, cuda or cuda:N.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(number) if number else local_rank
    if index >= count:
        raise GpuMissing(
            f"GPU {index} was asked for and PyTorch {torch.__version__} sees {count} on this host; use"
            " --device cpu, or no more processes than GPUs, or a PyTorch built for CUDA."
        )
    return torch.device("cuda", index)


def autocast_of(config: FitConfig, device: torch.device = CPU) -> torch.autocast:
    """bf16 where the processor computes it natively, or where the config insists.

    bf16 keeps float32's range, so that no loss has to be scaled; GPUs without it (before Ampere)
    train in float32.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    wanted = config.precision == "bf16" or (config.precision == "auto" and native)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
