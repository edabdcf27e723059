"""A sample as HL7 FHIR R4: one DiagnosticReport and an Observation per field, in a Bundle.

Checked by the models of `fhir.resources` while they are built (its R4B, 4.3.0, which changed neither resource). There
is no Patient and no subject: the laboratory's own system knows whose sample it is. Nothing is coded in LOINC or SNOMED
CT: no code of theirs means "what a research network took this field for".
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from alledge.errors import BackendMissing, SinkError
from alledge.labels import TITLES
from alledge.pooling import pool
from alledge.verdict import RESEARCH_USE_ONLY, Verdict

from . import NO_SAMPLE

_SYSTEM = "urn:alledge"
_RESEARCH = {"tag": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH",
                      "display": "healthcare research"}]}
_SPACE = UUID("5a0f3f0c-6d8e-4c65-9a39-0a5f4f4c5b1e")  # of the names below `urn:uuid:`
_RELEASED = "2025"  # no result is older than the software
_STEP = 1e-6  # of a probability
_UNIT = {"system": "http://unitsofmeasure.org", "code": "1"}


def document(sample: str, rows: Sequence[Verdict], with_notes: bool = False) -> str:
    """A sample and its fields as JSON of one Bundle.

    Args:
        sample, rows: its id, its fields.
        with_notes: pass on what operators wrote; else only that there is something.

    Raises:
        BackendMissing: without `fhir.resources`.
    """
    try:
        from fhir.resources.R4B.bundle import Bundle
    except ImportError as error:
        raise BackendMissing("FHIR needs fhir.resources: pip install 'alledge[fhir]'") from error
    entries = [{"fullUrl": _url(row), "resource": _observation(row, with_notes)} for row in rows]
    if sample != NO_SAMPLE:  # fields of no sample add up to no report
        entries.insert(0, {"fullUrl": f"urn:uuid:{uuid5(_SPACE, rows[-1].hash)}", "resource": _report(sample, rows)})
    plain = {"type": "collection", "meta": _RESEARCH, "entry": entries}
    try:
        return str(Bundle.model_validate(plain).model_dump_json(indent=1))
    except ValueError as error:
        raise SinkError(f"sample {sample}: these results make no valid FHIR ({str(error).splitlines()[-1].strip()})") \
            from error


def _url(row: Verdict) -> str:
    return f"urn:uuid:{uuid5(_SPACE, f'{row.sequence} {row.hash}')}"


def _report(sample: str, rows: Sequence[Verdict]) -> dict[str, Any]:
    when = {"effectivePeriod": {"start": rows[0].taken_at, "end": rows[-1].taken_at}}
    if not _clock_was_set(rows) or rows[0].taken_at > rows[-1].taken_at:
        when = {}  # the clock was wrong, or was set between the fields; the order of `result` holds all the same
    pooled = pool(sample, rows)
    found = ", ".join(f"{TITLES[label]} {count}" for label, count in pooled.votes.items())
    reasons = "".join(f" {reason}." for reason in pooled.reasons)
    return {
        "resourceType": "DiagnosticReport", "id": _id(rows[-1]), "meta": _RESEARCH, "status": "preliminary",
        "identifier": [{"system": f"{_SYSTEM}:sample", "value": sample}],
        "code": {"text": "Blood smear read by a neural network"},
        "result": [{"reference": _url(row)} for row in rows], **when,
        "conclusion": f"{RESEARCH_USE_ONLY}. {pooled.title}.{reasons} {len(rows)} fields: {found}.",
    }


def _observation(row: Verdict, with_notes: bool) -> dict[str, Any]:
    notes = [RESEARCH_USE_ONLY, *row.reasons, *([row.caveat] if row.caveat else []),
             *(f"fault: {name}" for name in row.faults), *([row.note] if row.note and with_notes else [])]
    value = {"valueCodeableConcept": _concept(row)} if row.conclusive else {
        "dataAbsentReason": {"text": "inconclusive"}}
    return {
        "resourceType": "Observation", "id": _id(row), "meta": _RESEARCH, "status": "preliminary",
        "identifier": [{"system": f"{_SYSTEM}:hash", "value": row.hash or _id(row)}],
        "code": {"text": "Class of one field of a blood smear"}, **value,
        **({"effectiveDateTime": row.taken_at} if _clock_was_set([row]) else {}),
        "note": [*({"text": note} for note in notes), *_added(row, with_notes)],
        "method": {"text": f"alledge {row.software}, bundle {row.bundle_id}, engine {row.engine}"},
        "component": [_component(TITLES.get(label, label), share) for label, share in row.probabilities.items()],
    }


def _added(row: Verdict, with_notes: bool) -> list[dict[str, Any]]:
    """Notes that were added later, or at least how many: a receiver must know that somebody had something to say."""
    if not with_notes and row.notes:
        return [{"text": f"notes that the operator added later, kept on the device: {len(row.notes)}"}]
    return [{"text": note.text, **({"time": note.written_at} if note.written_at >= _RELEASED else {})}
            for note in row.notes]


def _id(row: Verdict) -> str:
    """FHIR allows 64 letters, digits, hyphens and dots: just the hash, which old databases have not."""
    return row.hash or f"field-{row.sequence}"


def _clock_was_set(rows: Sequence[Verdict]) -> bool:
    """A board without a clock of its own starts in 1970, or where it was switched off."""
    return all(row.taken_at >= _RELEASED for row in rows)


def _concept(row: Verdict) -> dict[str, Any]:
    return {"coding": [{"system": f"{_SYSTEM}:verdict", "code": row.verdict, "display": row.title}], "text": row.title}


def _component(title: str, share: float) -> dict[str, Any]:
    return {"code": {"text": f"probability of {title}"}, "valueQuantity": {**_quantity(share), **_UNIT}}


def _quantity(share: float) -> dict[str, Any]:
    """Six digits; a rounded 0 or 1 would claim what no model can."""
    if share < _STEP / 2:
        return {"value": _STEP, "comparator": "<"}
    return {"value": 1 - _STEP, "comparator": ">"} if share > 1 - _STEP / 2 else {"value": round(share, 6)}
