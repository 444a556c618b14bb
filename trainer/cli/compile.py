"""`trainer compile`: a package's engine for the GPU of this machine."""

from __future__ import annotations

from typing import Any

import click

from deploy.command import compile_options, run_compile


@click.command(name="compile")
@compile_options
def compile_package(**given: Any) -> int:
    """Compile a PACKAGE for the NVIDIA GPU of this machine with TensorRT.

    The same as `inspector models compile`, for machines that train. An engine serves only on the
    GPU model and under the TensorRT version that it was compiled with, so compile where it will run.

    \b
    Example:
      trainer compile models/tiles-1 --engine tensorrt --precision fp16 --frame 2160x3840
    """
    return run_compile(given)
