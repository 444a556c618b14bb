"""A process of our own that does one job, and the line of JSON messages to it.

The messages go over a socket pair: whichever side ends, the other one sees it at once, and no
child outlives its parent for longer than its next message.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

from inspector import errors
from inspector.errors import InspectionError

Message: TypeAlias = dict[str, Any]

END_S = 5.0
"""How long a child that was told to end is waited for before it is killed."""


class Channel:
    """One JSON object a line, both ways. One thread sends and one, or the same, receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def send(self, message: Message) -> bool:
        """False where the other side is gone."""
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message, or None where the other side is gone. Raises TimeoutError after timeout_s."""
        self._connection.settimeout(timeout_s)
        while b"\n" not in self._received:
            try:
                more = self._connection.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not more:
                return None
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        message: Message = json.loads(line)
        return message

    def close(self) -> None:
        """Tell the other side that this one is gone. May be called from another thread, and twice."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


class Child:
    """`python -m MODULE`, in a session of its own: Ctrl-C reaches only the parent, which decides."""

    def __init__(self, module: str, arguments: Sequence[str] = (), descriptors: Sequence[int] = ()) -> None:
        """The module gets the number of its socket, then the arguments. descriptors: kept open in it."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", module, str(theirs.fileno()), *arguments]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a library prints must not stand among the parent's data
                pass_fds=(theirs.fileno(), *descriptors),
                start_new_session=True,
            )
        self.channel = Channel(ours)

    def end(self, wait_s: float = END_S) -> int:
        """Close the line, wait, kill where that does not help. Returns the exit code. May be called twice."""
        self.channel.close()
        try:
            return self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def parents_channel(descriptor: int) -> Channel:
    """In the child: the line to the parent."""
    return Channel(socket.socket(fileno=descriptor))


def error_message(error: Exception) -> Message:
    """An error as a message; what is none of ours becomes a plain fault."""
    if isinstance(error, InspectionError):
        return {"error": type(error).__name__, "words": str(error)}
    return {"error": "InspectionError", "words": f"{type(error).__name__}: {error}"}


def raised(message: Message) -> InspectionError:
    """The error of an error_message, of its own kind."""
    kind = getattr(errors, str(message["error"]), InspectionError)
    known = isinstance(kind, type) and issubclass(kind, InspectionError)
    return (kind if known else InspectionError)(str(message["words"]))


def ended_words(code: int) -> str:
    """How a process ended, for a message."""
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"
