"""What the two sinks do about files they did not write, and after a power cut."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from alledge.device.sink import open_sink
from alledge.device.sink.sqlite import read_results
from alledge.errors import SinkError
from alledge.verdict import Verdict

VERDICT = Verdict("benign", 0.9, {"benign": 0.9}, source="f.png")


def test_the_database_is_durable(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        database = sink._database  # type: ignore[attr-defined]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(open_sink("sqlite", path)) as sink:
        sink.write(VERDICT)
        sink.write(VERDICT)
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
        sink.write(VERDICT)
        sink.write(VERDICT)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with closing(open_sink("jsonl", path)) as sink:
        assert sink.write(VERDICT).sequence == 2
    lines = path.read_bytes().split(b"\n")
    assert lines[0] + b"\n" == whole[:len(lines[0]) + 1]
    assert lines[2] == whole.split(b"\n")[1]
