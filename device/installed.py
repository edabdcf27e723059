"""What is installed on this device, and what happened to it, as JSON and in words."""

from dataclasses import asdict
from typing import Any

from alledge.config import DeviceConfig, state_folder
from alledge.errors import AlledgeError

from .inspection import release_of
from .slots import Slots
from .station import bundle_path


def describe(config: DeviceConfig, events: int) -> dict[str, Any]:
    """Slots, state and log, all read and verified, as plain types.

    Raises:
        OutputError: when they cannot be read.
    """
    slots, trusted = Slots(state_folder()), config.bundle.trusted_keys
    log, state = slots.log, slots.state
    held = {slot: _describe_slot(slots, slot, identity, config) for slot, identity in sorted(state.ids.items())}
    wrong = [f"slot {slot}: {about['fault']}" for slot, about in held.items() if about["fault"]]
    last = log.records[len(log.records) - events:] if events < len(log.records) else log.records
    return {"folder": str(slots.folder), "runs": str(slots.path(state.runs) or bundle_path(config)),
            "active": state.active, "fallback": state.fallback, "trial": state.trial,
            "checked": state.checked, "starts_left": state.starts_left, "slots": held, "trusted_keys": list(trusted),
            "log": {"lines": len(log.records), "head": log.head}, "faults": [*log.faults, *wrong],
            "events": [{key: value for key, value in asdict(record).items() if key != "state"} for record in last]}


def lines(document: dict[str, Any]) -> list[str]:
    """The same for a person."""
    said = [f"models in {document['folder']}", f"runs {document['runs']}"]
    if document["trial"]:
        waits = "until a person commits it" if document["checked"] else "its health check was interrupted"
        said.append(f"slot {document['active']} is on trial: {waits}, {document['starts_left']} starts left")
    for slot, about in document["slots"].items():
        role = {document["active"]: "in use", document["fallback"]: "to go back to"}.get(slot, "not in use")
        said.append(f"slot {slot}: {about['id']}, {about['release']}, {about['signature']}, {role}")
    log = document["log"]
    state = "not in order" if document["faults"] else "in order"
    said.append(f"log: {log['lines']} lines, {state}, head {log['head']}")
    said += [f"  {e['number']:>4}  {e['at']}  {e['event']}: {e['detail']}" for e in document["events"]]
    return [*said, *(f"fault: {fault}" for fault in document["faults"])]


def _describe_slot(slots: Slots, slot: str, identity: str, config: DeviceConfig) -> dict[str, Any]:
    path = slots.path(slot)
    assert path is not None
    about: dict[str, Any] = {"id": identity, "path": str(path), "release": "unknown", "signature": "unknown",
                             "fault": ""}
    try:
        bundle = slots.check(slot, identity)
    except AlledgeError as error:
        return {**about, "fault": str(error)}
    return {**about, "release": release_of(bundle.manifest),
            "signature": bundle.signature_in_words(config.bundle.trusted_keys)}
