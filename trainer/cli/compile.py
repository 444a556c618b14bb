"""`trainer compile`: a package's engine for the GPU of this machine."""

from __future__ import annotations

from typing import Any

import click

from deploy.command import compile_options, run_compile


@click.command(name="compile", short_help="Compile a package for this machine's NVIDIA GPU.")
@compile_options
def compile_package(**given: Any) -> int:
    """Compile a PACKAGE for this machine's NVIDIA GPU with TensorRT.

    The same as `inspector models compile`, for machines that train. An engine serves only on the GPU
    model and under the TensorRT version that it was compiled with. The CPU needs no compiling; for
    int8 there, see `trainer export --int8`.

    \b
    Examples:
      trainer compile models/tiles-1 --engine tensorrt --precision fp16 --frame 2160x3840
      trainer compile models/tiles-1 --engine tensorrt-rtx
    """
    return run_compile(given)
