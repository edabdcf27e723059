"""The layout of 128x64 pixels in one bit: 53 rows above the strip, and small letters take 11 of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

from .canvas import Canvas
from .notice import Notice
from .words import count_of, footnote, percent, remarks, why

_RIGHT = 127
_ROW = 11  # px of the smallest letters that can still be read at arm's length
_BOTTOM = 52  # one dark row above the strip


def draw_verdict(canvas: Canvas, verdict: Verdict, tile: NDArray[np.uint8] | None = None) -> None:
    """Title, bar and share; field and time; what is wrong with the bundle or the machine takes its rows from them.

    A field's picture would be too small to see.
    """
    notes = _notes(verdict.caveat, verdict.faults, 2)
    if not verdict.conclusive:
        _draw_doubt(canvas, 0, verdict.title, f"#{verdict.sequence}" if verdict.sequence else "", why(verdict), notes)
        return
    title = 17 if notes else 24
    canvas.text((2, 0, _RIGHT - 1, title + 1), verdict.title, title, 1)
    _draw_share(canvas, title + 2, 11 if notes else 15, verdict.confidence)
    rows = notes if len(notes) == 2 else [*notes, ""]
    top = _BOTTOM - _ROW * len(rows)
    _draw_notes(canvas, top, notes)
    if len(notes) < 2:
        canvas.text((1, _BOTTOM - _ROW, _RIGHT, _BOTTOM), footnote(verdict), _ROW, 1)


def draw_sample(canvas: Canvas, sample: SampleVerdict) -> None:
    """The sample's id and how many fields answered, inverted; then as a verdict."""
    canvas.plate((0, 0, _RIGHT, _ROW), 1)
    canvas.text((2, 0, 88, _ROW + 1), sample.sample, _ROW, 0)
    canvas.text((90, 0, _RIGHT - 2, _ROW + 1), f"{sample.answered}/{sample.fields}", _ROW, 0, align="right")
    notes = _notes(sample.caveat, sample.faults, 1)
    if not sample.conclusive:
        _draw_doubt(canvas, _ROW + 1, sample.title, "", why(sample), notes)
        return
    canvas.text((2, 12, _RIGHT - 1, 31), sample.title, 19, 1)
    _draw_share(canvas, 30, 11, sample.confidence)
    _draw_notes(canvas, _BOTTOM - _ROW, notes)
    if not notes:
        canvas.text((1, _BOTTOM - _ROW, _RIGHT, _BOTTOM), count_of(sample), _ROW, 1)


def draw_notice(canvas: Canvas, notice: Notice) -> None:
    """Heading, how it is, and inverted what to do; smaller when it would not fit, and the remedy is never cut."""
    heading, letters, rows = (16, 11, 3) if _rows(canvas, notice, 11) <= 3 else (12, 10, 4)
    does = _rows_of_remedy(canvas, notice, letters)
    canvas.text((1, 0, _RIGHT, heading), notice.heading, heading, 1)
    top = _BOTTOM - letters * does
    canvas.sentence((1, _BOTTOM - letters * rows, _RIGHT, top), notice.says, (letters,), 1)
    if does:
        canvas.plate((0, top, _RIGHT, _BOTTOM - 1), 1)
        canvas.sentence((2, top, _RIGHT - 2, _BOTTOM), notice.remedy, (letters,), 0)


def _rows(canvas: Canvas, notice: Notice, letters: int) -> int:
    return canvas.height_of(notice.says, letters, _RIGHT - 1) // letters + _rows_of_remedy(canvas, notice, letters)


def _rows_of_remedy(canvas: Canvas, notice: Notice, letters: int) -> int:
    return canvas.height_of(notice.remedy, letters, _RIGHT - 4) // letters if notice.remedy else 0


def _notes(caveat: str, faults: Sequence[str], rows: int) -> list[str]:
    """What has to be said of bundle and machine, a row each; the last row counts what has none of its own."""
    notes = remarks(caveat, faults)
    more = len(notes) - rows
    return notes if more <= 0 else [*notes[:rows - 1], f"{notes[rows - 1]} +{more}"]


def _draw_doubt(canvas: Canvas, top: int, title: str, number: str, reason: str, notes: list[str]) -> None:
    """An inconclusive outcome: the reason has the room that bar and share do not need."""
    letters = 16 if top == 0 else 13
    canvas.text((1, top, _RIGHT - 6 * len(number), top + letters + 1), title, letters, 1)
    canvas.text((96, top, _RIGHT, top + letters + 1), number, _ROW, 1, align="right")
    foot = _BOTTOM - _ROW * len(notes)
    canvas.sentence((1, top + letters + 2, _RIGHT, foot), reason, (_ROW, 10), 1)
    _draw_notes(canvas, foot, notes)


def _draw_share(canvas: Canvas, top: int, letters: int, share: float) -> None:
    canvas.text((88, top, _RIGHT - 1, top + letters), percent(share), letters, 1, align="right")
    canvas.meter((2, top + 2, 84, top + letters - 2), share, 1, None, outline=1)


def _draw_notes(canvas: Canvas, top: int, notes: list[str]) -> None:
    """Inverted, each in a row."""
    for row, note in enumerate(notes):
        canvas.plate((0, top + _ROW * row, _RIGHT, top + _ROW * (row + 1) - 2), 1)
        canvas.text((2, top + _ROW * row - 1, _RIGHT - 2, top + _ROW * (row + 1)), note, _ROW, 0, align="centre")
