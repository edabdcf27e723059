"""Two slots and their log: one step at a time, a power cut between any two, a damaged disk, too many starts."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alledge.bundle import Bundle
from alledge.config import CameraSettings, DeviceConfig
from alledge.device import settling
from alledge.device.health import Health
from alledge.device.settling import at_start, settle
from alledge.device.slot_log import LOG, State, append, read
from alledge.device.slots import STARTS, Slots, current
from alledge.device.update import commit
from alledge.errors import AlledgeError, OutputError, UsageError

FIT, UNFIT = Health("", 1.0, 1, 1), Health("it takes 9 ms a field, and its limit is 1 ms")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder, as the functions under test find it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "alledge"


@pytest.fixture(scope="module")
def two(onnx_of: Callable[..., bytes], bundle_of: Callable[..., Bundle],
        tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Two bundles that are not the same."""
    folder = tmp_path_factory.mktemp("two")
    return [bundle_of(folder / f"{n}.alledge", onnx_of(), "onnx", release=n) for n in (1, 2)]


def put(slots: Slots, bundle: Bundle, commit: bool = True, manual: bool = False) -> None:
    slots.switch(slots.receive(bundle), "manual" if manual else "automatic")
    if manual:
        slots.leave_to_person("a test says so")
    if commit:
        slots.commit("a test says so")


def events(slots: Slots) -> list[str]:
    return [record.event for record in slots.log.records]


def test_nothing_is_installed_to_begin_with(state: Path) -> None:
    assert current(state) is None
    assert at_start(DeviceConfig()) == DeviceConfig()
    assert not state.exists(), "looking leaves nothing behind"


def test_slots_take_turns_and_a_rollback_goes_to_the_one_before(state: Path, two: list[Bundle]) -> None:
    slots = Slots(state)
    put(slots, two[0])
    put(slots, two[1])
    path = current(state)
    assert path == state / "models" / "b" / "model.alledge"
    assert Bundle.open(path).id == two[1].id
    slots.roll_back("a test says so")
    assert Bundle.open(current(state) or "").id == two[0].id
    slots.roll_back("again")
    assert current(state) is None
    assert events(slots) == ["receiving", "verified", "trial", "committed"] * 2 + ["rolled back"] * 2


def test_a_copy_that_is_not_what_was_read_is_never_switched_to(state: Path, two: list[Bundle], tmp_path: Path) -> None:
    stick = tmp_path / "stick.alledge"
    stick.write_bytes(two[0].path.read_bytes())
    offered = Bundle.open(stick)
    stick.write_bytes(two[1].path.read_bytes())  # changed under our feet
    slots = Slots(state)
    with pytest.raises(OutputError, match=f"holds {two[1].id}, expected {two[0].id}"):
        slots.receive(offered)
    assert (current(state), slots.state.ids) == (None, {})


def test_a_damaged_model_is_left_for_the_one_before_and_then_for_none(state: Path, two: list[Bundle]) -> None:
    slots = Slots(state)
    for bundle in two:
        put(slots, bundle)
    for survivor in (two[0].id, None):
        path = current(state)
        assert path is not None
        path.write_bytes(path.read_bytes()[:-1])
        why = settle(slots, DeviceConfig(), lambda path, config: FIT)
        assert why.startswith("it is damaged (")
        after = current(state)
        assert (None if after is None else Bundle.open(after).id) == survivor
    assert slots.log.records[-1].detail == why


@pytest.mark.parametrize(("health", "event", "active"), [(FIT, "committed", "b"), (UNFIT, "rolled back", "a")])
def test_an_interrupted_health_check_is_made_at_the_next_start(state: Path, two: list[Bundle], health: Health,
                                                               event: str, active: str) -> None:
    slots = Slots(state)
    put(slots, two[0])
    put(slots, two[1], commit=False)
    assert settle(slots, DeviceConfig(), lambda path, config: health) == health.fault
    assert events(slots)[-2:] == ["started", event]
    assert (slots.state.active, slots.state.trial) == (active, "")
    assert slots.log.records[-1].detail == health.words


def test_what_was_meant_for_a_person_is_not_committed_after_an_interruption(state: Path, two: list[Bundle]) -> None:
    slots = Slots(state)
    put(slots, two[0])
    slots.switch(slots.receive(two[1]), "manual")
    assert current(state) == slots.path("a"), "not checked yet"
    with pytest.raises(UsageError, match="was interrupted"):
        commit()
    assert settle(slots, DeviceConfig(), lambda path, config: FIT) == ""
    assert (slots.state.trial, slots.state.checked, current(state)) == ("manual", True, slots.path("b"))
    assert commit() == two[1].id


def test_a_trial_that_crashes_the_device_is_left_at_the_fourth_start(state: Path, two: list[Bundle]) -> None:
    slots = Slots(state)
    put(slots, two[0])
    put(slots, two[1], commit=False)

    def crash(path: Path, config: DeviceConfig) -> Health:
        raise KeyboardInterrupt  # as if the process were gone

    for _ in range(STARTS):
        with pytest.raises(KeyboardInterrupt):
            settle(slots, DeviceConfig(), crash)
        assert slots.state.active == "b"
    assert settle(slots, DeviceConfig(), crash) == "it was started 3 times and never committed"
    assert (slots.state.active, slots.state.ids) == ("a", {"a": two[0].id})


