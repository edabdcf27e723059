"""A run on a terminal: the latest verdict, how good its picture was, how fast it goes, and what is wrong right now."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from alledge.sample import SampleVerdict
from alledge.verdict import RESEARCH_USE_ONLY, Verdict

from .events import FaultEvent
from .notice import ready
from .words import classes, count_of, heading, remarks

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH = 4  # pictures a second; a person reads no faster
_RATE_OVER = 20  # fields


@dataclass
class State:
    """What a view shows.

    Attributes:
        verdict: the latest field's; sample: the latest closed one's.
        hint: how to ask for a field.
        faults: name -> beginning of those that are on.
        fields, conclusive: counts so far.
        times: seconds at which the latest fields were told.
    """

    verdict: Verdict | None = None
    sample: SampleVerdict | None = None
    hint: str = ""
    faults: dict[str, FaultEvent] = field(default_factory=dict)
    fields: int = 0
    conclusive: int = 0
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_OVER))

    def tell(self, verdict: Verdict, at: float) -> None:
        """One more field, at so many seconds of a monotonic clock."""
        self.verdict = verdict
        self.fields += 1
        self.conclusive += verdict.conclusive
        self.times.append(at)

    def note(self, event: FaultEvent) -> None:
        """A fault that began or ended."""
        if event.began:
            self.faults[event.fault.name] = event
        else:
            self.faults.pop(event.fault.name, None)

    def tell_sample(self, verdict: SampleVerdict) -> None:
        """A sample that was closed."""
        self.sample = verdict

    @property
    def rate(self) -> float:
        """Fields a second over the latest ones; 0 before there are two."""
        took = self.times[-1] - self.times[0] if self.times else 0.0
        return (len(self.times) - 1) / took if took > 0 else 0.0


def view(state: State) -> "RenderableType":
    """The state as rich draws it; pure."""
    from rich.panel import Panel
    from rich.text import Text

    lines = [*_outcome(state), "", *_sample(state), *_faults(state)]
    hint = [state.hint] if state.hint else []
    foot = f"{state.fields} fields, {state.conclusive} with a verdict, {state.rate:.1f} a second"
    return Panel(Text("\n".join([*lines, *hint, foot])), title="alledge", subtitle=RESEARCH_USE_ONLY, expand=False)


def _outcome(state: State) -> list[str]:
    verdict = state.verdict
    if verdict is None:
        return ["waiting for a field"]
    stages = "  ".join(f"{stage} {ms:.1f}" for stage, ms in verdict.timings_ms.items())
    quality = "  ".join(f"{name} {value:.3g}" for name, value in verdict.quality.items())
    return [f"{heading(verdict)}   field {verdict.sequence}  {verdict.source}",
            *classes(verdict),
            *(f"  why: {reason}" for reason in verdict.reasons),
            *(f"  ! {remark}" for remark in remarks(verdict.caveat, verdict.faults)),
            f"  quality  {quality}", f"  ms       {stages}", f"  engine   {verdict.engine}  bundle {verdict.bundle_id}"]


def _sample(state: State) -> list[str]:
    open_sample = state.verdict.sample if state.verdict is not None else ""
    closed = state.sample
    lines = [f"sample {open_sample}"] if open_sample and (closed is None or closed.sample != open_sample) else []
    if closed is not None:
        lines.append(f"closed {closed.sample}: {heading(closed)} ({count_of(closed)})")
        lines += [f"  why: {reason}" for reason in closed.reasons]
    return lines


def _faults(state: State) -> list[str]:
    return [f"FAULT {event.sentence}" for event in state.faults.values()]


@contextmanager
def live(console: "Console", trigger: str | None = None) -> Iterator[
        tuple[Callable[[Verdict], None], Callable[[FaultEvent], None], Callable[[SampleVerdict], None]]]:
    """A view that follows a run; yields what the run is to call. What was shown last stays.

    Args:
        trigger: name of the one that asks for fields.
    """
    from rich.live import Live

    state = State(hint="" if trigger is None else ready(trigger).remedy)
    with Live(console=console, get_renderable=lambda: view(state), refresh_per_second=REFRESH):
        yield lambda verdict: state.tell(verdict, monotonic()), state.note, state.tell_sample
