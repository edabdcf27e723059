"""A verdict in words: for a terminal, and beside every picture for whoever cannot see it. Pure."""

from collections.abc import Sequence
from pathlib import PurePath

from alledge.labels import TITLES
from alledge.sample import SampleVerdict
from alledge.verdict import RESEARCH_USE_ONLY, Note, Verdict

from .faults import FAULTS

_BAR = 24  # characters


def words(verdict: Verdict) -> list[str]:
    """Lines of plain text: verdict and confidence, the classes, the reasons, where it came from."""
    lines = [heading(verdict), *classes(verdict)]
    lines += [f"  why: {reason}" for reason in verdict.reasons]
    lines += [f"  ! {remark}" for remark in remarks(verdict.caveat, verdict.faults)]
    return [*lines, f"  {status(verdict)} · {RESEARCH_USE_ONLY}"]


def heading(outcome: Verdict | SampleVerdict) -> str:
    """Verdict and, when it is conclusive, how sure."""
    return f"{outcome.title}  {percent(outcome.confidence)}" if outcome.conclusive else outcome.title


def classes(outcome: Verdict | SampleVerdict) -> list[str]:
    """A line per class: its share as a bar, the chosen one marked."""
    return [f"  {'>' if label == outcome.verdict else ' '} {TITLES[label]:<12} {bar(p)} {percent(p):>4}"
            for label, p in outcome.probabilities.items()]


def record(row: Verdict) -> list[str]:
    """All that is stored of a field."""
    gates = "  ".join(f"{name} {value:.3g}" for name, value in {**row.gates, **row.quality}.items())
    facts = (("taken", row.taken_at), ("by", f"{row.engine} · bundle {row.bundle_id} · alledge {row.software}"),
             ("sample", row.sample), ("note", row.note), ("faults", ", ".join(row.faults)), ("gates", gates),
             ("camera", "  ".join(f"{name}={value}" for name, value in row.camera.items())),
             ("frame", row.frame_sha256), ("mask", row.mask_sha256),
             ("kept", f"{row.uptime_s:.0f} s after start {row.boot_id}" if row.boot_id else ""), ("hash", row.hash))
    return [*words(row), *(f"  {name:<8} {value}" for name, value in facts if value), *map(noted, row.notes)]


def noted(note: Note) -> str:
    """An operator's note in one line."""
    return f"  note {note.sequence:<3} {note.text} ({note.written_at})"


def status(verdict: Verdict) -> str:
    """Field number, file and time, as far as they are known."""
    total = verdict.timings_ms.get("total")
    parts = (f"field {verdict.sequence}" if verdict.sequence else "", PurePath(verdict.source).name,
             "" if total is None else f"{total:.0f} ms")
    return " · ".join(part for part in parts if part)


def line(verdict: Verdict) -> str:
    """One field in one line."""
    sure = f"  {percent(verdict.confidence)}" if verdict.conclusive else f"  ({'; '.join(verdict.reasons)})"
    caveat = f"  [{verdict.caveat}]" if verdict.caveat else ""
    notes = "".join(f"  note: {note.text}" for note in verdict.notes)
    return f"{verdict.sequence:>6}  {verdict.title}{sure}{caveat}  {verdict.source}{notes}"


def sample_words(sample: SampleVerdict) -> list[str]:
    """Lines of plain text of a sample: verdict, classes, fields, reasons."""
    lines = [f"Sample {sample.sample}: {heading(sample)}", *classes(sample)]
    votes = ", ".join(f"{TITLES[label]} {count}" for label, count in sample.votes.items())
    doubts = ", ".join(f"{doubt} {count}" for doubt, count in sample.doubts.items())
    facts = (("fields", votes), ("doubts", doubts), ("faults", ", ".join(sample.faults)), ("", sample.caveat))
    lines += [f"  {name:<8} {value}" for name, value in facts if value]
    return [*lines, *(f"  why: {reason}" for reason in sample.reasons), f"  {RESEARCH_USE_ONLY}"]


def why(outcome: Verdict | SampleVerdict) -> str:
    """All reasons, as the sentences they are."""
    return " ".join(f"{reason[:1].upper()}{reason[1:]}." for reason in outcome.reasons)


def footnote(verdict: Verdict) -> str:
    """Field number and time, as far as they are known."""
    total = verdict.timings_ms.get("total")
    parts = (f"Field {verdict.sequence}" if verdict.sequence else "", "" if total is None else f"{total:.0f} ms")
    return "  ·  ".join(part for part in parts if part)


def count_of(sample: SampleVerdict) -> str:
    """How many of a sample's fields had a verdict."""
    return f"{sample.answered} of {sample.fields} fields answered"


def remarks(caveat: str, faults: Sequence[str]) -> list[str]:
    """What has to be said of the bundle, and each of the machine's faults in a word or two."""
    return [*([caveat] if caveat else []), *(FAULTS[name].title if name in FAULTS else name for name in faults)]


def percent(share: float) -> str:
    """A probability in whole per cent; a rounded 100 or 0 would claim what no model can."""
    rounded = round(100 * share)
    if rounded == 100:
        return ">99%"
    return f"{rounded}%" if rounded else "<1%"


def bar(share: float) -> str:
    """A share of 0-1 as a bar of block characters."""
    full = round(share * _BAR)
    return "█" * full + "░" * (_BAR - full)
