"""`alledge results`: read, note, verify, export and back up. What does the work is imported when a command runs."""

from pathlib import Path
from typing import Annotated

import typer

from alledge.errors import AlledgeError, UsageError
from alledge.output import command_group, emit, present, say

from .cli import ConfigFile, Database, Json

_LAST_NUMBER = 2**63 - 1  # that SQLite can count to

Label = Annotated[str | None, typer.Option("--verdict", metavar="LABEL", show_default=False,
                                           help="Only fields with this verdict.")]
Sample = Annotated[str | None, typer.Option("--sample", metavar="ID", show_default=False,
                                            help="Only fields of this sample.")]
Unverified = Annotated[bool, typer.Option("--unverified", help="Read rows even if they are not what was written.")]
Archive = Annotated[Path | None, typer.Option("--archive", metavar="DIR", show_default=False,
                                              help="Folder of pictures; else the configured one.")]

results = command_group(help="Read, note, verify, export and back up the results database.")


@results.command("list")
def results_list(
    database: Database = None,
    config: ConfigFile = None,
    verdict: Label = None,
    sample: Sample = None,
    last: Annotated[int | None, typer.Option(metavar="N", min=1, max=_LAST_NUMBER, show_default=False,
                                             help="Only the last N of them.")] = None,
    unverified: Unverified = False,
    as_json: Json = False,
) -> None:
    """List stored results, oldest first.

    For example:

      alledge results list --last 20

      alledge results list --results results.db --verdict inconclusive --json
    """
    from .stored import select
    from .words import line

    path = _database(database, config)
    _warn(path, unverified)
    rows = select(path, verdict, last, sample, not unverified)
    if as_json:
        emit({"results": [row.to_json() for row in rows]})
        return
    shown = 0
    for row in rows:
        print(line(row))
        shown += 1
    if not shown:
        say(f"{path}: holds no result{' like that' if verdict or sample else ''}")


@results.command("show")
def results_show(
    sequence: Annotated[int, typer.Argument(metavar="SEQUENCE", min=1, max=_LAST_NUMBER, help="Number of the field.",
                                            show_default=False)],
    database: Database = None,
    config: ConfigFile = None,
    unverified: Unverified = False,
    as_json: Json = False,
) -> None:
    """Show one stored result in full.

    Example: alledge results show 12 --results results.db
    """
    from .stored import find
    from .words import record

    path = _database(database, config)
    _warn(path, unverified)
    row = find(path, sequence, not unverified)
    present(row.to_json(), record(row), as_json)


