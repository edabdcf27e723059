"""How long steps take, in turns: A, B, A, B, so that whatever else the machine does hits all of them alike."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time

import cv2
import numpy as np
from numpy.typing import NDArray

Step = Callable[[], object]


@dataclass(frozen=True)
class Taken:
    """Milliseconds of every round, [rounds] each, NaN where it was left out.

    Attributes:
        cpu: of this process's processor time; wall: by the clock.
    """

    cpu: NDArray[np.float64]
    wall: NDArray[np.float64]


def take_turns(steps: Mapping[str, Step], rounds: int, least_s: float = 0.0, budget_s: float = np.inf
               ) -> dict[str, Taken]:
    """Run each step in every round, so often in a row that a measurement takes `least_s`.

    With `least_s` 0 a step runs once a turn and finds the caches as the others left them. A step that has used
    `budget_s` of processor time sits the rest of the rounds out, which are NaN; one that takes longer than that is run
    once in all.
    """
    times, taken = dict[str, int](), dict[str, list[tuple[float, float]]]()
    for name, step in steps.items():
        times[name], first = warm_up(step, least_s)
        taken[name] = [first] if first[0] > budget_s else []
    for number in range(rounds):
        for name, step in steps.items():
            spent = times[name] * np.nansum([cpu for cpu, _ in taken[name]])
            if number == len(taken[name]):
                taken[name].append(both(step, times[name]) if spent < budget_s else (np.nan, np.nan))
    return {name: Taken(*(np.array(clock) * 1e3 for clock in zip(*pairs, strict=True)))
            for name, pairs in taken.items()}


def repeats(step: Step, least_s: float) -> int:
    """How often a step is run per measurement, so that it takes so long; it is warm afterwards."""
    return warm_up(step, least_s)[0]


def warm_up(step: Step, least_s: float) -> tuple[int, tuple[float, float]]:
    """How often a step has to be run to take so long, and what `both` would have said of that."""
    wall, began, count = perf_counter(), process_time(), 0
    while True:  # at least once: the clock may jump by the work of other threads of this process
        step()
        count += 1
        if (spent := process_time() - began) >= least_s:
            return count, (spent / count, (perf_counter() - wall) / count)


def seconds(step: Step, times: int) -> float:
    """Of processor time, once."""
    return both(step, times)[0]


def both(step: Step, times: int) -> tuple[float, float]:
    """Seconds of processor time and by the clock, per run."""
    wall, began = perf_counter(), process_time()
    for _ in range(times):
        step()
    return (process_time() - began) / times, (perf_counter() - wall) / times


def one_core() -> None:
    """One thread, on one core: this process and what it starts stay there."""
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # not the first, which serves most interrupts


def over(one: Taken, other: Taken) -> NDArray[np.float64]:
    """Ratio of their processor times, of the rounds that both were in."""
    ratio = one.cpu / other.cpu
    return np.asarray(ratio[np.isfinite(ratio)])


def pooled(parts: Iterable[dict[str, Taken]]) -> dict[str, Taken]:
    """Rounds of several frames as one series."""
    parts = list(parts)
    return {name: Taken(np.concatenate([part[name].cpu for part in parts]),
                        np.concatenate([part[name].wall for part in parts])) for name in parts[0]}


def rounds_of(taken: Taken) -> int:
    """In how many rounds it was."""
    return int(np.isfinite(taken.cpu).sum())
