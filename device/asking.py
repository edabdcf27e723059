"""From presses to fields: a trigger asks, the camera answers with the next field that it captures after that.

No press is dropped and none gives two fields; only while the camera has a fault are presses refused, and the screen
says why.
"""

from collections import deque
from collections.abc import Iterator
from threading import Event
from time import perf_counter

from .ahead import Newest
from .events import FaultEvent
from .stages import Mark, Shot
from .trigger import Press, Trigger

LOOK_S = 0.02  # how often a trigger is asked when no frame comes; a person feels no such delay
WAIT_S = 0.2  # how often the wait for a press looks whether the run is over


def one_a_press(shots: Iterator[Shot | Mark], trigger: Trigger, stop: Event) -> Iterator[Shot | Mark]:
    """Of a camera that waits until it is asked (files, a film): the next field at each press."""
    while not stop.is_set():
        press = trigger.wait(WAIT_S)
        if press is Press.STOP:
            stop.set()
        elif press is Press.CLOSE_SAMPLE:
            yield press
        elif press is Press.FIELD:
            for shot in shots:
                yield shot
                if isinstance(shot, Shot):
                    break
            else:
                return


def first_after_press(shots: Newest[Shot | Mark], trigger: Trigger, stop: Event) -> Iterator[Shot | Mark]:
    """Of a camera that runs on whether or not anyone looks: the first field whose capture began after the press."""
    asked: deque[tuple[Press, float]] = deque()
    lost = False
    for shot in shots.or_idle(LOOK_S):
        press = trigger.wait(0)
        if press is Press.STOP:
            stop.set()
            return
        if press is not None:
            asked.append((press, perf_counter()))
        if isinstance(shot, FaultEvent):
            lost = shot.began
            yield shot
        if lost:
            asked = deque(one for one in asked if one[0] is Press.CLOSE_SAMPLE)
        while asked and asked[0][0] is Press.CLOSE_SAMPLE:
            yield asked.popleft()[0]
        if isinstance(shot, Shot) and asked and shot.started >= asked[0][1]:
            asked.popleft()
            yield shot
