"""The layouts in colour, in units of a screen 240 (TALL) or 320 (WIDE) units high."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alledge.labels import INCONCLUSIVE, LABELS, MALIGNANT, TITLES
from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

from .canvas import AMBER, GREY, NIGHT, PLATE, RED, TEAL, WHITE, Canvas, Class, Colour
from .faults import FAULTS
from .lettering import Box
from .notice import Notice, Tone
from .words import count_of, footnote, percent, why

_TONES = {Tone.BUSY: WHITE, Tone.READY: TEAL, Tone.FAULT: RED}


@dataclass(frozen=True)
class _Plan:
    """Where things go, and letters in units: heading, share, rows of classes, foot."""

    heading: Box
    picture: Box
    share: Box
    meter: Box
    reasons: Box
    classes: Box
    foot: Box
    caveat: Box
    faults: Box
    letters: tuple[int, int, int, int]


def draw_verdict(canvas: Canvas, verdict: Verdict, tile: NDArray[np.uint8] | None) -> None:
    """Title, field, share and bar or the reasons, the classes, field number and time; faults of the machine."""
    plan = (_tall if canvas.kind is Class.TALL else _wide)(canvas, tile is not None, bool(verdict.faults))
    ink = _ink(verdict.verdict)
    canvas.text(plan.heading, verdict.title, plan.letters[0], ink)
    if tile is not None:
        canvas.picture(plan.picture, tile)
    _draw_outcome(canvas, plan, verdict, ink)
    if not verdict.faults or plan.faults != plan.classes:
        shown = {label: (share, percent(share)) for label, share in verdict.probabilities.items()}
        _draw_classes(canvas, plan, shown, verdict.verdict)
    _draw_foot(canvas, plan, footnote(verdict), verdict.caveat, verdict.faults)


def draw_sample(canvas: Canvas, sample: SampleVerdict) -> None:
    """As a verdict, with an inverted heading, the sample's id, and votes in place of probabilities."""
    plan = (_tall_sample if canvas.kind is Class.TALL else _wide_sample)(canvas, bool(sample.faults))
    ink = _ink(sample.verdict)
    canvas.plate((0, 0, canvas.width + 1, plan.heading[3]), ink)
    canvas.text(plan.heading, sample.title, plan.letters[0], NIGHT)
    canvas.text(plan.picture, f"Sample {sample.sample}", plan.letters[2] + 6, WHITE)
    _draw_outcome(canvas, plan, sample, ink)
    if not sample.faults or plan.faults != plan.classes:
        votes = {label: sample.votes.get(label, 0) for label in LABELS}
        shown = {label: (n / max(sample.fields, 1), str(n)) for label, n in votes.items()}
        _draw_classes(canvas, plan, shown, sample.verdict)
    _draw_foot(canvas, plan, count_of(sample), sample.caveat, sample.faults)


def draw_notice(canvas: Canvas, notice: Notice) -> None:
    """Heading, how it is, and on a plate at the bottom what to do."""
    k, margin, ink = canvas.height / 217, 10, _TONES[notice.tone]
    head, right = round(46 * k), canvas.width - margin
    canvas.text((margin, 4, right, head), notice.heading, round(38 * k), ink)
    top = canvas.height
    if notice.remedy:
        sizes = [round(size * k) for size in (24, 22, 20, 18, 16)]
        heights = [canvas.height_of(notice.remedy, size, right - margin - 12) for size in sizes]
        fits = next((i for i, height in enumerate(heights) if height <= 0.36 * canvas.height), len(sizes) - 1)
        top = canvas.height - heights[fits] - 22
        canvas.plate((0, top, canvas.width + 1, canvas.height - 6), PLATE)
        canvas.plate((0, top, 5, canvas.height - 6), ink)
        canvas.sentence((margin + 6, top + 8, right, canvas.height - 10), notice.remedy, (sizes[fits],), WHITE)
    says = tuple(round(size * k) for size in (24, 22, 20, 18, 16, 14, 12))
    canvas.sentence((margin, head + 6, right, top - 6), notice.says, says, WHITE)


def _tall(canvas: Canvas, pictured: bool, faulty: bool) -> _Plan:
    right, bottom = canvas.width - 10, canvas.height
    left = 94 if pictured else 10
    rows: Box = (10, 133, right, bottom - 20)
    return _Plan((10, 2, right, 49), (10, 54, 84, 128), (left, 51, right, 97), (left, 104, right, 122),
                 (left, 54, right, 130), rows, (10, bottom - 19, right, bottom), (120, bottom - 19, right, bottom),
                 rows, (42, 46, 14, 16))


