"""Where frames wait for the engine, and who gives way when there is no room."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Literal

from inspector.types import Frame


class Mailbox:
    """A bounded queue of frames from one thread to one other, with a named policy when full.

    `wait`: the sender waits, for sources that wait as well (nothing is ever displaced).
    `newest`: the longest-waiting frame is displaced and given back to the sender, who must
    account for it; with room for one this is the usual one-slot mailbox.
    """

    def __init__(self, room: int, policy: Literal["wait", "newest"]) -> None:
        self._room = max(1, room)
        self._policy = policy
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def put(self, frame: Frame, stop: threading.Event) -> Frame | None:
        """Leave a frame; returns the one that was displaced, which is this one if `stop` is set."""
        with self._changed:
            while self._policy == "wait" and len(self._frames) >= self._room:
                if stop.is_set() or self._ended:
                    return frame
                self._changed.wait(0.05)
            if self._ended:
                return frame
            displaced = self._frames.popleft() if len(self._frames) >= self._room else None
            self._frames.append(frame)
            self._changed.notify_all()
            return displaced

    def wait_for_room(self, stop: threading.Event) -> bool:
        """Whether a frame can be left now; waits for it where the policy is `wait` and `stop` not set.

        A sender that asks before it reads holds no frame while it waits.
        """
        with self._changed:
            while self._policy == "wait" and len(self._frames) >= self._room and not self._ended:
                if stop.is_set():
                    return False
                self._changed.wait(0.05)
            return True

    def get(self, timeout_s: float) -> Frame | None:
        """The frame that waited longest, or None when none came within the time or ever will."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._frames:
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    return None
                self._changed.wait(left)
            self._changed.notify_all()
            return self._frames.popleft()

    def end(self) -> None:
        """No frame will be added any more; those that wait can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def done(self) -> bool:
        """True once it was ended and is empty."""
        with self._changed:
            return self._ended and not self._frames

    def __len__(self) -> int:
        return len(self._frames)
