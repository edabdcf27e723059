"""What the two sinks do about files they did not write, and after a power cut."""

import json
import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from alledge.device.sink import open_sink, sqlite
from alledge.device.store.rows import read_results
from alledge.device.store.tables import transaction
from alledge.device.stored import find, select
from alledge.errors import SinkError, UsageError
from alledge.verdict import Verdict

VERDICT = Verdict("benign", 0.9, {"benign": 0.9}, source="f.png")


def test_the_database_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.db"
    made: list[sqlite3.Connection] = []  # `synchronous` belongs to a connection: another one cannot see it
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kw: made.append(connect(*args, **kw)) or made[-1])
    with closing(open_sink("sqlite", path)), closing(connect(path)) as other:
        assert made[0].execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("PRAGMA user_version").fetchone() == (5,)


def test_results_that_come_while_the_writer_rests_share_a_transaction(tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[None] = []
    monkeypatch.setattr(sqlite, "transaction", lambda database: begun.append(None) or transaction(database))
    with closing(sqlite.SqliteSink(tmp_path / "results.db", pace_s=0.5)) as sink:
        assert sink.write(VERDICT).sequence == 1
        waiting = [sink.submit(VERDICT) for _ in range(20)]
        assert [future.result(20).sequence for future in waiting] == list(range(2, 22))
    assert len(begun) == 2
    assert len(list(read_results(tmp_path / "results.db"))) == 21


def test_one_result_and_the_last_few_are_read_without_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        for label in ("benign", "pre_b", "benign", "pre_b"):
            sink.write(replace(VERDICT, verdict=label))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE results SET body = replace(body, '0.9', '0.8') WHERE sequence = 1")
    assert find(path, 2).sequence == 2
    assert [row.sequence for row in select(path, last=2)] == [3, 4]
    assert [row.sequence for row in select(path, "benign", last=1, checked=False)] == [3]
    assert [row.sequence for row in select(path, "pre_b", checked=False)] == [2, 4]
    with pytest.raises(UsageError, match="holds no result 9"):
        find(path, 9)
    for altered in (lambda: list(select(path)), lambda: list(select(path, "pre_b")), lambda: find(path, 1)):
        with pytest.raises(SinkError, match=r"row 1 (does not follow|and those beside it)"):
            altered()


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        sink.write(VERDICT)
        sink.write(VERDICT)
        with pytest.raises(SinkError, match="result 2 cannot follow result 2"):
            sink.write(replace(VERDICT, sequence=2))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM results")
    with closing(open_sink("sqlite", path)) as sink:
        assert sink.write(VERDICT).sequence == 3


def test_two_writers_share_a_database(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as one, closing(open_sink("sqlite", path)) as two:
        assert [s.write(VERDICT).sequence for s in (one, two, one)] == [1, 2, 3]


def test_reading_leaves_nothing_behind_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        sink.write(VERDICT)
        assert [row.sequence for row in read_results(path)] == [1]
        sink.write(VERDICT)
        assert [row.sequence for row in read_results(path)] == [1, 2]
    assert len(list(read_results(path))) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["results.db"]


def test_a_database_on_a_read_only_card_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        sink.write(VERDICT)
    monkeypatch.setattr("os.access", lambda *_: False)  # root, who runs tests in containers, may write anywhere
    assert [row.sequence for row in read_results(path)] == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["results.db"]


@pytest.mark.parametrize("content", [b"this is no database at all" * 9, b"SQLite format 3\0junk" * 9])
def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.db"
    path.write_bytes(content)
    for attempt in (lambda: open_sink("sqlite", path), lambda: list(read_results(path))):
        with pytest.raises(SinkError, match=r"results\.db"):
            attempt()
    assert path.read_bytes() == content


@pytest.mark.parametrize(("change", "said"), [
    ("PRAGMA user_version=0", "not one of results"),
    ("PRAGMA user_version=9", "of version 9"),
])
def test_databases_of_others_are_refused(tmp_path: Path, change: str, said: str) -> None:
    path = tmp_path / "results.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE music (title)")
        database.execute(change)
    for attempt in (lambda: open_sink("sqlite", path), lambda: list(read_results(path))):
        with pytest.raises(SinkError, match=said):
            attempt()


def test_reading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="found none"):
        list(read_results(tmp_path / "results.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_line_cut_off_by_a_power_cut_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with closing(open_sink("jsonl", path)) as sink:
        sink.write(replace(VERDICT, sequence=1))
        sink.write(replace(VERDICT, sequence=2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with closing(open_sink("jsonl", path)) as sink:
        sink.write(replace(VERDICT, sequence=2))
    lines = path.read_bytes().split(b"\n")
    assert lines[0] + b"\n" == whole[:len(lines[0]) + 1]
    assert lines[2] == whole.split(b"\n")[1]


def test_a_line_that_lost_only_its_end_is_kept_and_its_number_used_once(tmp_path: Path) -> None:
    database, path = tmp_path / "results.db", tmp_path / "results.jsonl"
    for _ in range(2):
        with closing(open_sink("sqlite", database)) as first, closing(open_sink("jsonl", path)) as second:
            second.write(first.write(VERDICT))
        path.write_bytes(path.read_bytes()[:-1])
    assert [json.loads(line)["sequence"] for line in path.read_text().splitlines()] == [1, 2]


def test_lines_leave_numbering_to_the_database(tmp_path: Path) -> None:
    with closing(open_sink("jsonl", tmp_path / "results.jsonl")) as sink:
        assert [sink.write(VERDICT).sequence for _ in range(2)] == [0, 0]


def test_the_folder_of_new_lines_is_on_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.extend([status.st_ino] if stat.S_ISDIR(status.st_mode) else [])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with closing(open_sink("jsonl", tmp_path / "new" / "results.jsonl")):
        assert (tmp_path / "new").stat().st_ino in synced


