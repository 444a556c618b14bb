"""A compilation in a process of its own, watched from here."""

from __future__ import annotations

from collections.abc import Callable

from deploy.compile import Outcome, Request
from inspector.engine.child import Child, Message, ended_words, raised
from inspector.errors import CompileError

CANCEL_S = 60.0
"""How long a compilation may take to reach the step at which it can stop."""


def compile_apart(request: Request, show: Callable[[float, str], None]) -> Outcome:
    """compile_package in a child process. show: called with the share that is done and the phase.

    Ctrl-C cancels the compilation, waits for it to end, and goes on its way. Raises what
    compile_package raises, and CompileError when the process dies.
    """
    child = Child("deploy.job")
    try:
        child.channel.send(request.message())
        while "share" in (message := _next(child)):
            show(float(message["share"]), str(message["phase"]))
    except KeyboardInterrupt:
        child.channel.send({"cancel": True})
        raise
    finally:
        child.end(CANCEL_S)
    if "error" in message:
        raise raised(message)
    outcome = message["outcome"]
    return Outcome(**{**outcome, "tile": tuple(outcome["tile"])})


def _next(child: Child) -> Message:
    message = child.channel.receive()
    if message is None:
        raise CompileError(
            f"The process that compiled ended {ended_words(child.process.wait())} without a word; nothing was"
            " kept. Look at the messages above, and with `nvidia-smi`."
        )
    return message
