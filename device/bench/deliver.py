"""Where a benchmark's report goes (standard output, a folder to publish, a table), and what it is held against."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alledge.files import write_bytes
from alledge.output import present

from .compare import compare, earlier, judge, lines
from .page import as_page
from .report import Report, table
from .rows import append_row, check_table


@dataclass(frozen=True)
class Delivery:
    """What to do with a report.

    Attributes:
        out: folder for bench.json, bench.csv and bench.html; csv: table to append a row to.
        against: file to compare with; then: what it holds; band: ratio that is still alike.
    """

    out: Path | None
    csv: Path | None
    against: Path | None
    then: Sequence[Mapping[str, Any]]
    band: float

    def deliver(self, found: Report, as_json: bool) -> None:
        """Print and write it, and only then judge it, so that nothing measured is lost.

        Raises:
            UsageError, OutputError: for a file that cannot be written.
            GateNotMet: when it is slower than the earlier one by more than the band.
        """
        document = found.to_json()
        with_it = None
        if self.against is not None:
            with_it = compare(found, self.then, str(self.against), self.band)
            document["comparison"] = with_it.to_json()
        present(document, [*table(found), *([] if with_it is None else ["", *lines(with_it)])], as_json)
        if self.out is not None:
            write_bytes(self.out / "bench.json", (json.dumps(document, allow_nan=False) + "\n").encode())
            write_bytes(self.out / "bench.html", as_page(found))
            (self.out / "bench.csv").unlink(missing_ok=True)
            append_row(self.out / "bench.csv", found)
        if self.csv is not None:
            append_row(self.csv, found)
        if with_it is not None:
            judge(with_it)


def delivery(out: Path | None, csv: Path | None, against: Path | None, band: float) -> Delivery:
    """Look at the files first: a long measurement must not end at a wrong name.

    Raises:
        UsageError: for a table that no row can be appended to, or a file that is not a benchmark.
    """
    if csv is not None:
        check_table(csv)
    return Delivery(out, csv, against, [] if against is None else earlier(against), band)
