"""`python -m deploy.job`: the process that compiles, for the one that asked.

A compilation takes minutes and gigabytes, and TensorRT can end a process; neither may happen to
whoever asked. When that one hangs up, the compilation is cancelled at its next step.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import asdict

from deploy.compile import Request, compile_package
from inspector.engine.child import Channel, error_message, parents_channel

_EVERY_S = 0.1


class Listener(threading.Thread):
    """Waits for the parent to say `cancel` or to hang up."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(name="listener", daemon=True)
        self._channel = channel
        self.cancelled = threading.Event()

    def run(self) -> None:
        self._channel.receive()
        self.cancelled.set()


def main() -> int:
    """Compile what the parent asks for on the socket whose descriptor is the argument."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    channel = parents_channel(int(sys.argv[1]))
    message = channel.receive()
    if message is None:
        return 0
    listener = Listener(channel)
    listener.start()
    said = 0.0

    def report(share: float, phase: str) -> bool:
        nonlocal said
        if time.monotonic() - said >= _EVERY_S:
            said = time.monotonic()
            channel.send({"share": share, "phase": phase})
        return not listener.cancelled.is_set()

    try:
        outcome = compile_package(Request.of(message), report)
    except Exception as error:  # the process' outermost edge: the parent has to be told
        channel.send(error_message(error))
        return 1
    channel.send({"outcome": asdict(outcome)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
