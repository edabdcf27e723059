"""Operators' notes: rows of the same chain, kept, shown, exported and verified like results."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from alledge.device.exports import outward
from alledge.device.sink import open_sink
from alledge.device.store.backup import back_up
from alledge.device.store.links import Head
from alledge.device.store.notes import add_note
from alledge.device.store.rows import read_result, read_results, read_sample
from alledge.device.store.verification import verify
from alledge.device.stored import annotate, export
from alledge.errors import SinkError, UsageError
from alledge.note import LONGEST, check_note
from alledge.verdict import Verdict

OLD = Path(__file__).with_name("results_v4.sql")  # as the software of version 4 wrote it
VERDICT = Verdict("benign", 0.9, {"benign": 0.9}, source="f.png", sample="S-0001", taken_at="2026-01-02T03:04:05+00:00")
FOCUS, STAIN = "slide was out of focus, taken again as S-0008", "=and the <stain> is too dark"
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of version 4."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(OLD.read_text())
    return path


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """Results 1, 2, 3 and 5 of one sample; 4, 6 and 7 are notes on 2, 2 and 5."""
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:  # open, as a daemon's is
        for _ in range(3):
            sink.write(VERDICT)
        assert add_note(path, 2, FOCUS).sequence == 4
        assert sink.write(VERDICT).sequence == 5
    add_note(path, 2, STAIN)
    add_note(path, 5, "x")
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


def test_notes_are_beside_their_results_wherever_these_are_read(noted: Path) -> None:
    said = {1: [], 2: [FOCUS, STAIN], 3: [], 5: ["x"]}
    for rows in (read_results(noted), read_sample(noted, "S-0001"), read_results(noted, sample="S-0001")):
        assert {row.sequence: [note.text for note in row.notes] for row in rows} == said
    row = read_result(noted, 2)
    assert row is not None
    assert [(note.sequence, note.note_on, bool(note.software and note.written_at)) for note in row.notes] == [
        (4, 2, True), (6, 2, True)]
    assert [row.sequence for row in read_results(noted, last=2)] == [3, 5]
    assert read_result(noted, 4) is None  # a note is no result
    assert verify(noted).rows == 7


MANIPULATIONS = {
    "edited": ["UPDATE results SET body = replace(body, 'out of focus', 'in focus') WHERE sequence = 4"],
    "put on another": ["UPDATE results SET body = replace(body, '\"note_on\":2', '\"note_on\":1') WHERE sequence = 4"],
    "deleted": ["DELETE FROM results WHERE sequence = 4"],
    "swapped": ["UPDATE results SET sequence = -4 WHERE sequence = 4",
                "UPDATE results SET sequence = 4 WHERE sequence = 6",
                "UPDATE results SET sequence = 6 WHERE sequence = -4"],
    "tail cut": ["DELETE FROM results WHERE sequence > 5"],
    "the last deleted": ["DELETE FROM results WHERE sequence = 7"],
    "index gone": ["DROP INDEX notes"],
}


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_every_manipulation_of_a_note_is_found(noted: Path, name: str) -> None:
    change(noted, *MANIPULATIONS[name])
    assert verify(noted).faults
    if name != "index gone":  # the rows are as they were
        with pytest.raises(SinkError, match="altered or damaged"):
            list(read_results(noted))


def test_a_head_pins_notes_too(noted: Path) -> None:
    head = verify(noted).head
    assert head is not None
    assert head.sequence == 7
    change(noted, "DELETE FROM results WHERE sequence > 6", "UPDATE sqlite_sequence SET seq = 6",
           "UPDATE chain SET sequence = 6, hash = (SELECT hash FROM results WHERE sequence = 6)")
    assert verify(noted).faults == ()  # whoever knows the scheme; a witness knows better
    assert verify(noted, [Head(head.sequence, head.hash)]).faults == (f"row 7 is gone: its witness says {head.hash}",)


def test_a_row_that_is_gone_from_a_sample_or_before_a_shown_row_is_noticed(noted: Path) -> None:
    change(noted, "DELETE FROM results WHERE sequence = 3")
    for ask in (lambda: read_result(noted, 2), lambda: list(read_sample(noted, "S-0001"))):
        with pytest.raises(SinkError, match="do not follow from each other"):
            ask()
    change(noted, "DELETE FROM results WHERE sequence < 6")
    with pytest.raises(SinkError, match="altered or damaged"):  # none of the sample is left: all rows are read
        list(read_sample(noted, "S-0001"))


def test_every_form_holds_the_notes_and_fhir_only_when_told(noted: Path, tmp_path: Path) -> None:
    for name in ("r.csv", "r.json", "r.jsonl", "r.html"):
        export(noted, tmp_path / name)
        assert FOCUS in (tmp_path / name).read_text()
    assert "&lt;stain&gt;" in (tmp_path / "r.html").read_text()
    assert "Row 7 has the hash" in (tmp_path / "r.html").read_text()
    first = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[1])
    assert [note["text"] for note in first["notes"]] == [FOCUS, STAIN]
    assert FOCUS not in json.dumps(outward(next(row for row in read_results(noted) if row.notes)))
    with pytest.raises(UsageError, match="expected --format fhir"):
        export(noted, tmp_path / "r.csv", with_notes=True)
    pytest.importorskip("fhir.resources")
    export(noted, tmp_path / "r.fhir.json", "fhir")
    assert "added later, kept on the device: 2" in (tmp_path / "r.fhir.json").read_text()
    assert FOCUS not in (tmp_path / "r.fhir.json").read_text()
    export(noted, tmp_path / "r.fhir.json", "fhir", with_notes=True)
    assert FOCUS in (tmp_path / "r.fhir.json").read_text()


def test_a_database_of_version_4_is_read_copied_and_noted(old: Path) -> None:
    before = list(read_results(old))
    assert (len(before), verify(old).faults) == (5, ())
    assert list(read_sample(old, "S-0002")) == [before[1], before[3]]
    assert read_result(old, 2) == before[1]
    backup = back_up(old, old.with_name("backup.db"))  # is of version 4 as well
    note = annotate(old, 2, FOCUS)
    assert note.sequence == 6
    assert list(read_results(old)) == [before[0], replace(before[1], notes=(note,)), *before[2:]]
    assert verify(old).faults == ()
    assert verify(old, [backup.head]).witnessed == 1
    copy = old.with_name("old.db.v4.bak")
    for path in (copy, backup.path):
        assert (list(read_results(path)), verify(path).faults) == (before, ())
    with closing(open_sink("sqlite", old)) as sink:
        assert sink.write(VERDICT).sequence == 7
    assert sorted(old.parent.glob("*.bak")) == [copy]


def test_what_a_killed_copy_left_is_cleared_and_what_a_living_one_writes_is_not(old: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, being_written = (old.with_name(f".old.db.v4.bak.{number}") for number in (gone.pid, os.getppid()))
    left.touch()
    being_written.touch()
    with closing(open_sink("sqlite", old)):
        assert not left.exists()
        assert being_written.exists()


def test_a_damaged_database_of_version_4_is_left_as_it_is(old: Path) -> None:
    mark = b'{"boot_id"'
    parts = old.read_bytes().split(mark)
    assert len(parts) == 6  # five rows, the last one first in the file
    old.write_bytes(mark.join(parts[:3]) + b'["boot_id"' + mark.join(parts[3:]))  # as a dying card does it
    for ask in (lambda: open_sink("sqlite", old), lambda: annotate(old, 2, FOCUS), lambda: list(read_results(old))):
        with pytest.raises(SinkError, match=r"malformed JSON.*use a backup|do(es)? not follow"):
            ask()
    assert not list(old.parent.glob("*.bak"))
    with closing(sqlite3.connect(old)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (4,)


def test_older_software_is_told_by_a_newer_database(noted: Path) -> None:
    change(noted, "PRAGMA user_version=6")
    for ask in (lambda: list(read_results(noted)), lambda: add_note(noted, 1, "x"), lambda: open_sink("sqlite", noted)):
        with pytest.raises(SinkError, match="version 6, this alledge knows up to 5; update it, or begin a new file"):
            ask()


@pytest.mark.parametrize(("text", "says"), [
    ("", "1 to 500 characters, received 0"), ("x" * (LONGEST + 1), "received 501"), ("a\nb", "control characters"),
    ("a\x1b[31m", "control characters"), ("\u202eabc", "control characters"), ("seen 12.03.2014", "date of birth"),
    ("2014-3-12", "date of birth"), ("no. 1234567", "more than 6 digits"), ("call 555 010 2030", "more than 6 digits"),
    ("jane@lab.example", "e-mail"), ("the Patient moved", "about a person"), ("MRN 12", "about a person")])
def test_what_may_be_about_a_person_is_no_note(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        check_note(text)
    assert not text.strip() or text not in str(caught.value)


@pytest.mark.parametrize("text", [FOCUS, "x" * LONGEST, "20x, 0.25 NA, lot 123456, 14:30", "لکه\u200cها تیره است"])
def test_what_is_about_a_slide_is_one(text: str) -> None:
    assert check_note(f"  {text} ") == text


def test_a_note_from_the_command_line(alledge: Cli, noted: Path) -> None:
    done = alledge("results", "note", "1", FOCUS, "--results", noted)
    assert (done.returncode, done.stdout) == (0, "note 8 on result 1 is kept\n"), done.stderr
    assert FOCUS in alledge("results", "show", "1", "--results", noted).stdout
    for given, says in ((("4", "x"), "holds no result 4 (notes are counted, too)"), (("1", "born"), "about a person")):
        done = alledge("results", "note", *given, "--results", noted)
        assert (done.returncode, says in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert verify(noted).rows == 8
