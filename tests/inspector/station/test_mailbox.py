"""Two policies with names: who waits, and who gives way."""

from __future__ import annotations

import threading

from inspector.station.mailbox import Mailbox
from inspector.types import Frame


def frame(number: int) -> Frame:
    return Frame(number, None, 0, 0, "c")


def test_newest_displaces_the_longest_waiting_and_hands_it_back() -> None:
    box, stop = Mailbox(1, "newest"), threading.Event()
    assert box.put(frame(1), stop) is None
    assert box.put(frame(2), stop).number == 1
    assert box.get(0).number == 2
    assert box.get(0) is None


def test_a_queue_keeps_order_and_displaces_only_when_full() -> None:
    box, stop = Mailbox(3, "newest"), threading.Event()
    assert [box.put(frame(n), stop) for n in (1, 2, 3)] == [None, None, None]
    assert box.put(frame(4), stop).number == 1
    assert [box.get(0).number for _ in range(3)] == [2, 3, 4]


def test_wait_never_displaces_and_the_sender_is_freed_by_taking() -> None:
    box, stop = Mailbox(2, "wait"), threading.Event()
    sent: list[int] = []

    def send() -> None:
        for number in range(1, 21):
            assert box.put(frame(number), stop) is None
            sent.append(number)
        box.end()

    sender = threading.Thread(target=send)
    sender.start()
    taken = []
    while not box.done:
        one = box.get(0.5)
        if one is not None:
            assert len(sent) <= one.number + 2
            taken.append(one.number)
    sender.join()
    assert taken == list(range(1, 21))


def test_a_waiting_sender_gets_its_frame_back_on_stop() -> None:
    box, stop = Mailbox(1, "wait"), threading.Event()
    box.put(frame(1), stop)
    stop.set()
    assert box.put(frame(2), stop).number == 2
    assert box.get(0).number == 1


def test_after_the_end_nothing_enters_and_what_waits_can_be_taken() -> None:
    box, stop = Mailbox(2, "newest"), threading.Event()
    box.put(frame(1), stop)
    box.end()
    assert not box.done
    assert box.put(frame(2), stop).number == 2
    assert box.get(5).number == 1
    assert box.done and box.get(5) is None


def test_who_asks_for_room_first_never_waits_with_a_frame_in_hand() -> None:
    box, stop = Mailbox(1, "wait"), threading.Event()
    assert box.wait_for_room(stop)
    box.put(frame(1), stop)
    taken = threading.Timer(0.1, box.get, [0.0])
    taken.start()
    assert box.wait_for_room(stop)
    taken.join()
    box.put(frame(2), stop)
    stop.set()
    assert not box.wait_for_room(stop)
    box.end()
    assert box.wait_for_room(threading.Event()), "an ended one refuses what is put, and who puts it hears so"


def test_a_live_sender_always_has_room() -> None:
    box, stop = Mailbox(1, "newest"), threading.Event()
    box.put(frame(1), stop)
    assert box.wait_for_room(stop)
