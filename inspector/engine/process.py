"""Any engine in a process of its own, so that a lost GPU costs a process and not the line.

After a CUDA fault the context of a process never works again. The engine therefore lives in a
child; when that dies or falls silent, the frame in hand and those that follow fail with
DeviceLost, and whoever opens the engine anew gets a fresh process.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np

from inspector.engine.child import Child, Message, ended_words, raised
from inspector.engine.hosted import Room
from inspector.engine.protocol import EngineInfo
from inspector.errors import DeviceLost, EngineError, InspectionError
from inspector.package import ModelPackage
from inspector.types import Image, ProbMap

_LOG = logging.getLogger(__name__)

OPEN_S = 180.0
"""How long an engine may take to open: CUDA, a plan of some hundred megabytes, a warm-up."""
ANSWER_S = 20.0
"""How long a tile may take."""


class ProcessEngine:
    """An engine in a child process, tiles and probabilities in shared memory. Used by one thread."""

    def __init__(
        self, maker: str, description: dict[str, Any], package: ModelPackage, answer_s: float = ANSWER_S
    ) -> None:
        """maker: `module:function` that opens the engine from the description, in the child.

        Raises what opening raises there, and DeviceLost when the child ends or says nothing.
        """
        self._answer_s = answer_s
        self._lost: str | None = None
        self._closed = False
        self._running = False
        # Not a file in /dev/shm, which containers keep at 64 MB.
        self._memory = os.memfd_create("inspection-tiles", os.MFD_CLOEXEC)
        self._child = Child("inspector.engine.hosted", [str(self._memory)], [self._memory])
        try:
            self._tell({"open": maker, "description": description})
            ready = self._answer(OPEN_S)
            self.info = EngineInfo(**{**ready["ready"], "tile": tuple(ready["ready"]["tile"])})
            # One more than the engine keeps on its way: it may ask for a tile before it gives one back.
            self._room = self._shared(package, int(ready["in_flight"]) + 1)
        except InspectionError:
            self.close()
            raise

    def run(self, tiles: Iterable[Image], deliver: Callable[[int, ProbMap], None]) -> None:
        """See Engine.run. Raises DeviceLost when the child is gone; from then on at each call."""
        if self._closed:
            raise EngineError("The engine was closed; open it again.")
        if self._lost is not None:
            raise DeviceLost(self._lost)
        free = list(range(len(self._room.tiles)))
        slot_of: dict[int, int] = {}

        def take() -> None:
            """One answer: a tile is done, or the run is over."""
            answer = self._answer(self._answer_s)
            if "done" not in answer:
                self._running = False
                return
            index = int(answer["done"])
            slot = slot_of.pop(index)
            deliver(index, self._room.probs[slot])
            free.append(slot)

        self._tell({"run": True})
        self._running = True
        try:
            for index, tile in enumerate(tiles):
                while not free:
                    take()
                slot = slot_of[index] = free.pop()
                self._put(slot, tile)
                self._tell({"tile": index, "slot": slot})
            self._tell({"end": True})
            while self._running:
                take()
        finally:
            self._end_run()

    def close(self) -> None:
        """See Engine.close."""
        if not self._closed:
            self._closed = True
            self._child.end()
            os.close(self._memory)

    def _shared(self, package: ModelPackage, slots: int) -> Room:
        geometry, tile = package.geometry, self.info.tile
        shape = (*tile, package.manifest.channels)
        probs = (*(geometry.output(size) for size in tile), len(package.classes))
        os.ftruncate(self._memory, Room.nbytes(slots, shape, probs))
        self._tell({"slots": slots, "tile": shape, "probs": probs})
        return Room(self._memory, slots, shape, probs)

    def _put(self, slot: int, tile: Image) -> None:
        into = self._room.tiles[slot]
        if tile.shape[:2] != into.shape[:2] or tile.size != into.size:
            raise EngineError(f"A tile of {tile.shape} came to an engine for {into.shape}; open it for it.")
        np.copyto(into, tile.reshape(into.shape))

    def _end_run(self) -> None:
        """After a failure on this side: the child gives up the run, and its answers to it are thrown away."""
        try:
            while self._running and self._lost is None:
                self._tell({"end": True})
                self._running = "done" in self._answer(self._answer_s)
        except EngineError as error:
            _LOG.info("%s", error)  # the first failure is the one to raise

    def _tell(self, message: Message) -> None:
        if not self._child.channel.send(message):
            self._gone()

    def _answer(self, timeout_s: float) -> Message:
        """The child's next message. Raises the error that it reports, DeviceLost when there is none."""
        try:
            message = self._child.channel.receive(timeout_s)
        except TimeoutError:
            self._child.process.kill()
            self._lose(f"The engine's process gave no answer for {timeout_s:g} s and was killed")
        if message is None:
            self._gone()
        if "error" in message:
            running, self._running = self._running, False
            error = raised(message)
            if running and not isinstance(error, EngineError):
                # No failure that an engine knows of, so the child has ended with it. The line takes this
                # one as a lost device and goes on with a new child; any other error would end the line.
                self._lose(f"The engine's process failed ({str(error).rstrip('.')})")
            if isinstance(error, DeviceLost):
                self._lost = str(error)
            raise error
        return message

    def _gone(self) -> NoReturn:
        self._lose(f"The engine's process ended {ended_words(self._child.end())}")

    def _lose(self, words: str) -> NoReturn:
        self._running = False
        self._lost = f"{words}; the engine has to be opened again."
        raise DeviceLost(self._lost)
