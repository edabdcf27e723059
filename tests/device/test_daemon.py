"""`alledge daemon` as a service manager runs it: words, signals, faults, and nothing acknowledged lost."""

import json
import signal
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from alledge.bundle import Bundle
from alledge.device.journal import EVENTS
from alledge.device.states import NEXT, State
from alledge.device.store.rows import read_results
from alledge.device.store.verification import verify

from .daemons import Line, Process, write_config


def sound(lines: list[Line]) -> None:
    """Every line is of the vocabulary, and every change of state one that can be."""
    for line in lines:
        assert list(line) == ["event", "at", "uptime_s", *EVENTS[line["event"]].keys]
    states = [line["state"] for line in lines if line["event"] == "state"]
    assert states[0] == "starting"
    assert all(State(after) in NEXT[State(before)] for before, after in pairwise(states))
    for line, before in zip([line for line in lines if line["event"] == "state"], [None, *states], strict=False):
        assert line["before"] == before


def acknowledged(lines: list[Line]) -> list[tuple[int, str]]:
    return [(line["result"]["sequence"], line["result"]["hash"]) for line in lines if line["event"] == "result"]


def stored(folder: Path, name: str = "results.db") -> list[tuple[int, str]]:
    assert not verify(folder / name).faults
    return [(row.sequence, row.hash) for row in read_results(folder / name)]


def screen(folder: Path) -> str:
    with Image.open(folder / "screen.png") as image:
        return str(image.info["Description"])


def test_a_service_manager_hears_it_start_work_and_stop(tflite_bundle: Bundle, tmp_path: Path) -> None:
    with Process(write_config(tmp_path, tflite_bundle), watchdog_s=1.0) as daemon:
        daemon.until(lambda: daemon.manager.count("READY=1"))
        ready = [line["event"] for line in daemon.lines]
        assert "self-test-passed" in ready[:ready.index("result") if "result" in ready else None]
        daemon.until(lambda: len(acknowledged(daemon.lines)) >= 5 and daemon.manager.count("WATCHDOG=1") >= 4)
        live = daemon.state()
        assert live["state"] in {state.value for state in State}
        assert (live["schema"], live["bundle_id"], live["faults"]) == (1, tflite_bundle.id, [])
        assert daemon.end() == 0
        words = [message for _, message in daemon.manager.told]
        assert any("STATUS=Ready: waiting for a field. 0 fields since the start, 0 with a verdict." in w for w in words)
        assert daemon.manager.count("STOPPING=1") == 1
        sound(daemon.lines)
        assert [line["state"] for line in daemon.lines if line["event"] == "state"][-2:] == ["stopping", "stopped"]
        assert acknowledged(daemon.lines) == stored(tmp_path)
        last = daemon.state()
        assert last["state"] == "stopped"
        assert last["fields"]["acknowledged"] == len(stored(tmp_path)) == last["last"]["sequence"]


def test_a_new_configuration_is_taken_and_a_wrong_one_is_not(tflite_bundle: Bundle, tmp_path: Path) -> None:
    config = write_config(tmp_path, tflite_bundle)
    with Process(config) as daemon:
        daemon.event("result")
        write_config(tmp_path, tflite_bundle, database=str(tmp_path / "other.db"), note="second")
        before = daemon.send(signal.SIGHUP)
        daemon.event("reloaded", before)
        assert daemon.event("result", before + 1 + daemon.lines[before:].index(daemon.event("reloaded", before)))[
            "result"]["note"] == "second"
        told = [message for _, message in daemon.manager.told if "RELOADING=1" in message]
        assert len(told) == 1
        assert "MONOTONIC_USEC=" in told[0]
        daemon.until(lambda: daemon.manager.count("READY=1") == 2)

        config.write_text(config.read_text().replace("[camera]", "[camera]\nzoom = 3"))
        before = daemon.send(signal.SIGHUP)
        assert "key camera.zoom is unknown" in daemon.event("reload-refused", before)["why"]
        daemon.until(lambda: "Old settings kept" in screen(tmp_path))
        daemon.event("result", before)
        assert "camera.zoom" in daemon.state()["configuration_refused"]
        daemon.until(lambda: "camera.zoom" in daemon.manager.told[-1][1])
        assert daemon.manager.count("READY=1") == 3

        write_config(tmp_path, tflite_bundle, camera=f"file://{tmp_path / 'nothing'}")  # sound, but cannot be opened
        before = daemon.send(signal.SIGHUP)
        assert "found nothing there" in daemon.event("reload-refused", before)["why"]
        refused = daemon.lines.index(daemon.event("reload-refused", before))
        assert daemon.event("result", refused)["result"]["note"] == "second"

        write_config(tmp_path, tflite_bundle)
        before = daemon.send(signal.SIGHUP)
        daemon.event("reloaded", before)
        daemon.until(lambda: daemon.state()["configuration_refused"] == "")
        assert daemon.end() == 0
        sound(daemon.lines)
    assert sorted(acknowledged(daemon.lines)) == sorted([*stored(tmp_path), *stored(tmp_path, "other.db")])


