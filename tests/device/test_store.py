"""The results database: chained rows, older versions brought up to date, results together in one transaction."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from alledge.device.sink import open_sink
from alledge.device.sink.sqlite import SqliteSink
from alledge.device.store.links import walk
from alledge.device.store.rows import read_results
from alledge.device.store.schema import open_for_reading
from alledge.errors import SinkError
from alledge.verdict import Verdict

VERDICT = Verdict("benign", 0.9, {"benign": 0.9}, source="f.png")

# What versions 1 to 3 of this software made, each with what the one before it lacked.
OLD_TABLE = """CREATE TABLE results (sequence INTEGER PRIMARY KEY AUTOINCREMENT, taken_at TEXT NOT NULL,
verdict TEXT NOT NULL, confidence REAL NOT NULL, probabilities TEXT NOT NULL, reasons TEXT NOT NULL,
quality TEXT NOT NULL, coverage REAL NOT NULL, timings_ms TEXT NOT NULL, engine TEXT NOT NULL, bundle_id TEXT NOT NULL,
source TEXT NOT NULL)"""
OLD_COLUMNS = {2: "caveat TEXT NOT NULL DEFAULT ''", 3: "faults TEXT NOT NULL DEFAULT '[]'"}
OLD_ROW = ("2026-01-02T03:04:05+00:00", "pre_b", 0.5, '{"pre_b": 0.5}', '["why"]', '{"focus": 1.5}', 0.25,
           '{"total": 2.0}', "tflite", "0" * 16, "f.png")
OLD_INSERT = ("INSERT INTO results (taken_at, verdict, confidence, probabilities, reasons, quality, coverage, "
              f"timings_ms, engine, bundle_id, source) VALUES ({', '.join('?' * len(OLD_ROW))})")


def old_database(path: Path, version: int, rows: int = 3) -> None:
    """A database as that version left it; the last row was deleted, its number is used up."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(OLD_TABLE)
        for since, column in OLD_COLUMNS.items():
            if version >= since:
                database.execute(f"ALTER TABLE results ADD COLUMN {column}")
        database.executemany(OLD_INSERT, [OLD_ROW] * (rows + 1))
        database.execute("DELETE FROM results WHERE sequence = ?", (rows + 1,))
        database.execute(f"PRAGMA user_version={version}")
        database.commit()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_older_versions_are_read_copied_and_written_on(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.db"
    old_database(path, version)
    before = list(read_results(path))
    assert [row.sequence for row in before] == [1, 2, 3]
    assert before[0] == Verdict("pre_b", 0.5, {"pre_b": 0.5}, ("why",), {"focus": 1.5}, 0.25, {"total": 2.0}, 1,
                                "2026-01-02T03:04:05+00:00", "tflite", "0" * 16, "f.png")
    assert [row.sequence for row in read_results(path, last=1)] == [3]
    with closing(open_sink("sqlite", path)) as sink:
        assert sink.write(VERDICT).sequence == 5  # 4 was used by a row that is gone
    after = list(read_results(path))
    assert [replace(row, hash="") for row in after[:3]] == before
    assert all(len(row.hash) == 64 for row in after)
    copy = tmp_path / f"old.db.v{version}.bak"
    assert list(read_results(copy)) == before
    with closing(open_sink("sqlite", path)):
        assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".bak") == [copy.name]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old_database(path, 3)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE results SET reasons = '[' WHERE sequence = 2")
    for copies in (1, 2):  # what an earlier attempt has copied stays
        with pytest.raises(SinkError, match="damaged"):
            open_sink("sqlite", path)
        assert len(list(tmp_path.glob("*.bak"))) == copies
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)
        assert database.execute("SELECT count(*) FROM results").fetchone() == (3,)


def test_rows_are_linked_each_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        kept = [sink.write(VERDICT) for _ in range(4)]
    assert len({row.hash for row in kept}) == 4
    assert all(row.software and row.boot_id and row.uptime_s > 0 for row in kept)
    with open_for_reading(path) as (database, _):
        assert [(row.sequence, row.hash, row.holds) for row in walk(database)] == [
            (row.sequence, row.hash, True) for row in kept]
    assert list(read_results(path)) == kept


def test_what_waits_goes_into_one_transaction_in_order(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(SqliteSink(path)) as sink:
        statements: list[str] = []
        sink._database.set_trace_callback(statements.append)
        futures = [sink.submit(replace(VERDICT, source=f"{n}.png")) for n in range(200)]
        kept = [future.result(30) for future in futures]
    assert [row.sequence for row in kept] == list(range(1, 201))
    assert [row.source for row in read_results(path)] == [f"{n}.png" for n in range(200)]
    assert statements.count("COMMIT") < 100


def test_the_fault_of_one_result_is_not_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(SqliteSink(path)) as sink:
        futures = [sink.submit(replace(VERDICT, confidence=c)) for c in (0.1, float("nan"), 0.3)]
        assert [f.exception(30) is None for f in futures] == [True, False, True]
        assert "cannot be kept (Out of range float" in str(futures[1].exception())
    assert [row.confidence for row in read_results(path)] == [0.1, 0.3]
    with pytest.raises(SinkError, match="closed"):
        sink.write(VERDICT)


def test_people_can_ask_in_sql(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        sink.write(replace(VERDICT, sample="S1", taken_at="1970-01-01T00:00:00+00:00"))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT verdict, sample, taken_at FROM results").fetchone() == (
            "benign", "S1", "1970-01-01T00:00:00+00:00")
        assert json.loads(database.execute("SELECT body FROM results").fetchone()[0])["confidence"] == 0.9
