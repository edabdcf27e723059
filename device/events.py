"""When a fault of the machine began and when it ended, as a record: shown, logged, and set beside each result."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .camera import now
from .faults import Fault


@dataclass(frozen=True)
class FaultEvent:
    """A fault that began or ended.

    Attributes:
        fault: its row of `alledge.device.faults`.
        began: False when it ended.
        at: ISO 8601, UTC; from a clock that may be wrong.
        detail: what exactly was seen; mostly empty.
    """

    fault: Fault
    began: bool
    at: str
    detail: str = ""

    @property
    def sentence(self) -> str:
        """For a person and for the screen."""
        if not self.began:
            return f"over: {self.fault.says}"
        return f"{self.fault.sentence}{self.detail and f' ({self.detail})'}"

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return {"event": f"fault-{'began' if self.began else 'ended'}", "fault": self.fault.name, "at": self.at,
                "says": self.fault.says, "remedy": self.fault.remedy, "detail": self.detail}


class FaultsOn:
    """The faults of one part of the machine that are on now; tells each beginning and end once."""

    def __init__(self) -> None:
        self._on: dict[str, Fault] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order they began."""
        return tuple(self._on)

    def become(self, faults: Mapping[Fault, str]) -> Iterator[FaultEvent]:
        """From now on exactly these are on, each with its detail: yields what began and what ended."""
        names = {fault.name for fault in faults}
        for name in [name for name in self._on if name not in names]:
            yield FaultEvent(self._on.pop(name), False, now())
        for fault, detail in faults.items():
            if fault.name not in self._on:
                self._on[fault.name] = fault
                yield FaultEvent(fault, True, now(), detail)
