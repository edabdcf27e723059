"""A sample as one HTML page that needs nothing else: its fields, what was masked, the verdicts and what they met."""

from collections.abc import Sequence
from html import escape
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.errors import AlledgeError
from alledge.images import read_image
from alledge.labels import TITLES
from alledge.page import html_page
from alledge.pooling import pool
from alledge.sample import SampleVerdict
from alledge.verdict import Verdict

from .. import archive as pictures
from ..words import percent
from . import NO_SAMPLE, heat
from .pictures import embedded, fitted, middle

_OUTLINE = (0, 225, 90)  # RGB; no stain has it
_STYLE = """<style>.field { display: flex; flex-wrap: wrap; gap: 1.4rem; break-inside: avoid;
border-top: 1px solid #dde3ea;
padding: .8rem 0; } .field > div { flex: 0 0 15rem; } .field > div:last-child { flex: 1 1 16rem; }
.field img { width: 100%; border-radius: 3px; display: block; margin-bottom: .3rem; }
.field h3 { margin: 0 0 .3rem; font-size: 1.05rem; } .field .none { height: 8rem; background: #eef1f5;
display: grid; place-items: center; text-align: center; font-size: .8rem; color: #4a5666; }
.bar { display: inline-block; height: .55rem; background: #1f5fa8; vertical-align: middle; min-width: 1px; }
.hash { font: .72rem ui-monospace, monospace; overflow-wrap: anywhere; color: #4a5666; }
@page { @bottom-center { content: "RESEARCH USE ONLY"; font: bold 8pt sans-serif; } }
@media print { .field { gap: .8rem; padding: .4rem 0; } .field > div { flex-basis: 4.6cm; }
.field > div:last-child { flex-basis: 6cm; }
.field td { padding-top: 0; padding-bottom: 0; } .field .note { font-size: 7.5pt; } .hash { font-size: 6pt; }
* { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }</style>"""


def as_page(sample: str, rows: Sequence[Verdict], archive: Path | None = None,
            occlude: heat.Occlude | None = None) -> bytes:
    """The page of one sample; with pictures where the archive has them, and heat maps of these with `occlude`."""
    pooled = pool(sample, rows)
    votes = "".join(f"<div><span>{escape(title)}</span><b>{pooled.votes.get(label, 0)}</b></div>"
                    for label, title in TITLES.items())
    body = (f"{_STYLE}{_outcome(pooled) if sample != NO_SAMPLE else ''}<p class=lead>{len(rows)} fields, numbers "
            f"{rows[0].sequence} to {rows[-1].sequence}.</p><div class=facts>{votes}</div>{_origin(rows)}"
            f"<h2>Fields</h2>{''.join(_field(row, archive, occlude) for row in rows)}"
            f"{heat.LEGEND if occlude else ''}"
            f"<h2>How to check this page</h2>{_checking(rows)}")
    return html_page(f"Sample {sample}", body).encode()


def _outcome(pooled: SampleVerdict) -> str:
    """What the fields come to together; fields of no sample come to nothing."""
    sure = f" {percent(pooled.confidence)}" if pooled.conclusive else ""
    reasons = "".join(f"<li>{escape(reason)}" for reason in pooled.reasons)
    return f"<h2>Together: {escape(pooled.title)}{sure}</h2><ul>{reasons}</ul>"


def _origin(rows: Sequence[Verdict]) -> str:
    facts = (("bundle", {r.bundle_id for r in rows}), ("engine", {r.engine for r in rows}),
             ("alledge", {r.software for r in rows}), ("caveat", {r.caveat for r in rows}),
             ("faults of the machine", {f for r in rows for f in r.faults}),
             ("taken", {rows[0].taken_at, rows[-1].taken_at}))
    lines = "".join(f"<tr><th>{name}<td>{escape(', '.join(sorted(filter(None, values))))}" for name, values in facts
                    if any(values))
    return (f"<table>{lines}</table><p class=note>Times are those of the device's clock, which may have been wrong; "
            "the order is that of the numbers.</p>")


def _field(row: Verdict, archive: Path | None, occlude: heat.Occlude | None) -> str:
    sure = f" {percent(row.confidence)}" if row.conclusive else ""
    reasons = "".join(f"<li>{escape(reason)}" for reason in row.reasons)
    shares = "".join(f"<tr><td>{TITLES.get(label, escape(label))}<td><span class=bar style='width:{7 * share:.2f}rem'>"
                     f"</span> {percent(share)}" for label, share in row.probabilities.items())
    caveat = f"<p class=bad>{escape(row.caveat)}</p>" if row.caveat else ""
    faults = f"<p class=bad>{escape(', '.join(row.faults))}</p>" if row.faults else ""
    note = f"<p>Note: {escape(row.note)}</p>" if row.note else ""
    note += "".join(f"<p>Note {added.sequence}, added {escape(added.written_at)}: {escape(added.text)}</p>"
                    for added in row.notes)
    return (f"<div class=field>{_pictures(row, archive, occlude)}<div><h3>{row.sequence}. "
            f"{escape(row.title)}{sure}</h3><ul>{reasons}</ul>{caveat}{faults}<table>{shares}</table>{note}"
            f"<p class=note>{escape(_measured(row))}</p><p class=hash>row {escape(row.hash)}<br>frame "
            f"{escape(row.frame_sha256)}</p></div></div>")


def _measured(row: Verdict) -> str:
    """Gates, quality and origin in one line."""
    figures = {**row.gates, **row.quality, "coverage": row.coverage}
    parts = [f"{name.replace('_', ' ')} {value:.3g}" for name, value in figures.items()]
    return " · ".join([*parts, *(f"{name} {value}" for name, value in row.camera.items() if name != "source"),
                       f"taken {row.taken_at}", PurePath(row.source).name])


def _pictures(row: Verdict, archive: Path | None, occlude: heat.Occlude | None) -> str:
    """The archived frame with the outline of its mask; words where there is none, or where it is not what it was."""
    path = pictures.find(archive, pictures.FRAMES, row.frame_sha256) if archive and row.frame_sha256 else None
    if path is None:
        return "<div><div class=none>the picture was not archived</div></div>"
    try:
        if not pictures.intact(path, row.frame_sha256):
            return "<div><div class='none bad'>the archived picture was altered or damaged</div></div>"
        rgb = read_image(path)
        shown = embedded(_outlined(fitted(rgb), row, archive or Path()), f"field {row.sequence}")
    except (AlledgeError, OSError) as error:
        return f"<div><div class='none bad'>{escape(str(error))}</div></div>"
    return f"<div>{shown}</div>" + (f"<div>{heat.figure(row, rgb, occlude)}</div>" if occlude else "")


def _outlined(rgb: NDArray[np.uint8], row: Verdict, archive: Path) -> NDArray[np.uint8]:
    """A frame with its mask's outline. The mask is that of the middle square."""
    path = pictures.find(archive, pictures.MASKS, row.mask_sha256) if row.mask_sha256 else None
    mask = None if path is None else cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        return rgb
    top, left, side = middle(rgb)
    resized = cv2.resize(mask, (side, side), interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(resized, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top))
    return np.asarray(cv2.drawContours(rgb, outlines, -1, _OUTLINE, 2), np.uint8)


def _checking(rows: Sequence[Verdict]) -> str:
    last, link = max([(row.sequence, row.hash) for row in rows]
                     + [(note.sequence, note.hash) for row in rows for note in row.notes])
    return (f"<p>Row {last} has the hash below; every earlier row goes into it. <code>alledge results "
            "verify</code> on the device recomputes the chain.</p>"
            f"<p class=hash>{escape(link) or 'made by a version without a chain'}</p>")
