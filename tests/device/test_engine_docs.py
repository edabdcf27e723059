"""docs/engines.md says what the code does."""

import re
from pathlib import Path

from alledge import backends
from alledge.device import supervised, worker
from alledge.device.engine import IN_A_CHILD, _child
from alledge.device.faults import FAULTS

TEXT = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()


def test_the_fault_table_is_the_codes() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+-[a-z-]+)` \| (.+?) \|", TEXT, re.M))
    assert rows == {name: fault.sentence for name, fault in FAULTS.items()
                    if name.startswith(("engine-", "accelerator-"))}
    assert max(map(len, rows.values())) <= 58  # three lines of the smallest display


def test_every_engine_is_described_with_where_it_runs() -> None:
    rows = dict(re.findall(r"^\| `([a-z]+)` \| [^|]+ \| ([^|]+) \|", TEXT, re.M))
    assert rows == {name: "in a child process" if name in IN_A_CHILD else "in this process"
                    for name in backends.names("engine")}


def test_the_figures_are_the_codes() -> None:
    assert (supervised.RESTARTS, supervised.WITHIN_S, supervised.PROBE_S, supervised.PROVE_S) == (5, 60, 10, 300)
    assert (_child.START_S, _child.ANSWER_S, worker.ALIGNMENT) == (30, 3, 64)
    for words in ("five times within 60 s", "every 10 s", "every 300 s", "for 30 s", "within 3 s",
                  "multiple of 64 bytes"):
        assert words in TEXT
    assert (worker.QUESTION.size, worker.ANSWER.size) == (8, 8 + 4)
