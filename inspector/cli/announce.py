"""What a command tells while it works goes to stderr, one plain line each."""

from __future__ import annotations

import logging
import sys


def announce() -> None:
    """Show the line's own messages from INFO on, and warnings of everything else."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("inspector").setLevel(logging.INFO)
