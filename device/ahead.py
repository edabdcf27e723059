"""Work in a thread of its own, a step ahead of whoever waits for it: what lets the stages of a run overlap.

A stage is an ordinary generator over the stage before it. `Ahead` runs one in a thread and hands its items on in
order, each exactly once; an error comes after the items before it. The thread makes its next item only when the one
before has been taken, so nothing piles up, and an item has never waited longer than the stage after it was busy.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class _End(Exception):
    """After the last item. `error` is what ended it, None for a natural end."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error = error


class _Stream(Generic[T]):
    """Items that a thread makes."""

    def __iter__(self) -> Iterator[T]:
        """The items that are left."""
        for item in self.or_idle(None):
            assert item is not None
            yield item

    def or_idle(self, seconds: float | None) -> Iterator[T | None]:
        """The items that are left, and None whenever nothing has come for so long.

        Raises:
            BaseException: what ended the iterator behind, after its last item.
        """
        raise NotImplementedError


class Ahead(_Stream[T]):
    """Every item of `items`, made in a thread named `name`, at most `depth` that nobody has taken yet."""

    def __init__(self, items: Iterable[T], name: str, depth: int = 1) -> None:
        self._made: SimpleQueue[T | _End] = SimpleQueue()
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        for _ in range(depth):
            self._wanted.put(True)
        self._thread = Thread(target=self._make, args=(iter(items),), name=name, daemon=True)
        self._thread.start()

    def _make(self, items: Iterator[T]) -> None:
        end = _End()
        try:
            while self._wanted.get():
                self._made.put(next(items))
        except StopIteration:
            pass
        except BaseException as error:  # whatever it is belongs to whoever waits for the items
            end.error = error
        self._made.put(end)

    def or_idle(self, seconds: float | None) -> Iterator[T | None]:
        """Each in its turn."""
        while True:
            try:
                item = self._made.get(timeout=seconds)
            except Empty:
                yield None
                continue
            if isinstance(item, _End):
                self._made.put(item)  # for whoever asks again
                if item.error is not None:
                    raise item.error
                return
            self._wanted.put(True)
            yield item

    def close(self) -> None:
        """Make no more, and wait until the thread is done with what it is making."""
        self._wanted.put(False)
        self._thread.join()


class Newest(_Stream[T]):
    """Of `items`, which come whether or not anyone takes them, the newest at each asking; the others are dropped.

    Args:
        items: read as fast as they come, in a thread named `name`.
        keep: says which items are never dropped, and are handed on in their place.
    """

    def __init__(self, items: Iterable[T], name: str, keep: Callable[[T], bool]) -> None:
        self._waiting: deque[T] = deque()
        self._end: _End | None = None
        self._changed = Condition()
        self._keep = keep
        self._closed = False
        self._thread = Thread(target=self._read, args=(iter(items),), name=name, daemon=True)
        self._thread.start()

    def _read(self, items: Iterator[T]) -> None:
        end = _End()
        try:
            for item in items:
                with self._changed:
                    if self._waiting and not self._keep(item) and not self._keep(self._waiting[-1]):
                        self._waiting.pop()
                    self._waiting.append(item)
                    self._changed.notify()
                    if self._closed:
                        break
        except BaseException as error:  # as above
            end.error = error
        with self._changed:
            self._end = end
            self._changed.notify()

    def or_idle(self, seconds: float | None) -> Iterator[T | None]:
        """The newest item now, then the newest after that ..."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._end, seconds)
                item = self._waiting.popleft() if self._waiting else None
                end = self._end
            if item is None and end is not None:
                if end.error is not None:
                    raise end.error
                return
            yield item

    def close(self) -> None:
        """Read no more, and wait for the read that is under way."""
        self._closed = True
        self._thread.join()
