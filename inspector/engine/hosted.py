"""`python -m inspector.engine.hosted`: the child in which `inspector.engine.process` runs an engine.

parent                              child
{"open": maker, "description": d}   opens; {"ready": EngineInfo, "in_flight": n} or {"error": ...}
{"slots": n, "tile": shape, ...}    maps the shared memory
{"run": true}
{"tile": index, "slot": s}          {"done": index}, pixels in shared memory
{"end": true}                       {"finished": true} or {"error": ...}
"""

from __future__ import annotations

import importlib
import logging
import mmap
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.engine.child import Channel, Message, error_message, parents_channel
from inspector.engine.protocol import Engine
from inspector.errors import DeviceLost, EngineError
from inspector.types import Image, ProbMap


class Room:
    """The shared memory of parent and child: in each slot a tile and its probabilities."""

    def __init__(self, descriptor: int, slots: int, tile: tuple[int, ...], probs: tuple[int, ...]) -> None:
        """tile, probs: shapes (h, w, channels) and (out_h, out_w, K), both uint8."""
        tile_bytes, prob_bytes = int(np.prod(tile)), int(np.prod(probs))
        self._memory = mmap.mmap(descriptor, slots * (tile_bytes + prob_bytes))
        flat: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)
        split = slots * tile_bytes
        self.tiles: NDArray[np.uint8] = flat[:split].reshape(slots, *tile)
        self.probs: ProbMap = flat[split:].reshape(slots, *probs)

    @staticmethod
    def nbytes(slots: int, tile: tuple[int, ...], probs: tuple[int, ...]) -> int:
        """How large its file has to be."""
        return slots * int(np.prod(tile) + np.prod(probs))


class _Host:
    """One engine and the parent's line to it."""

    def __init__(self, channel: Channel, engine: Engine, room: Room) -> None:
        self._channel, self._engine, self._room = channel, engine, room
        self._slot_of: dict[int, int] = {}

    def serve(self) -> None:
        """Run after run, until the parent is gone."""
        while (message := self._channel.receive()) is not None:
            if "run" not in message:
                continue  # sent before the parent learned that the last run had failed
            self._slot_of.clear()
            try:
                self._engine.run(self._tiles(), self._deliver)
            except EngineError as error:
                self._channel.send(error_message(error))
                if isinstance(error, DeviceLost):
                    return  # CUDA does not recover in this process
                continue
            self._channel.send({"finished": True})

    def _tiles(self) -> Iterator[Image]:
        while True:
            message = self._channel.receive()
            if message is None:
                raise DeviceLost("The line's process is gone.")
            if "tile" not in message:
                return
            slot = int(message["slot"])
            self._slot_of[len(self._slot_of)] = slot
            yield self._room.tiles[slot]

    def _deliver(self, index: int, probs: ProbMap) -> None:
        np.copyto(self._room.probs[self._slot_of[index]], probs)
        self._channel.send({"done": index})


def open_made(message: Message) -> Engine:
    """The engine that `module:function` makes of the description."""
    module, _, name = str(message["open"]).partition(":")
    maker: Callable[[dict[str, Any]], Engine] = getattr(importlib.import_module(module), name)
    return maker(message["description"])


def main() -> int:
    """Serve the parent on the socket and the shared memory whose descriptors are the arguments."""
    # The station drains and then hangs up; a signal to the whole group must not end its engine first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("inspector").setLevel(logging.INFO)
    channel = parents_channel(int(sys.argv[1]))
    engine: Engine | None = None
    try:
        message = channel.receive()
        if message is None:
            return 0
        engine = open_made(message)
        # An engine that keeps no tiles back computes each before it asks for the next.
        in_flight = int(getattr(engine, "in_flight", 1))
        channel.send({"ready": asdict(engine.info), "in_flight": in_flight})
        shapes = channel.receive()
        if shapes is not None:
            room = Room(int(sys.argv[2]), shapes["slots"], tuple(shapes["tile"]), tuple(shapes["probs"]))
            _Host(channel, engine, room).serve()
    except Exception as error:  # the process' outermost edge: the parent has to be told
        channel.send(error_message(error))
        return 1
    finally:
        if engine is not None:
            engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
