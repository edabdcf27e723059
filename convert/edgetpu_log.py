"""Read what `edgetpu_compiler` says: its log file and its terminal output, as version 16.0 writes them.

The log is `Edge TPU Compiler version N`, the names of both files, and a table of operator, count and status. The rest
(subgraphs, memory) stands on the terminal only. A stand-in for tests has to call itself one in its version.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .converted import Operation

MAPPED = "Mapped to Edge TPU"
_VERSION = re.compile(r"Edge TPU Compiler version (?P<version>\S.*)")
_ROW = re.compile(r"^(?P<op>[A-Z][A-Z0-9_]+)\s+(?P<count>\d+)\s+(?P<status>\S.*)$", re.M)
_SUBGRAPHS = re.compile(r"Number of Edge TPU subgraphs: (\d+)")
_UNIT = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

# What a status means, and the way out; a status that is not here is passed on as it is.
_REMEDIES = {
    "More than one subgraph is not supported": "mend the first operation that is not mapped: all after it stay behind",
    "Operation is otherwise supported, but not mapped due to some unspecified limitation":
        "make its tensors smaller, or let conversion try its other forms",
    "Operation is working on an unsupported data type": "use a layer with an integer form",
    "Operation not supported": "replace the layer by convolutions, pooling, dense layers or ReLU",
    "Operation version not supported": "use the layer's plain form, without options added since 2021",
}


@dataclass(frozen=True)
class Status:
    """One row of the compiler's table."""

    op: str
    count: int
    status: str


@dataclass(frozen=True)
class Report:
    """What a compiler said of one model.

    Attributes:
        version: in its own words.
        subgraphs: parts of the model that run on the Edge TPU.
        statuses: the operator table.
        cached, streamed: bytes of parameters on the chip, and over USB at every inference; None when it did not say.
    """

    version: str
    subgraphs: int
    statuses: tuple[Status, ...]
    cached: int | None
    streamed: int | None

    @property
    def on_cpu(self) -> int:
        """Operators that stay on the CPU."""
        return sum(row.count for row in self.statuses if row.status != MAPPED)

    @property
    def whole(self) -> bool:
        """Everything in one subgraph on the Edge TPU."""
        return self.subgraphs == 1 and self.on_cpu == 0 and bool(self.statuses)

    def words(self) -> str:
        """What is not whole about it, in a clause."""
        left = ", ".join(dict.fromkeys(row.op for row in self.statuses if row.status != MAPPED))
        parts = "1 subgraph" if self.subgraphs == 1 else f"{self.subgraphs} subgraphs"
        return f"the compiler made {parts} and left {self.on_cpu} operations on the CPU{left and f' ({left})'}"

    def to_json(self) -> dict[str, Any]:
        """Plain types only."""
        return {"version": self.version, "subgraphs": self.subgraphs, "on_cpu": self.on_cpu,
                "cached_bytes": self.cached, "streamed_bytes": self.streamed,
                "operators": [vars(row) for row in self.statuses]}


def read_version(text: str) -> str:
    """The compiler's version, "" when the text names none."""
    found = _VERSION.search(text)
    return found["version"].strip() if found else ""


def read_report(log: str, terminal: str) -> Report:
    """Both texts of one compilation as one report."""
    subgraphs = _SUBGRAPHS.search(terminal)
    statuses = tuple(Status(row["op"], int(row["count"]), row["status"].strip()) for row in _ROW.finditer(log))
    return Report(read_version(log), int(subgraphs[1]) if subgraphs else 0, statuses,
                  _bytes(terminal, "On-chip memory used for caching model parameters"),
                  _bytes(terminal, "Off-chip memory used for streaming uncached model parameters"))


def merged(rows: Sequence[Operation], report: Report) -> tuple[Operation, ...]:
    """The lint's rows with the compiler's verdicts.

    The log counts operators by name. Where those of one name fared differently, or the counts do not agree, it does
    not say which is which, so they stay unknown.
    """
    said: dict[str, list[Status]] = defaultdict(list)
    for status in report.statuses:
        said[status.op].append(status)
    counted = {op: sum(row.count for row in rows if row.op == op) for op in said}
    return tuple(_judged(row, said[row.op], counted.get(row.op, 0), report.version) for row in rows)


def _judged(row: Operation, said: Sequence[Status], counted: int, version: str) -> Operation:
    words = "; ".join(f"{status.count} x {status.status}" for status in said)
    if sum(status.count for status in said) != counted or not said:
        return replace(row, mapped="unknown", remedy="",
                       reason=f"compiler {version} counts {row.op} differently: {words or 'not at all'}")
    if len(said) > 1:
        return replace(row, mapped="unknown", reason=f"compiler {version}, without saying which: {words}",
                       remedy=_remedy(said))
    return replace(row, mapped=said[0].status == MAPPED, reason=f"compiler {version}: {said[0].status}",
                   remedy=_remedy(said))


def _remedy(said: Sequence[Status]) -> str:
    return next((_REMEDIES[row.status] for row in said if row.status in _REMEDIES), "")


def _bytes(text: str, words: str) -> int | None:
    found = re.search(rf"{re.escape(words)}: ([\d.]+)(B|KiB|MiB|GiB)", text)
    return round(float(found[1]) * _UNIT[found[2]]) if found else None
