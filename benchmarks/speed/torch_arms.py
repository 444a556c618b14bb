"""torch on the whole frame, in its best forms, and MONAI's sliding window as its users call it."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.speed.arms import Arm, ClassIds, Task, timed_arm
from benchmarks.speed.padded import PaddedUNet

Network = Callable[[Tensor], Tensor]
MONAI_WINDOW, MONAI_OVERLAP, MONAI_BATCH = 512, 0.25, 4
_FORMS = {
    "eager": "inference mode",
    "frozen": "traced and frozen by torch.jit",
    "compiled": "torch.compile with frozen weights",
}


def torch_whole(task: Task) -> list[Arm]:
    """float32 and bf16, channels-last, each in every form that this machine can build.

    The bar is held against the fastest of them, which differs with machine and version.
    """
    torch.set_num_threads(task.threads)
    arms = []
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        net = _channels_last(PaddedUNet(task.net).eval().to(dtype))
        for form, words in _FORMS.items():
            run = _whole(task, _in_form(net, form, _picture(task, dtype)), dtype)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    run()
            except RuntimeError as error:  # torch.compile needs a C++ compiler, for one
                print(f"torch {name} {form} cannot run here ({type(error).__name__}); left out.")
                continue
            how = f"padded network on the whole frame, channels-last, {words}, uint8 to softmax"
            labels = (f"torch {name} {form}", f"torch {name}", torch.__version__, how)
            arms.append(timed_arm(labels, run, _strongest))
    return arms


def _in_form(net: PaddedUNet, form: str, example: Tensor) -> Network:
    """The network as torch runs it fastest in one of its ways."""
    if form == "compiled":
        compiled: Network = torch.compile(net, options={"freezing": True})
        return compiled
    if form == "frozen":
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit says that torch.compile is to come after it
            trace: Callable[..., Any] = torch.jit.trace
            frozen: Network = torch.jit.freeze(trace(net, example))
            return frozen
    return net


def _channels_last(net: PaddedUNet) -> PaddedUNet:
    """The same network, its kernels laid out as oneDNN reads them for such pictures."""
    for parameter in net.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


def _whole(task: Task, net: Network, dtype: torch.dtype) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return torch.softmax(net(_picture(task, dtype)).float(), 1)

    return run


def _picture(task: Task, dtype: torch.dtype) -> Tensor:
    """The frame, normalised, float (1, 1, H, W), its channels last."""
    mean, std = task.normalisation
    x = ((torch.from_numpy(task.frame)[None, None].float() - mean) / std).to(dtype)
    return x.contiguous(memory_format=torch.channels_last)


def _strongest(probs: Any) -> ClassIds:
    """Class of (1, classes, H, W)."""
    found: ClassIds = probs[0].argmax(0).numpy().astype(np.uint8)
    return found


def monai_sliding(task: Task) -> list[Arm]:
    """`sliding_window_inference` at its defaults: eager float32. Raises ImportError without MONAI."""
    sliding_window_inference = importlib.import_module("monai.inferers").sliding_window_inference
    torch.set_num_threads(task.threads)
    net: nn.Module = PaddedUNet(task.net).eval()
    mean, std = task.normalisation
    window = (MONAI_WINDOW, MONAI_WINDOW)

    def run() -> Tensor:
        with torch.no_grad():
            x = (torch.from_numpy(task.frame)[None, None].float() - mean) / std
            found: Tensor = sliding_window_inference(x, window, MONAI_BATCH, net, overlap=MONAI_OVERLAP)
            return torch.softmax(found, 1)

    how = (
        f"sliding_window_inference at its defaults (overlap {MONAI_OVERLAP}, constant weights) with windows"
        f" of {MONAI_WINDOW} in batches of {MONAI_BATCH}, padded network, torch eager float32"
    )
    return [timed_arm(("MONAI", "MONAI", version("monai"), how), run, _strongest)]
