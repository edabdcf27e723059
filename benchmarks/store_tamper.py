"""Is any altered row, or any damaged file, taken for what was written?

    python benchmarks/store_tamper.py [--changes 2000] [--damages 1000] [--seed 0]

First part: random manipulations through SQL by someone who knows the tables but not what a hash chain is, and by
someone who knows all of this software and states a head that fits (then only a witness kept elsewhere can tell).
Second part: random damage to the file itself. Every question must be answered with all rows as they were written, or
with one sentence; never with fewer rows, other rows or a traceback.

Prints one JSON document. Exit code 1 when one was missed.
"""

import argparse
import json
import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from alledge.device.sink import open_sink
from alledge.device.store import chain
from alledge.device.store.links import Head
from alledge.device.store.notes import add_note
from alledge.device.store.rows import read_results
from alledge.device.store.verification import verify
from alledge.errors import SinkError
from alledge.verdict import Verdict

ROWS, NOTE_EVERY = 40, 8  # one row in eight is an operator's note
Change = Callable[[sqlite3.Connection, random.Random], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=2000)
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, begin = random.Random(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.db"
        with closing(open_sink("sqlite", whole)) as sink:
            for number in range(1, ROWS + 1):
                if number % NOTE_EVERY:
                    sink.write(example(number))
                else:
                    add_note(whole, number - 2, f"slide {number} was out of focus")
        rows = list(read_results(whole))
        assert sum(len(row.notes) for row in rows) == ROWS // NOTE_EVERY
        assert not verify(whole).faults
        found = {"changes": tampered(whole, rows, options.changes, chance),
                 "informed": informed(whole, options.changes // 10, chance),
                 "damage": damaged(whole, rows, options.damages, chance)}
    missed = sum(kind["missed"] for kind in found["changes"].values()) + found["informed"]["missed_with_witness"]
    missed += sum(count for kind, count in found["damage"].items() if kind.startswith("WRONG"))
    print(json.dumps({**found, "missed": missed, "seconds": round(time.monotonic() - begin)}))
    return int(bool(missed))


def example(number: int) -> Verdict:
    return Verdict("pre_b" if number % 3 else "inconclusive", 0.9, {"benign": 0.1, "pre_b": 0.9}, ("why",) * (number % 3
                   == 0), {"focus": 12.5 + number}, 0.1, {"total": 3.5}, source=f"{number}.png", engine="tflite",
                   sample=f"S-{number // 5:04d}", taken_at="2026-01-02T03:04:05+00:00", frame_sha256=f"{number:064x}")


def edited(database: sqlite3.Connection, chance: random.Random) -> None:
    """One character of one column of one row."""
    number, column = chance.randint(1, ROWS), chance.choice(("body", "body", "hash"))
    text = database.execute(f"SELECT {column} FROM results WHERE sequence = ?", (number,)).fetchone()[0]
    at = chance.randrange(len(text))
    other = chance.choice([c for c in "0123456789abcdef" if c != text[at]])
    try:
        database.execute(f"UPDATE results SET {column} = ? WHERE sequence = ?",
                         (text[:at] + other + text[at + 1:], number))
    except sqlite3.OperationalError:  # SQLite itself refuses what is no JSON
        edited(database, chance)


def relabelled(database: sqlite3.Connection, chance: random.Random) -> None:
    """Another verdict, as valid as the first; the row's own hash is made to fit, the next row's is not."""
    number = chance.randint(1, ROWS)
    body = json.loads(database.execute("SELECT body FROM results WHERE sequence = ?", (number,)).fetchone()[0])
    body["verdict"] = "benign"
    before = database.execute("SELECT hash FROM results WHERE sequence = ?", (number - 1,)).fetchone()
    link = chain.link(before[0], chain.canonical(body)) if before else "0" * 64
    database.execute("UPDATE results SET body = ?, hash = ? WHERE sequence = ?",
                     (chain.canonical(body), link, number))


def deleted(database: sqlite3.Connection, chance: random.Random) -> None:
    database.execute("DELETE FROM results WHERE sequence = ?", (chance.randint(1, ROWS),))


def inserted(database: sqlite3.Connection, chance: random.Random) -> None:
    """A copy of a row, or one with a hash that fits the row before, at an end or in a gap made for it."""
    number = chance.randint(1, ROWS)
    body, link = database.execute("SELECT body, hash FROM results WHERE sequence = ?", (number,)).fetchone()
    if chance.random() < 0.5:
        link = chain.link(link, body)
    at = chance.choice((-1, 0, ROWS + 1, number))
    if at == number:
        for later in range(ROWS, number - 1, -1):
            database.execute("UPDATE results SET sequence = ? WHERE sequence = ?", (later + 1, later))
    database.execute("INSERT INTO results (sequence, body, hash) VALUES (?, ?, ?)", (at, body, link))


def reordered(database: sqlite3.Connection, chance: random.Random) -> None:
    one, other = chance.sample(range(1, ROWS + 1), 2)
    for old, new in ((one, -1), (other, one), (-1, other)):
        database.execute("UPDATE results SET sequence = ? WHERE sequence = ?", (new, old))


def cut(database: sqlite3.Connection, chance: random.Random) -> None:
    database.execute("DELETE FROM results WHERE sequence > ?", (chance.randrange(ROWS),))


CHANGES: tuple[Change, ...] = (edited, relabelled, deleted, inserted, reordered, cut)


def tampered(whole: Path, rows: list[Verdict], count: int, chance: random.Random) -> dict[str, dict[str, int]]:
    """Each manipulation in turn on a fresh copy: does `verify` find it, does reading refuse it?"""
    found = {change.__name__: {"tried": 0, "verify_found": 0, "reading_refused": 0, "missed": 0} for change in CHANGES}
    path = whole.with_name("changed.db")
    for number in range(count):
        change = CHANGES[number % len(CHANGES)]
        shutil.copy(whole, path)
        with closing(sqlite3.connect(path)) as database, database:
            change(database, chance)
        told = found[change.__name__]
        told["tried"] += 1
        told["verify_found"] += bool(verify(path).faults)
        told["reading_refused"] += refused(path)
        told["missed"] = 2 * told["tried"] - told["verify_found"] - told["reading_refused"]
    return found


def refused(path: Path) -> bool:
    try:
        list(read_results(path))
    except SinkError:
        return True
    return False


def informed(whole: Path, count: int, chance: random.Random) -> dict[str, int]:
    """The tail is cut, or a row changed and all after it chained anew, and everything in the file is made to fit."""
    path = whole.with_name("informed.db")
    found = {"tried": 0, "found_without_witness": 0, "found_with_witness": 0, "missed_with_witness": 0}
    with closing(sqlite3.connect(whole)) as database:
        bodies = [body for body, in database.execute("SELECT body FROM results ORDER BY sequence")]
        witness = [Head(*database.execute("SELECT sequence, hash FROM chain").fetchone())]
    for number in range(count):
        shutil.copy(whole, path)
        at = chance.randint(1, ROWS - 1)
        kept = bodies[:at]
        if number % 2:
            other = bodies[at - 1].replace("pre_b", "benign", 1).replace("out of focus", "in focus")
            kept = [*bodies[:at - 1], other, *bodies[at:]]
        rewrite(path, kept)
        found["tried"] += 1
        found["found_without_witness"] += bool(verify(path).faults)
        found["found_with_witness"] += bool(verify(path, witness).faults)
    return {**found, "missed_with_witness": found["tried"] - found["found_with_witness"]}


def rewrite(path: Path, bodies: list[str]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        link = chain.seed(database.execute("SELECT genesis FROM chain").fetchone()[0])
        database.execute("DELETE FROM results")
        for number, body in enumerate(bodies, 1):
            link = chain.link(link, body)
            database.execute("INSERT INTO results (sequence, body, hash) VALUES (?, ?, ?)", (number, body, link))
        database.execute("UPDATE chain SET sequence = ?, hash = ?", (len(bodies), link))
        database.execute("UPDATE sqlite_sequence SET seq = ?", (len(bodies),))


def damaged(whole: Path, rows: list[Verdict], count: int, chance: random.Random) -> dict[str, int]:
    """Bytes flipped, overwritten, cut off, put in; then read, verify, and write on."""
    path, found = whole.with_name("damaged.db"), Counter[str]()
    for _ in range(count):
        for leftover in path.parent.glob("damaged.db*"):
            leftover.unlink()
        path.write_bytes(broken(bytearray(whole.read_bytes()), chance))
        for name, ask in (("read", lambda: list(read_results(path))), ("verify", lambda: verify(path)),
                          ("write", lambda: write_on(path))):
            try:
                answer = ask()
            except SinkError as error:
                found[f"{name}: one sentence" if "\n" not in str(error) else "WRONG: more than a line"] += 1
            except Exception as error:
                found[f"WRONG: {name} {type(error).__name__}"] += 1
            else:
                found[judged(name, answer, rows)] += 1
    return dict(sorted(found.items()))


def judged(name: str, answer: object, rows: list[Verdict]) -> str:
    if name == "read":
        return "read: all rows as written" if answer == rows else "WRONG: other rows"
    if name == "verify":
        return "verify: faults" if answer.faults else "verify: ok"  # type: ignore[attr-defined]
    return "write: went on"


def write_on(path: Path) -> None:
    with closing(open_sink("sqlite", path)) as sink:
        sink.write(example(0))


def broken(data: bytearray, chance: random.Random) -> bytes:
    at, kind = chance.randrange(len(data)), chance.randrange(6)
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        for _ in range(chance.randint(2, 200)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        length = chance.choice((16, 512, 4096))
        data[at:at + length] = bytes(length)
    elif kind == 4:
        data[chance.randrange(100)] = chance.randrange(256)  # SQLite's header
    else:
        data[at:at] = chance.randbytes(chance.randint(1, 64))
    return bytes(data)


if __name__ == "__main__":
    raise SystemExit(main())
