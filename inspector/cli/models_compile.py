"""`inspector models compile`: a package's engine for the GPU of this machine."""

from __future__ import annotations

from typing import Any

import click

from deploy.command import compile_options, run_compile


@click.command(name="compile")
@compile_options
def compile_package(**given: Any) -> int:
    """Compile a PACKAGE for the NVIDIA GPU of this machine with TensorRT.

    Takes minutes, in a process of its own, and is never done while frames are inspected: stop the
    line first, so that the builder's measurements are true. Ctrl-C cancels; nothing is kept then.

    \b
    Example:  inspector models compile demo_model --frame 2160x3840
              inspector models compile demo_model --engine tensorrt-rtx --json
    """
    return run_compile(given)
