"""What a daemon is doing, in one word at a time. Only the changes listed here can happen."""

from collections.abc import Callable
from enum import Enum
from threading import RLock


class State(Enum):
    """A field passes capturing, judging, storing and showing; the word is that of the oldest field in hand."""

    STARTING = "starting"
    SELF_TEST = "self-test"
    READY = "ready"
    CAPTURING = "capturing"
    JUDGING = "judging"
    STORING = "storing"
    SHOWING = "showing"
    FAULTED = "faulted"
    RELOADING = "reloading"
    STOPPING = "stopping"
    STOPPED = "stopped"


WORKING = frozenset({State.READY, State.CAPTURING, State.JUDGING, State.STORING, State.SHOWING, State.FAULTED})
_ALWAYS = {State.RELOADING, State.STOPPING, State.FAULTED}  # whatever is in hand: a signal came, the run broke off

NEXT: dict[State, frozenset[State]] = {state: frozenset(after) for state, after in {
    State.STARTING: {State.SELF_TEST, State.STOPPING, State.STOPPED},
    State.SELF_TEST: {State.READY, State.FAULTED, State.STOPPED},
    State.READY: {State.CAPTURING, State.JUDGING, *_ALWAYS},
    State.CAPTURING: {State.READY, State.JUDGING, *_ALWAYS},
    State.JUDGING: {State.STORING, *_ALWAYS},
    State.STORING: {State.SHOWING, *_ALWAYS},
    State.SHOWING: {State.READY, State.CAPTURING, State.JUDGING, State.STORING, *_ALWAYS},
    State.FAULTED: {State.READY, State.CAPTURING, State.JUDGING, State.SELF_TEST, State.RELOADING, State.STOPPING,
                    State.STOPPED},
    State.RELOADING: {*WORKING, State.SELF_TEST, State.STOPPING},
    State.STOPPING: {State.STOPPED},
    State.STOPPED: set(),
}.items()}


class IllegalChange(RuntimeError):
    """Raised when a state was to follow that cannot: an error of this program."""


class Machine:
    """The state, and who is told of every change of it.

    Args:
        told: called with the state before (None at the beginning) and the state now, one change after the other.
    """

    def __init__(self, told: Callable[[State | None, State], None]) -> None:
        self.lock = RLock()
        self.state = State.STARTING
        self._told = told
        told(None, self.state)

    def become(self, state: State) -> None:
        """Change the state; nothing happens when it is the same.

        Raises:
            IllegalChange: when `NEXT` does not have it.
        """
        with self.lock:
            before = self.state
            if state is before:
                return
            if state not in NEXT[before]:
                raise IllegalChange(f"{state.value} cannot follow {before.value}")
            self.state = state
            self._told(before, state)

    def follow(self, state: State) -> None:
        """What the fields make of it; starting, reloading and stopping have their own end."""
        with self.lock:
            if self.state in WORKING:
                self.become(state)