@results.command("note")
def results_note(
    sequence: Annotated[int, typer.Argument(metavar="SEQUENCE", min=1, max=_LAST_NUMBER, help="Number of the field.",
                                            show_default=False)],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="One line about the field or the slide.",
                                        show_default=False)],
    database: Database = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Add a note to a stored result, for ever. No patient's name, number or date of birth belongs in it.

    Example: alledge results note 12 "slide was out of focus, taken again as S-0008"
    """
    from .stored import annotate

    note = annotate(_database(database, config), sequence, text)
    present(note.to_json(), [f"note {note.sequence} on result {note.note_on} is kept"], as_json)


@results.command("export")
def results_export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="FILE.csv, FILE.json, FILE.jsonl; a folder for html, fhir.",
                                        show_default=False)],
    form: Annotated[str | None, typer.Option("--format", metavar="FORM", show_default=False,
                                             help="csv, json, jsonl, html or fhir; else by the suffix.")] = None,
    database: Database = None,
    config: ConfigFile = None,
    verdict: Label = None,
    sample: Sample = None,
    archive: Archive = None,
    with_notes: Annotated[bool, typer.Option("--with-notes", help="FHIR: pass on what operators wrote.")] = False,
    heat_map: Annotated[Path | None, typer.Option("--heat-map", metavar="BUNDLE", show_default=False,
                                                  help="HTML: ask it again with parts of each field covered.")] = None,
    unverified: Unverified = False,
    as_json: Json = False,
) -> None:
    """Write stored results to a file, or a page (HTML) or document (FHIR R4) per sample to a folder.

    For example:

      alledge results export fields.csv --results results.db

      alledge results export reports --format html --sample S-0012

      alledge results export reports --format html --heat-map model.alledge
    """
    from contextlib import ExitStack, closing

    from alledge.config import load_config

    from .stored import export

    settings = load_config(config)
    _warn(database or settings.database, unverified)
    with ExitStack() as until_written:
        occlude = None
        if heat_map:
            from .occlusion import open_occluder

            occlude = until_written.enter_context(closing(open_occluder(heat_map, settings.bundle)))
        done = export(database or settings.database, out, form, verdict=verdict, sample=sample,
                      archive=archive or settings.results.archive, checked=not unverified,
                      with_notes=with_notes, occlude=occlude)
    number = f"{len(done.paths)} file{'s' if len(done.paths) > 1 else ''}"
    where = str(out) if done.paths == (out,) else f"{number} in {out}"
    present({"path": str(out), "paths": [str(p) for p in done.paths], "results": done.results},
            [f"{done.results} results in {where}"], as_json)


@results.command("verify")
def results_verify(
    database: Database = None,
    config: ConfigFile = None,
    against: Annotated[Path | None, typer.Option(metavar="FILE", show_default=False,
                                                 help="Witnesses: heads, or results as JSON lines.")] = None,
    signed_by: Annotated[str | None, typer.Option("--signed-by", metavar="KEY", show_default=False,
                                                  help="Only witnesses that this public key signed.")] = None,
    archive: Annotated[Path | None, typer.Option(metavar="DIR", show_default=False,
                                                 help="Also read every picture in this archive.")] = None,
    as_json: Json = False,
) -> None:
    """Recompute the hash chain: is every row what was written, and none missing? Exit code 1 when not.

    For example:

      alledge results verify

      alledge results verify --against /media/stick/heads.jsonl --archive /srv/captures
    """
    from .store.verification import verify
    from .store.witness import read_witnesses
    from .verified_archive import verify_archive

    path = _database(database, config)
    found = verify(path, read_witnesses(against, signed_by) if against else ())
    faults = [*found.faults, *(verify_archive(path, archive) if archive else ())]
    head = found.head
    document = {"path": str(path), "ok": not faults, "rows": found.rows, "faults": faults,
                "head": head and {"sequence": head.sequence, "hash": head.hash}, "witnessed": found.witnessed}
    ending = f", head {head.sequence} {head.hash}" if head else ""
    kept = f", {found.witnessed} witnesses agree" if against else ""
    present(document, [*faults, f"{path}: {found.rows} rows{ending}{kept}"], as_json)
    if faults:
        raise AlledgeError(f"{path}: does not verify: {faults[0]}")


@results.command("head")
def results_head(
    database: Database = None,
    config: ConfigFile = None,
    sign: Annotated[Path | None, typer.Option(metavar="KEY", show_default=False,
                                              help="Sign it with a key of `alledge keys new`.")] = None,
    as_json: Json = False,
) -> None:
    """Print the end of the hash chain, to be kept where nobody can alter it together with the database.

    For example:

      alledge results head --json >> /media/stick/heads.jsonl

      alledge results head --sign lab.key --json > head.json
    """
    from alledge.signing import load_key

    from .store.verification import verify
    from .store.witness import witness

    path = _database(database, config)
    found = verify(path)
    if found.faults or found.head is None:
        raise AlledgeError(f"{path}: does not verify: {found.faults[0]}; no head is given for altered rows")
    document = witness(found.head, load_key(sign) if sign else None)
    present(document, [f"{found.head.sequence} {found.head.hash}"], as_json)


@results.command("backup")
def results_backup(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="FILE.db, or a folder: results-SEQUENCE.db in it.",
                                        show_default=False)],
    database: Database = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Copy the database while it is in use, and verify the copy by reading all of it. Nothing is overwritten.

    Example: alledge results backup /media/stick
    """
    from .store.backup import back_up

    done = back_up(_database(database, config), out)
    if not done.made:
        say(f"{done.path} is there already and verifies: no result was added since")
    present({"path": str(done.path), "made": done.made, "rows": done.rows, "head": {"sequence": done.head.sequence,
                                                                                  "hash": done.head.hash}},
            [f"{done.rows} rows in {done.path}, head {done.head.sequence} {done.head.hash}"], as_json)


@results.command("forward")
def results_forward(
    to: Annotated[str | None, typer.Option(metavar="URL", show_default=False,
                                           help="mqtt://host/topic; else the configured one.")] = None,
    database: Database = None,
    config: ConfigFile = None,
    again: Annotated[int | None, typer.Option(metavar="SEQUENCE", min=1, max=_LAST_NUMBER, show_default=False,
                                              help="Deliver from this one on once more.")] = None,
    as_json: Json = False,
) -> None:
    """Deliver the results that wait to an MQTT broker, and end. `alledge run` does so by itself, all the time.

    Example: alledge results forward --to mqtt://broker.lab/alledge/scope-1
    """
    from threading import Event

    from alledge.config import load_config

    from .forwarding import deliver_waiting, progress_of

    settings = load_config(config)
    path, url = database or settings.database, to or settings.results.mqtt
    if url is None:
        raise UsageError("no broker was given: add --to mqtt://host/topic, or `mqtt` in [results]")
    count = deliver_waiting(path, url, Event(), again, say)
    last = progress_of(path).sequence
    present({"path": str(path), "delivered": count, "last": last}, [f"{count} delivered, the last is {last}"], as_json)


def _warn(path: Path, unverified: bool) -> None:
    if unverified:
        say(f"{path}: read unverified, what follows may not be what was written")


def _database(database: Path | None, config: Path | None) -> Path:
    from alledge.config import load_config

    return database or load_config(config).database
