"""Batches come in order and in time, whatever the number of threads that make them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from trainer.prefetch import AHEAD, Prefetch


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_come_in_order(threads: int) -> None:
    def make(number: int) -> Any:
        time.sleep(0.002 * (number % 3))
        return number

    with Prefetch(make, 5, threads) as batches:
        came = iter(batches)
        assert [next(came) for _ in range(20)] == list(range(5, 25))


def test_only_so_many_are_made_ahead() -> None:
    made: list[int] = []
    with Prefetch(lambda number: made.append(number), 0) as batches:  # type: ignore[arg-type, func-returns-value]
        came = iter(batches)
        next(came)
        time.sleep(0.1)
        assert len(made) <= AHEAD + 1


@pytest.mark.parametrize("threads", [1, 3])
def test_a_failure_is_raised_at_its_batch_and_no_thread_stays(threads: int) -> None:
    def make(number: int) -> Any:
        if number == 2:
            raise ValueError("a mask that cannot be read")
        return number

    before = threading.active_count()
    with Prefetch(make, 0, threads) as batches:
        came = iter(batches)
        assert [next(came), next(came)] == [0, 1]
        with pytest.raises(ValueError, match="mask"):
            next(came)
    assert threading.active_count() == before