def test_camera_and_display_may_fail_and_come_back(tflite_bundle: Bundle, tmp_path: Path) -> None:
    camera = "emulated://disconnected@4s-6s/synthetic://?seed=1&size=96&fields=4"
    with Process(write_config(tmp_path, tflite_bundle, camera)) as daemon:
        daemon.event("result")
        (tmp_path / "screen.png").unlink()
        (tmp_path / "screen.png").mkdir()
        daemon.event("fault-began", fault="display-lost")
        daemon.event("fault-began", fault="camera-disconnected")
        daemon.event("state", state="faulted")
        daemon.until(lambda: "camera-disconnected" in [fault["fault"] for fault in daemon.state()["faults"]])
        daemon.until(lambda: "plug it in again" in daemon.manager.told[-1][1])
        (tmp_path / "screen.png").rmdir()
        for fault in ("camera-disconnected", "display-lost"):
            daemon.event("fault-ended", fault=fault)
        daemon.event("result", len(daemon.lines))
        assert daemon.end() == 0
        sound(daemon.lines)
        assert acknowledged(daemon.lines) == stored(tmp_path)


def test_a_run_that_breaks_off_is_opened_again(tflite_bundle: Bundle, tmp_path: Path) -> None:
    """A picture that a file camera can no longer find is a field; a database that is taken away breaks off."""


@pytest.mark.parametrize(("what", "code", "said"), [
    ("goldens", 5, "does not reproduce"), ("camera", 1, "found nothing there"), ("bundle", 2, "found no such file"),
    ("key", 2, "key camera.zoom is unknown")])
def test_what_keeps_it_from_starting_is_shown_and_is_the_exit_code(bundle_of: object, tflite_bundle: Bundle,
                                                                   tmp_path: Path, what: str, code: int,
                                                                   said: str) -> None:
    from .conftest import make_bundle

    bundle: Bundle | Path = tflite_bundle
    if what == "goldens":
        bundle = make_bundle(tmp_path / "wrong.alledge", tflite_bundle.read("model.tflite"), "tflite",
                             probabilities=[0.0, 0.0, 0.0, 1.0])
    if what == "bundle":
        bundle = tmp_path / "nothing.alledge"
    config = write_config(tmp_path, bundle, **({"camera": "file:///nothing"} if what == "camera" else {}))
    if what == "key":
        config.write_text(config.read_text().replace("[camera]", "[camera]\nzoom = 3"))
    with Process(config) as daemon:
        assert daemon.ended() == code
        sound(daemon.lines)
        failed = daemon.event("start-failed")
        assert (failed["exit_code"], said in failed["why"]) == (code, True)
        assert said.split()[-1] in screen(tmp_path).replace("\n", " ")
        assert daemon.state()["state"] == "stopped"
        assert said in daemon.state()["status"]
        assert not daemon.manager.count("READY=1")
        assert daemon.process.stderr is not None
        assert daemon.process.stderr.read().count("\n") == 1


def test_the_vocabulary_is_the_documents_and_the_codes() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "daemon.md").read_text("utf-8")
    for event in EVENTS.values():
        keys = ", ".join(f"`{key}`" for key in event.keys) or "none"
        assert f"| `{event.name}` | {event.says} | {keys} |" in text
    assert text.count("\n| `") >= len(EVENTS)
    assert json.dumps(sorted(EVENTS))
