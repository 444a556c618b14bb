"""Who stands at this machine, as far as it knows."""

from __future__ import annotations

import getpass
import os


def account_name() -> str:
    """Who is logged in; its number where, as in a container, it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
