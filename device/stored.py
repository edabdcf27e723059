"""Questions to the results database: which fields, one field, all of them as files."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from alledge.errors import UsageError
from alledge.files import write_bytes, write_pieces
from alledge.labels import INCONCLUSIVE, LABELS
from alledge.note import check_note
from alledge.verdict import Note, Verdict

from .exports import by_sample, file_name
from .exports.table import as_csv, as_json, as_lines
from .store.notes import add_note
from .store.rows import read_result, read_results, read_sample

if TYPE_CHECKING:  # it needs what runs models, which takes a command that lists long to load
    from .occlusion import Occluder

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
    _check_label(verdict)
    if sample is None:
        return read_results(database, verdict=verdict, last=last, checked=checked)
    rows = (row for row in read_sample(database, sample, checked) if verdict in (None, row.verdict))
    return rows if last is None else iter(deque(rows, maxlen=last))


def find(database: Path, sequence: int, checked: bool = True) -> Verdict:
    """One stored result.

    Raises:
        UsageError: when there is none of that number.
        SinkError: as `select`.
    """
    row = read_result(database, sequence, checked)
    if row is None:
        raise UsageError(f"{database}: holds no result {sequence} (notes are counted, too); `alledge results list` "
                         "shows which it holds")
    return row


def annotate(database: Path, sequence: int, text: str) -> Note:
    """Add a note to a stored result; the result itself stays as it is.

    Raises:
        UsageError: for a text that is no note (`check_note`), or when there is no result of that number.
        SinkError: when the result is not what was written, or the note cannot be kept.
    """
    note = check_note(text)
    find(database, sequence)
    return add_note(database, sequence, note)


def export(database: Path, out: Path, form: str | None = None, *, verdict: str | None = None,
           sample: str | None = None, archive: Path | None = None, checked: bool = True,
           with_notes: bool = False, occlude: "Occluder | None" = None) -> Exported:
    """Write stored results, each file whole or not at all.

    Args:
        database: to read.
        out: a file; a folder for the forms `BY_SAMPLE`, or one .html or .json for one sample.
        form: one of both; else the file's suffix says it.
        verdict, sample, checked: as `select`.
        archive: where pictures for HTML are.
        with_notes: FHIR passes on what operators wrote, too; the others always hold it.
        occlude: HTML has a heat map of every archived picture that this bundle judged.

    Raises:
        UsageError: for another form, one file for several samples, a report of only some of a sample's fields, or heat
            maps that cannot be made.
        SinkError: as `select`.
        BackendMissing: for `fhir` without its library.
        OutputError: when a file cannot be written.
    """
    form = form or out.suffix.removeprefix(".")
    if form not in (*WHOLE, *BY_SAMPLE):
        raise UsageError(f"{out}: expected a file name that ends in {', '.join('.' + f for f in WHOLE)}, or a folder "
                         f"and --format {' or '.join(BY_SAMPLE)}")
    if with_notes and form != "fhir":
        raise UsageError(f"--with-notes: expected --format fhir with it, received {form}, which holds all notes anyway")
    if occlude is not None:
        _check_heat(form, archive)
    _check_label(verdict)
    rows = read_results(database, verdict=verdict, sample=sample, checked=checked)
    if form in WHOLE:
        counted = count()
        write_pieces(out, WHOLE[form](row for row, _ in zip(rows, counted, strict=False)))
        return Exported((out,), next(counted))
    if verdict is not None:
        raise UsageError(f"--verdict {verdict}: a report of a sample is about all of its fields; leave it out, or "
                         f"export to {', '.join('.' + f for f in WHOLE)}")
    fields = list(rows)
    known = {row.bundle_id for row in fields}
    if occlude is not None and fields and occlude.bundle_id not in known:
        raise UsageError(f"--heat-map: bundle {occlude.bundle_id} judged none of these fields, "
                         f"{', '.join(sorted(known))} did; give that one's file")
    return Exported(_write_samples(fields, out, form, _renderer(form, archive, with_notes, occlude)), len(fields))


def _check_heat(form: str, archive: Path | None) -> None:
    """Raise UsageError where no field could have a heat map."""
    if form != "html":
        raise UsageError(f"--heat-map: expected --format html with it, received {form}, which has no pictures")
    if archive is None:
        raise UsageError("--heat-map: needs the archived pictures; name their folder with --archive, or `archive` in "
                         "[results]")


def _renderer(form: str, archive: Path | None, with_notes: bool,
              occlude: "Occluder | None") -> Callable[[str, Sequence[Verdict]], bytes]:
    """What makes the file of a sample."""
    from .exports import fhir, page

    if form == "html":
        return lambda sample, rows: page.as_page(sample, rows, archive, occlude)
    return lambda sample, rows: fhir.document(sample, rows, with_notes).encode()


def _write_samples(rows: Sequence[Verdict], out: Path, form: str,
                   render: Callable[[str, Sequence[Verdict]], bytes]) -> tuple[Path, ...]:
    """A file per sample in a folder; or one file, when there is just one sample and `out` is named like a file."""
    samples = by_sample(rows)
    alone = out.suffix in (".html", ".json")
    if alone and len(samples) != 1:
        raise UsageError(f"{out}: expected one sample for one file, received {len(samples)}; choose with --sample, or "
                         f"give a folder and --format {form}")
    paths = []
    for sample, fields in samples.items():
        paths.append(out if alone else file_name(out, sample, ".html" if form == "html" else ".fhir.json"))
        write_bytes(paths[-1], render(sample, fields))
    return tuple(paths)


def _check_label(verdict: str | None) -> None:
    """Raise UsageError for a verdict that does not exist."""
    if verdict is not None and verdict not in (*LABELS, INCONCLUSIVE):
        raise UsageError(f"verdict {verdict!r} is unknown: expected one of {', '.join((*LABELS, INCONCLUSIVE))}")
