"""Change the installed model: install, commit, roll back. Whatever happens on the way, a verified one stays in use."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from alledge.bundle import Bundle
from alledge.config import DeviceConfig, state_folder
from alledge.errors import AlledgeError, BundleRefused, OutputError, UsageError
from alledge.manifest import Manifest

from .build_engine import build_engine
from .candidates import candidate
from .health import FRAMES, check_health
from .settling import conclude, leave_damaged
from .slot_log import Slot
from .slots import STARTS, Slots
from .station import bundle_path

Say = Callable[[str], None]


@dataclass(frozen=True)
class Installation:
    """Attributes: id, slot: of the bundle; event: committed, trial, rolled back or unchanged; detail: why."""

    id: str
    slot: str
    event: str
    detail: str


def install(config: DeviceConfig, source: Path, *, manual: bool = False, frames: int = FRAMES,
            say: Say = lambda line: None) -> Installation:
    """Install a bundle: verify, write it beside the one in use, read it back, switch, check, keep it or go back.

    Args:
        config: of this device.
        source: a bundle, or a folder of bundles.
        manual: leave it on trial once its health check holds, until a person commits it.
        frames: fields of the configured camera that it has to judge.
        say: told what goes on.

    Raises:
        UsageError, BundleRefused, OutputError: when it is not installed; what was in use still is.
    """
    slots = Slots(state_folder())
    with slots.locked():
        _interrupted(slots)
        try:
            bundle = candidate(source, config, _installed(slots, config), slots.folder, say)
            state = slots.state
            if state.id == bundle.id:
                return Installation(bundle.id, state.active, "unchanged", f"{bundle.id} is installed already")
            slot = _received(slots, bundle, config, say)
        except AlledgeError as error:
            with suppress(OutputError):  # a full disk: then that is what `error` says
                slots.tell("refused", str(error))
            raise
        say(f"{bundle.id} is in slot {slot}; checking it ...")
        return _tried(slots, slot, config, manual, frames)


def commit() -> str:
    """Keep the model that is on trial, and return its id.

    Raises:
        UsageError: when none is.
    """
    slots = Slots(state_folder())
    with slots.locked():
        state = slots.state
        if not state.trial:
            raise UsageError("no model is on trial: `alledge model show` tells what is installed")
        if not state.checked:
            raise UsageError("the health check of the model on trial was interrupted: start the device, which makes "
                             "it, or install the model again")
        slots.commit("by hand")
        return state.id


def roll_back() -> Path | None:
    """Go back to what was in use before the installed model, and return its path; None for the configured one.

    Raises:
        UsageError: when none is installed.
    """
    slots = Slots(state_folder())
    with slots.locked():
        if not slots.state.active:
            raise UsageError("no model is installed, so there is none to go back from")
        slots.roll_back("by hand")
        leave_damaged(slots)
        return slots.path(slots.state.active)


def _interrupted(slots: Slots) -> None:
    """What an earlier installation left undone."""
    leave_damaged(slots)
    state = slots.state
    if state.checked:
        raise UsageError("a model is on trial: first `alledge model commit` or `alledge model rollback`")
    if state.trial:
        slots.roll_back("its health check was interrupted, and another model is installed")
        leave_damaged(slots)


def _installed(slots: Slots, config: DeviceConfig) -> Manifest | None:
    """Of the bundle that is run now; None when there is none that can be read."""
    try:
        return Bundle.open(slots.path(slots.state.active) or bundle_path(config)).manifest
    except AlledgeError:
        return None


def _received(slots: Slots, bundle: Bundle, config: DeviceConfig, say: Say) -> Slot:
    """In its slot, with everything that loading it takes."""
    slot = slots.receive(bundle)
    if (config.engine.name or bundle.manifest.engine) == "tensorrt":
        built = build_engine(bundle)
        slots.tell("engine built", str(built["engine"]))
        say(f"engine {built['engine']}")
    return slot


def _tried(slots: Slots, slot: Slot, config: DeviceConfig, manual: bool, frames: int) -> Installation:
    slots.switch(slot, "manual" if manual else "automatic")
    path, identity = slots.path(slot), slots.state.ids[slot]
    assert path is not None
    try:
        health = check_health(path, config, frames)
    except BaseException:
        slots.roll_back("its health check was interrupted")
        raise
    why = conclude(slots, health)
    if why:
        return Installation(identity, slot, "rolled back", why)
    if manual:
        return Installation(identity, slot, "trial", f"{health.words}; on trial for {STARTS} starts")
    return Installation(identity, slot, "committed", health.words)


def demand(done: Installation) -> None:
    """Say by an exception that a model did not stay.

    Raises:
        BundleRefused: with the reason.
    """
    if done.event == "rolled back":
        raise BundleRefused(f"{done.id} was rolled back: {done.detail}; the model before it is in use")
