"""Stages side by side: order, back pressure, errors in their place, a clean end."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from alledge.device.ahead import Ahead, Newest


def stages_running() -> int:
    return sum(thread.name.startswith("test-") for thread in threading.enumerate())


def test_everything_arrives_once_and_in_order() -> None:
    with closing(Ahead(range(1000), "test-a")) as first, closing(Ahead((n * 2 for n in first), "test-b")) as second:
        assert list(second) == [n * 2 for n in range(1000)]
        assert list(second) == []
    assert stages_running() == 0


def test_a_stage_works_one_item_ahead_and_no_further() -> None:
    made: list[int] = []

    def count() -> Iterator[int]:
        for n in range(100):
            made.append(n)
            yield n

    with closing(Ahead(count(), "test-a")) as ahead:
        for taken in ahead:
            time.sleep(0.002)
            assert len(made) <= taken + 2
            if taken == 20:
                break
    assert len(made) <= 23
    assert stages_running() == 0


def test_stages_overlap() -> None:
    def slow(items: range | Ahead[int]) -> Iterator[int]:
        for item in items:
            time.sleep(0.01)
            yield item

    began = time.monotonic()
    with closing(Ahead(slow(range(20)), "test-a")) as first, closing(Ahead(slow(first), "test-b")) as second:
        assert list(slow(second)) == list(range(20))
    assert time.monotonic() - began < 0.01 * 20 * 2  # 0.6 s one after the other


def test_an_error_comes_after_the_items_before_it() -> None:
    def fail() -> Iterator[int]:
        yield from range(3)
        raise OSError("the cable")

    with closing(Ahead(fail(), "test-a")) as first, closing(Ahead(iter(first), "test-b")) as second:
        taken = iter(second)
        assert [next(taken) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="the cable"):
            next(taken)
    assert stages_running() == 0


def test_whoever_waits_can_look_up() -> None:
    def late() -> Iterator[int]:
        time.sleep(0.1)
        yield 1

    with closing(Ahead(late(), "test-a")) as ahead:
        seen = list(ahead.or_idle(0.02))
    assert seen[-1] == 1
    assert seen[:-1] == [None] * (len(seen) - 1)
    assert len(seen) > 2


def test_of_what_cannot_wait_the_newest_is_taken_and_marks_are_never_dropped() -> None:
    gate = threading.Event()

    def frames() -> Iterator[int | str]:
        yield from (1, 2, "lost", 3, 4, 5, "back", 6, 7)
        gate.set()

    with closing(Newest(frames(), "test-n", keep=lambda item: isinstance(item, str))) as newest:
        assert gate.wait(2)
        assert list(newest) == [2, "lost", 5, "back", 7]


def test_a_live_source_is_read_on_while_nobody_takes() -> None:
    stop = threading.Event()
    read = []

    def frames() -> Iterator[int]:
        while not stop.is_set():
            read.append(len(read))
            time.sleep(0.001)
            yield read[-1]

    with closing(Newest(frames(), "test-n", keep=lambda item: False)) as newest:
        taken = iter(newest)
        first = next(taken)
        time.sleep(0.1)
        assert next(taken) > first + 5
        stop.set()
    assert stages_running() == 0


def test_an_error_of_a_live_source_comes_after_its_last_item() -> None:
    def fail() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with closing(Newest(fail(), "test-n", keep=lambda item: False)) as newest:
        taken = iter(newest)
        assert next(taken) == 1
        with pytest.raises(OSError, match="gone"):
            next(taken)
