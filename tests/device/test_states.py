"""The daemon's states: which may follow which, and that fields in any order of events never ask for another."""

from concurrent.futures import Future
from itertools import pairwise
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alledge.device.progress import Progress
from alledge.device.stages import Pending
from alledge.device.states import NEXT, IllegalChange, Machine, State

STEPS = ("asked", "captured", "judged", "stored", "told")


def machine(told: list[str]) -> Machine:
    return Machine(lambda before, state: told.append(state.value))


def at(state: State) -> Machine:
    """A machine in that state, by the shortest way there."""
    ways: list[list[State]] = [[State.STARTING]]
    for way in ways:
        if way[-1] is state:
            there = machine([])
            for step in way[1:]:
                there.become(step)
            return there
        ways += [[*way, after] for after in NEXT[way[-1]] if after not in way]
    raise AssertionError(f"nothing leads to {state.value}")


@pytest.mark.parametrize("before", State)
def test_only_what_is_listed_can_follow(before: State) -> None:
    for after in State:
        there = at(before)
        if after is before or after in NEXT[before]:
            there.become(after)
            assert there.state is after
        else:
            with pytest.raises(IllegalChange, match=f"{after.value} cannot follow {before.value}"):
                there.become(after)
            assert there.state is before


def test_fields_do_not_end_what_has_its_own_end() -> None:
    for state in (State.STARTING, State.SELF_TEST, State.RELOADING, State.STOPPING, State.STOPPED):
        there = at(state)
        there.follow(State.JUDGING)
        assert there.state is state
    assert not NEXT[State.STOPPED]


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.lists(st.integers(0, 9), max_size=60))
def test_whatever_the_stages_do_the_states_follow(triggered: bool, choices: list[int]) -> None:
    """Each number is a step that one of several fields takes, where its order allows it; or a fault; or a signal."""
    told: list[str] = []
    states = machine(told)
    for state in (State.SELF_TEST, State.READY):
        states.become(state)
    progress = Progress(states, triggered)
    states.follow(progress.state)
    count = dict.fromkeys(STEPS, 0)
    for choice in choices:
        if choice < len(STEPS):
            step, before = STEPS[choice], STEPS[max(choice - 1, 0)]
            if (step == "asked" and not triggered) or (
                    choice > 0 and count[step] >= count[before] and not (step == "captured" and not triggered)):
                continue
            count[step] += 1
            progress.passed(step)
        elif choice < 7:
            progress.faults(["camera-stalled"] if choice == 5 else [])
        elif choice == 7:
            states.become(State.RELOADING)
        elif states.state is State.RELOADING:
            states.become(progress.state)
        if states.state is not State.RELOADING:
            assert states.state is progress.state
    assert all(State(after) in NEXT[State(before)] for before, after in pairwise(told))


def test_the_state_is_that_of_the_oldest_field() -> None:
    told: list[str] = []
    states = machine(told)
    for state in (State.SELF_TEST, State.READY):
        states.become(state)
    progress = Progress(states, triggered=True)
    for step in ("asked", "captured", "judged", "asked", "captured", "stored", "told", "judged", "stored", "told"):
        progress.passed(step)
    assert told[3:] == ["capturing", "judging", "storing", "showing", "judging", "storing", "showing", "ready"]


def test_a_result_is_on_disk_before_it_counts_as_stored() -> None:
    told: list[str] = []
    states = machine(told)
    for state in (State.SELF_TEST, State.READY):
        states.become(state)
    progress, stored, got = Progress(states, triggered=True), Future[Any](), []
    for step in ("captured", "judged"):
        progress.passed(step)
    unused: Any = None
    thread = Thread(target=lambda: got.extend(progress.into_results([Pending(unused, stored, 0.0)])))
    thread.start()
    thread.join(0.1)
    assert (states.state, got) == (State.STORING, [])
    stored.set_result(unused)
    thread.join()
    assert len(got) == 1
    assert told[-3:] == ["storing", "showing", "ready"]


def test_a_stage_that_stays_at_one_item_is_named_and_one_that_waits_is_not() -> None:
    clock = [0.0]
    progress = Progress(at(State.READY), triggered=True, clock=lambda: clock[0])
    gate = Event()

    def waits() -> Any:
        yield object()
        gate.wait(10)

    stage = progress.into("infer", waits())
    next(stage)  # the stage has the item, and works on it
    clock[0] = 5.0
    assert progress.stuck(4.0) == ("infer", 5.0)
    assert progress.stuck(6.0) is None
    thread = Thread(target=lambda: next(stage, None))
    thread.start()  # it came back for the next one, which does not come
    while progress.stuck(4.0) is not None:
        thread.join(0.01)
    clock[0] = 1000.0
    assert progress.stuck(4.0) is None
    gate.set()
    thread.join()


def test_a_stage_that_only_waited_for_the_next_one_is_not_blamed_afterwards() -> None:
    clock = [0.0]
    progress = Progress(at(State.READY), triggered=True, clock=lambda: clock[0])
    prepare, infer = progress.into("prepare", [1, 2]), progress.into("infer", [1, 2])
    next(prepare)
    next(infer)
    clock[0] = 9.0
    assert progress.stuck(4.0) == ("infer", 9.0)
    next(infer)
    assert progress.stuck(4.0) is None
    clock[0] = 14.0
    assert progress.stuck(4.0) == ("infer", 5.0)
