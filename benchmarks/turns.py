"""How much processor time a step takes: run so often in a row that the clock's own steps do not matter."""

from collections.abc import Callable
from time import process_time

Step = Callable[[], object]


def repeats(step: Step, least_s: float) -> int:
    """How often a step is run per measurement, so that it takes so long; it is warm afterwards."""
    began, count = process_time(), 0
    while True:  # at least once: the clock may jump by the work of other threads of this process
        step()
        count += 1
        if process_time() - began >= least_s:
            return count


def seconds(step: Step, times: int) -> float:
    """Of processor time, once."""
    began = process_time()
    for _ in range(times):
        step()
    return (process_time() - began) / times
