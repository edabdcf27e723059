"""Questions to the results database: which fields, one field, all of them as files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from alledge.errors import UsageError
from alledge.files import write_bytes, write_pieces
from alledge.labels import INCONCLUSIVE, LABELS
from alledge.verdict import Verdict

from .exports import by_sample, file_name
from .exports.table import as_csv, as_json, as_lines
from .store.rows import read_results

WHOLE: dict[str, Callable[[Iterable[Verdict]], Iterator[bytes]]] = {"csv": as_csv, "json": as_json, "jsonl": as_lines}
BY_SAMPLE = ("html", "fhir")  # a folder, with one file per sample


@dataclass(frozen=True)
class Exported:
    """What was written. results: how many fields are in it."""

    paths: tuple[Path, ...]
    results: int


def select(database: Path, verdict: str | None = None, last: int | None = None, sample: str | None = None,
           checked: bool = True) -> Iterator[Verdict]:
    """Stored results in order of their sequence, optionally of one verdict or sample, optionally only the last few.

    They are read as they are asked for: years of them do not fit into a board's memory.

    Raises:
        UsageError: for a verdict that does not exist.
        SinkError: when the database cannot be read, or is not what was written (unless not `checked`).
    """
    if verdict is not None and verdict not in (*LABELS, INCONCLUSIVE):
        raise UsageError(f"verdict {verdict!r} is unknown: expected one of {', '.join((*LABELS, INCONCLUSIVE))}")
    return read_results(database, verdict=verdict, last=last, sample=sample, checked=checked)


def find(database: Path, sequence: int, checked: bool = True) -> Verdict:
    """One stored result.

    Raises:
        UsageError: when there is none of that number.
        SinkError: as `select`.
    """
    for row in read_results(database, first=sequence, until=sequence, checked=checked):
        return row
    raise UsageError(f"{database}: holds no result {sequence}; `alledge results list` shows which it holds")


def export(database: Path, out: Path, form: str | None = None, *, verdict: str | None = None,
           sample: str | None = None, archive: Path | None = None, checked: bool = True) -> Exported:
    """Write stored results, each file whole or not at all.

    Args:
        database: to read.
        out: a file; a folder for the forms `BY_SAMPLE`, or one .html or .json for one sample.
        form: one of both; else the file's suffix says it.
        verdict, sample, checked: as `select`.
        archive: where pictures for HTML are.

    Raises:
        UsageError: for another form, one file for several samples, or a report of only some of a sample's fields.
        SinkError: as `select`.
        BackendMissing: for `fhir` without its library.
        OutputError: when a file cannot be written.
    """
    form = form or out.suffix.removeprefix(".")
    if form not in (*WHOLE, *BY_SAMPLE):
        raise UsageError(f"{out}: expected a file name that ends in {', '.join('.' + f for f in WHOLE)}, or a folder "
                         f"and --format {' or '.join(BY_SAMPLE)}")
    rows = select(database, verdict, sample=sample, checked=checked)
    if form in WHOLE:
        counted = count()
        write_pieces(out, WHOLE[form](row for row, _ in zip(rows, counted, strict=False)))
        return Exported((out,), next(counted))
    if verdict is not None:
        raise UsageError(f"--verdict {verdict}: a report of a sample is about all of its fields; leave it out, or "
                         f"export to {', '.join('.' + f for f in WHOLE)}")
    fields = list(rows)
    return Exported(_write_samples(fields, out, form, archive), len(fields))


def _write_samples(rows: Sequence[Verdict], out: Path, form: str, archive: Path | None) -> tuple[Path, ...]:
    """A file per sample in a folder; or one file, when there is just one sample and `out` is named like a file."""
    from .exports import fhir, page

    samples = by_sample(rows)
    alone = out.suffix in (".html", ".json")
    if alone and len(samples) != 1:
        raise UsageError(f"{out}: expected one sample for one file, received {len(samples)}; choose with --sample, or "
                         f"give a folder and --format {form}")
    paths = []
    for sample, fields in samples.items():
        paths.append(out if alone else file_name(out, sample, ".html" if form == "html" else ".fhir.json"))
        write_bytes(paths[-1], page.as_page(sample, fields, archive) if form == "html"
                    else fhir.document(sample, fields).encode())
    return tuple(paths)
