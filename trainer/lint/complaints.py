"""What the decoders of pictures say on stderr by themselves, past Python: kept from the screen, and heard.

A picture that they refuse is a finding of its own. One that they read with a complaint may lack pixels.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from inspector.errors import DatasetError
from inspector.inputs import read_image

_STDERR = 2


@contextmanager
def heard() -> Iterator[Callable[[], str]]:
    """Yields what was written on the process's stderr since; Python's own sys.stderr shows as before.

    Of the whole process, whatever thread writes. Asked within the block.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught, os.fdopen(os.dup(_STDERR), "w") as shown:

        def said() -> str:
            caught.seek(0)
            return caught.read().decode(errors="replace")

        with contextlib.ExitStack() as stack:
            if _writes_there():
                stack.enter_context(contextlib.redirect_stderr(shown))
            os.dup2(caught.fileno(), _STDERR)
            try:
                yield said
            finally:
                os.dup2(shown.fileno(), _STDERR)


def complaint(path: Path) -> str | None:
    """What the decoder says of a picture that it reads all the same, one line; None where it is silent.

    libpng is not asked: it refuses what is damaged, and complains of harmless colour profiles.
    """
    if path.suffix.lower() == ".png":
        return None
    with heard() as said:
        with contextlib.suppress(DatasetError):
            read_image(path)
        words = said().strip().splitlines()
    # OpenCV begins with level, time, file and line: [ERROR:0@0.949] global grfmt_tiff.cpp:117 TIFF_Error ...
    return words[0].rsplit("TIFF_Error ", 1)[-1] if words else None


def _writes_there() -> bool:
    """Whether sys.stderr is the process's stderr and no stand-in of a test."""
    try:
        return sys.stderr.fileno() == _STDERR
    except (OSError, ValueError, AttributeError):
        return False
