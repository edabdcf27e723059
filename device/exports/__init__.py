"""Results on their way out of a device. Each other file here is one form.

Two of them go to other systems (`fhir`, and MQTT in `device.forwarding`) and carry neither file names nor notes: people
write names of patients there. See `outward`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alledge.verdict import Verdict

_KEPT = ("source", "note", "notes")  # on the device
NO_SAMPLE = "no-sample"  # where fields go that belong to none


def by_sample(rows: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Fields of each sample, in the order their first fields were kept."""
    found: dict[str, list[Verdict]] = {}
    for row in rows:
        found.setdefault(row.sample or NO_SAMPLE, []).append(row)
    return found


def outward(row: Verdict) -> dict[str, Any]:
    """A result as it may leave for another system: all of it but `source`, notes and what the camera calls the frame.

    Its key is `hash`: the same result never has another, and two never share one.
    """
    plain = {**row.to_json(), "key": row.hash}
    camera = {name: value for name, value in row.camera.items() if name != "source"}
    return {name: value for name, value in {**plain, "camera": camera}.items() if name not in _KEPT}


def file_name(folder: Path, sample: str, suffix: str) -> Path:
    """A file for a sample; what no file name may hold becomes an underscore."""
    return folder / f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in sample).lstrip('.') or '_'}{suffix}"