def _wide(canvas: Canvas, pictured: bool, faulty: bool) -> _Plan:
    right, bottom = canvas.width - 12, canvas.height - (52 if faulty else 0)
    side = min(200, bottom - 70)
    left = 12 + side + 16 if pictured else 12
    under = 12 + side + 4
    return _Plan((left, 4, right, 60), (12, 12, 12 + side, 12 + side), (left, 58, right, 110), (left, 116, right, 138),
                 (left, 62, right, 142), (left, 148, right, bottom - 6 - (0 if pictured else 26)),
                 (12, under, 12 + side, under + 24), (12, under + 24, 12 + side, under + 48),
                 (12, bottom + 2, right, canvas.height - 4), (52, 54, 18, 19))


def _tall_sample(canvas: Canvas, faulty: bool) -> _Plan:
    right, bottom = canvas.width - 10, canvas.height
    rows: Box = (10, 133, right, bottom - 20)
    return _Plan((10, 0, right, 48), (10, 51, right, 75), (10, 77, 108, 117), (114, 86, right, 108),
                 (10, 78, right, 131), rows, (10, bottom - 19, right, bottom), (120, bottom - 19, right, bottom), rows,
                 (40, 40, 14, 16))


def _wide_sample(canvas: Canvas, faulty: bool) -> _Plan:
    right, bottom = canvas.width - 12, canvas.height - (52 if faulty else 0)
    return _Plan((12, 0, right, 58), (12, 64, right, 92), (12, 92, 150, 144), (160, 106, right, 132),
                 (12, 94, right, 146), (12, 150, right, bottom - 30), (12, bottom - 28, right, bottom - 4),
                 (12, bottom - 28, right, bottom - 4), (12, bottom + 2, right, canvas.height - 4), (50, 50, 18, 19))


def _draw_outcome(canvas: Canvas, plan: _Plan, outcome: Verdict | SampleVerdict, ink: Colour) -> None:
    """Share and bar, or why there are none."""
    if outcome.conclusive:
        canvas.text(plan.share, percent(outcome.confidence), plan.letters[1], WHITE)
        canvas.meter(plan.meter, outcome.confidence, ink, PLATE)
    else:
        canvas.sentence(plan.reasons, why(outcome), tuple(range(plan.letters[2] + 8, plan.letters[2] - 3, -1)), WHITE)


def _draw_classes(canvas: Canvas, plan: _Plan, shown: Mapping[str, tuple[float, str]], chosen: str) -> None:
    """A row each: name, bar, number."""
    left, top, right, bottom = plan.classes
    letters, pitch = plan.letters[2], (bottom - top) // max(len(shown), 1)
    bar, number = left + 6 * letters, right - 3 * letters + 2
    for row, (label, (share, text)) in enumerate(shown.items()):
        y, ink = top + pitch * row, WHITE if label == chosen else GREY
        canvas.text((left, y, bar - 4, y + pitch), TITLES[label], letters, ink)
        canvas.meter((bar, y + pitch // 2 - 4, number, y + pitch // 2 + 5), share,
                     _ink(label) if label == chosen else GREY, PLATE)
        canvas.text((number + 2, y, right, y + pitch), text, letters, ink, align="right")


def _draw_foot(canvas: Canvas, plan: _Plan, note: str, caveat: str, faults: tuple[str, ...]) -> None:
    """What is counted; what has to be said of the bundle; what is wrong with the machine."""
    left, top, right, bottom = plan.foot
    beside = caveat and plan.caveat[1] == top
    canvas.text((left, top, plan.caveat[0] - 4 if beside and plan.caveat[0] > left else right, bottom), note,
                plan.letters[3], GREY)
    canvas.text(plan.caveat, caveat, plan.letters[3], RED, align="right" if beside else "left")
    if faults:
        sentences = ". ".join(FAULTS[name].sentence if name in FAULTS else name for name in faults)
        left, top, right, bottom = plan.faults
        canvas.plate((left - 4, top, left - 1, bottom), RED)
        canvas.sentence((left + 6, top, right, bottom), sentences[:1].upper() + sentences[1:] + ".",
                        tuple(range(plan.letters[2] + 5, plan.letters[2] - 3, -1)), WHITE)


def _ink(label: str) -> Colour:
    if label == INCONCLUSIVE:
        return GREY
    return AMBER if label in MALIGNANT else TEAL