def test_what_a_person_tries_is_run_three_times_and_no_fourth(state: Path, two: list[Bundle], tmp_path: Path) -> None:
    slots = Slots(state)
    put(slots, two[0])
    put(slots, two[1], commit=False, manual=True)
    unset = DeviceConfig()  # no camera: it cannot be run, and that is not the model's fault
    ready = unset.model_copy(update={"camera": CameraSettings(uri="synthetic://")})
    wanted = [two[1].id] * STARTS + [two[0].id]
    for identity in wanted:
        assert at_start(unset).bundle.path == current(state)
        path = at_start(ready).bundle.path
        assert path is not None
        assert Bundle.open(path).id == identity


def test_a_start_beside_an_installation_runs_what_was_committed(state: Path, two: list[Bundle]) -> None:
    slots = Slots(state)
    put(slots, two[0])
    with slots.locked():
        put(slots, two[1], commit=False)
        assert current(state) == slots.path("a"), "not checked yet"
        path = at_start(DeviceConfig(camera=CameraSettings(uri="synthetic://"))).bundle.path
        assert path is not None
        assert Bundle.open(path).id == two[0].id
        with pytest.raises(UsageError, match="another `alledge model`"), slots.locked():
            pass
    assert slots.state.starts_left == STARTS, "that start was not the trial's"


def test_a_full_disk_starts_what_was_committed(state: Path, two: list[Bundle], monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    slots = Slots(state)
    put(slots, two[0])
    put(slots, two[1], commit=False)

    def full(*ignored: Any) -> None:
        raise OutputError("log.jsonl: cannot be written (No space left on device)")

    monkeypatch.setattr(Slots, "count_start", full)
    path = at_start(DeviceConfig(camera=CameraSettings(uri="synthetic://"))).bundle.path
    assert path is not None
    assert Bundle.open(path).id == two[0].id
    assert "No space left" in capsys.readouterr().err


def test_what_a_killed_process_left_is_swept_up(state: Path, two: list[Bundle]) -> None:
    slots = Slots(state)
    put(slots, two[0])
    left = [state / "models" / ".log.jsonl.77", state / "models" / "a" / ".model.alledge.77"]
    for path in left:
        path.write_bytes(b"half")
    with slots.locked():
        assert not any(path.exists() for path in left)
    assert current(state) is not None


def test_the_log_shows_every_change_and_the_last_whole_line_counts(tmp_path: Path) -> None:
    for n in range(4):
        append(tmp_path, "trial", f"number {n}", State(active="a", starts_left=n))
    path = tmp_path / LOG
    lines = path.read_bytes().splitlines(keepends=True)
    assert not read(tmp_path).faults
    for changed, says in (([*lines[:2], lines[3]], "line 3 does not follow"), (lines[1:], "line 1 does not follow"),
                          ([lines[0], lines[2], lines[1], lines[3]], "does not follow"),
                          ([lines[0], lines[1].replace(b"number 1", b"number 7"), *lines[2:]], "line 2 is damaged"),
                          ([*lines[:3], lines[3][:40]], "line 4 is damaged"), ([b"\0" * 99], "line 1 is damaged")):
        path.write_bytes(b"".join(changed))
        found = read(tmp_path)
        assert says in found.faults[0]
        assert all(number in (0, 1, 2, 3) for number in [found.state.starts_left])
    path.write_bytes(b"".join([*lines[:3], lines[3][:40]]))
    assert read(tmp_path).state.starts_left == 2
    append(tmp_path, "committed", "after the damage", State(active="b"))
    after = read(tmp_path)
    assert (after.state.active, len(after.faults)) == ("b", 1), "what was damaged stays visible, and it goes on"


def test_a_log_of_another_content_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / LOG
    for content in (b"[]\n", b"{}\n", b'{"body": 1, "previous": 2, "hash": 3}\n', b"\xff\n", b"[" * 100_000):
        path.write_bytes(content)
        assert read(tmp_path).state == State()
        assert read(tmp_path).faults


def test_a_folder_that_cannot_be_written_is_one_sentence(state: Path) -> None:
    state.mkdir(parents=True)
    (state / "models").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="models cannot be kept there"), Slots(state).locked():
        pass


def test_another_users_models_are_not_touched(state: Path, two: list[Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Slots(state)
    put(slots, two[0])
    monkeypatch.setattr(os, "geteuid", lambda: slots.folder.stat().st_uid + 1)
    with pytest.raises(UsageError, match=r"belongs to user .*: run this as that user"), slots.locked():
        pass
    assert at_start(DeviceConfig(camera=CameraSettings(uri="synthetic://"))).bundle.path == current(state)


def test_why_is_shown_for_a_while_before_the_device_goes_on(state: Path, two: list[Bundle], tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, bool]] = []
    monkeypatch.setattr(settling, "announce", lambda config, notice, lasting: shown.append((notice.says, lasting)))
    slots = Slots(state)
    put(slots, two[0])
    path = current(state)
    assert path is not None
    path.unlink()
    config = DeviceConfig(camera=CameraSettings(uri="synthetic://"))
    assert at_start(config) == config
    assert shown[0][1]
    assert shown[0][0].startswith("It is damaged (")
    with pytest.raises(AlledgeError):
        slots.check("a", "x")
