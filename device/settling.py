"""What a device does about its installed model when it starts: nothing, as a rule.

After a power cut, a crash or a worn card: a damaged model is left for the one before, a trial whose health check was
interrupted is checked now, and one that was started too often without being committed is rolled back.
"""

from collections.abc import Callable
from pathlib import Path

from alledge.config import DeviceConfig, state_folder
from alledge.errors import AlledgeError, OutputError, UsageError
from alledge.output import say

from .announcing import announce
from .conflicts import faults_of
from .health import Health, check_health
from .notice import rolled_back
from .slots import STARTS, Slots, current

Check = Callable[[Path, DeviceConfig], Health]


def at_start(config: DeviceConfig) -> DeviceConfig:
    """The configuration with the bundle that is to be run in it: the installed one if there is one.

    Never raises for what it finds: a device that cannot decide runs what it ran before. A configuration that cannot be
    run counts as no start of a trial.
    """
    slots = Slots(state_folder())
    try:
        if not slots.state.active:
            return config
        with slots.locked():
            why = "" if faults_of(config) else settle(slots, config)  # they are told when the run is opened
        path = slots.path(slots.state.runs)
    except UsageError:  # an installation is at work, and what it has on trial is its own
        path, why = slots.path(slots.state.runs), ""
    except OutputError as error:  # a full disk
        say(f"warning: {error}")
        path, why = _before_the_trial(slots), ""
    if why:
        say(f"the installed model was rolled back: {why}")
        announce(config, rolled_back(why), lasting=True)
    return config if path is None else with_bundle(config, path)


def with_installed(config: DeviceConfig) -> DeviceConfig:
    """As `at_start`, for a device that has started, or does not judge fields: nothing is decided."""
    path = current(state_folder())
    return config if path is None else with_bundle(config, path)


def with_bundle(config: DeviceConfig, path: Path) -> DeviceConfig:
    """The configuration with another bundle to run."""
    return config.model_copy(update={"bundle": config.bundle.model_copy(update={"path": path})})


def settle(slots: Slots, config: DeviceConfig, check: Check = check_health) -> str:
    """Bring the slots, which are locked, into an order in which a device may start.

    Returns:
        why a model was rolled back; "" when none was.

    Raises:
        OutputError: when that cannot be kept.
    """
    why = leave_damaged(slots)
    state = slots.state
    if not state.trial:
        return why
    if state.starts_left < 1:
        why = f"it was started {STARTS} times and never committed"
        slots.roll_back(why)
        return leave_damaged(slots) or why
    slots.count_start()
    path = slots.path(state.active)
    if state.checked or path is None:
        return why
    say(f"{state.id} was installed and not yet checked to the end; checking it ...")
    return conclude(slots, check(path, config)) or why


def conclude(slots: Slots, health: Health) -> str:
    """Commit a trial, leave it to a person or roll it back, by what its health check found; why, when rolled back."""
    if health.fault:
        slots.roll_back(health.fault)
        leave_damaged(slots)
    elif slots.state.trial == "manual":
        slots.leave_to_person(health.words)
    else:
        slots.commit(health.words)
    return health.fault


def leave_damaged(slots: Slots) -> str:
    """Roll back until what is run can be read as a whole; why, when it had to be."""
    why = ""
    while slots.state.active:
        state = slots.state
        try:
            slots.check(state.active, state.id)
            return why
        except AlledgeError as error:
            why = f"it is damaged ({error})"
            slots.roll_back(why)
    return why


def _before_the_trial(slots: Slots) -> Path | None:
    try:
        state = slots.state
        return slots.path(state.fallback if state.trial else state.active)
    except OutputError:
        return None
