"""Which sample the fields of a run belong to, and what it has come to.

Two stages ask: the one that keeps results marks each field with its sample, and the one that acknowledges them adds it
up. A press that closes a sample passes both in its place among the fields.
"""

import os
from dataclasses import replace
from pathlib import Path

from alledge.pooling import LEAST_GATE, Pool
from alledge.sample import SampleVerdict, next_sample_id
from alledge.verdict import Verdict

from .store.rows import read_sample, samples_used
from .store.schema import open_for_reading


class Samples:
    """The samples of one run, one after the other.

    Args:
        database: whose samples are not numbered again.
        entered: id of the first; the next number when empty. One that has fields already is continued.
        least: how many conclusive fields a sample takes; kept with every field.

    Raises:
        SinkError: when the sample that is to be continued is not what was written.
    """

    def __init__(self, database: Path, entered: str, least: int) -> None:
        self._used = _used(database)
        self._least = least
        self._current, self._marked = entered or next_sample_id(self._used), False
        self._begun = _begun(database, entered) if entered in self._used else None
        self._pool: Pool | None = None

    def mark(self, field: Verdict) -> Verdict:
        """A field with the sample that it belongs to."""
        self._marked = True
        return replace(field, sample=self._current, gates={**field.gates, LEAST_GATE: self._least})

    def move_on(self) -> None:
        """The fields that are marked from now on belong to the next number; a sample without a field has used none."""
        if self._marked:
            self._used.append(self._current)
            self._current, self._marked = next_sample_id(self._used), False

    def add(self, field: Verdict) -> None:
        """Add a field that is on disk to its sample."""
        if self._pool is None:
            self._pool, self._begun = self._begun or Pool(field.sample), None
        self._pool.add(field)

    def close(self) -> SampleVerdict | None:
        """What the sample came to; None when it got no field since the last closing."""
        verdict = None if self._pool is None else self._pool.verdict()
        self._pool = None
        return verdict


def _begun(database: Path, sample: str) -> Pool:
    """A sample as earlier runs left it."""
    pool = Pool(sample)
    for field in read_sample(database, sample):
        pool.add(field)
    return pool


def _used(database: Path) -> list[str]:
    if not os.path.isfile(database):
        return []
    with open_for_reading(database) as (connection, version):
        return samples_used(connection, version)
