"""`alledge daemon` as a service manager runs it: words, signals, faults, and nothing acknowledged lost."""

import ast
import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import pytest
from PIL import Image

from alledge.bundle import Bundle
from alledge.config import load_config
from alledge.device.daemon import Daemon
from alledge.device.engine import Output
from alledge.device.journal import EVENTS, Journal
from alledge.device.pipeline import Look, Pipeline
from alledge.device.states import NEXT, State
from alledge.device.status import Status
from alledge.device.store.rows import read_results
from alledge.device.store.verification import verify
from alledge.device.verified_archive import verify_archive
from alledge.images import write_png
from alledge.synthetic import draw_field

from .conftest import make_bundle
from .daemons import LIMIT_S, Line, Manager, Process, write_config

ROOT = Path(__file__).parents[2]


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


def in_the_way(path: Path) -> bool:
    """Put a folder where a display writes its picture, which may come back in between."""
    path.unlink(missing_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def test_a_service_manager_hears_it_start_work_and_stop(tflite_bundle: Bundle, tmp_path: Path) -> None:
    with Process(write_config(tmp_path, tflite_bundle), watchdog_s=2.0) as daemon:
        daemon.until(lambda: daemon.manager.count("READY=1"))
        daemon.event("result")
        events = [line["event"] for line in daemon.lines]
        assert events.index("self-test-passed") < events.index("result")
        daemon.until(lambda: len(acknowledged(daemon.lines)) >= 5 and daemon.manager.count("WATCHDOG=1") >= 4)
        live = daemon.state()
        assert live["state"] in {state.value for state in State}
        assert (live["schema"], live["bundle_id"], live["faults"]) == (1, tflite_bundle.id, [])
        assert daemon.end() == 0
        daemon.manager.hear()
        words = [message for _, message in daemon.manager.told]
        ready_words = "STATUS=Ready: waiting for a field. Since the start: 0 fields, 0 with a verdict."
        assert any(ready_words in message for message in words)
        assert daemon.manager.count("STOPPING=1") == 1
        sound(daemon.lines)
        assert [line["state"] for line in daemon.lines if line["event"] == "state"][-2:] == ["stopping", "stopped"]
        assert acknowledged(daemon.lines) == stored(tmp_path)
        last = daemon.state()
        assert last["state"] == "stopped"
        assert last["fields"]["acknowledged"] == len(stored(tmp_path)) == last["last"]["sequence"]


def test_a_start_that_copies_an_older_database_asks_for_time(tflite_bundle: Bundle, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "results.db")) as old:
        old.executescript(Path(__file__).with_name("results_v4.sql").read_text())
    with Process(write_config(tmp_path, tflite_bundle)) as daemon:
        daemon.event("result")
        words = [message.split("\n")[0] for _, message in daemon.manager.told]
        assert words.index("EXTEND_TIMEOUT_USEC=3600000000") < words.index("READY=1")
        assert "brought up to date" in daemon.event("message")["text"]
        assert daemon.end() == 0
        sound(daemon.lines)
    assert (tmp_path / "results.db.v4.bak").exists()
    assert stored(tmp_path)[5:] == acknowledged(daemon.lines)


def test_a_new_configuration_is_taken_and_a_wrong_one_is_not(tflite_bundle: Bundle, tmp_path: Path) -> None:
    config = write_config(tmp_path, tflite_bundle, every_s=2.0)  # a screen lasts until the next field
    with Process(config) as daemon:
        daemon.event("result")
        write_config(tmp_path, tflite_bundle, every_s=2.0, database=str(tmp_path / "other.db"), note="second")
        before = daemon.send(signal.SIGHUP)
        daemon.event("reloaded", before)
        assert daemon.event("result", before + 1 + daemon.lines[before:].index(daemon.event("reloaded", before)))[
            "result"]["note"] == "second"
        daemon.manager.hear()
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
        daemon.said("camera.zoom")
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
    camera = "emulated://disconnected@4s-12s/synthetic://?seed=1&size=96&fields=4"
    with Process(write_config(tmp_path, tflite_bundle, camera)) as daemon:
        daemon.event("result")
        daemon.until(lambda: in_the_way(tmp_path / "screen.png"))
        daemon.event("fault-began", fault="display-lost")
        daemon.event("fault-began", fault="camera-disconnected")
        daemon.event("state", state="faulted")
        daemon.until(lambda: "camera-disconnected" in [fault["fault"] for fault in daemon.state()["faults"]])
        daemon.said("plug it in again")
        (tmp_path / "screen.png").rmdir()
        for fault in ("camera-disconnected", "display-lost"):
            daemon.event("fault-ended", fault=fault)
        daemon.event("result", len(daemon.lines))
        assert daemon.end() == 0
        sound(daemon.lines)
        assert acknowledged(daemon.lines) == stored(tmp_path)


def test_a_run_that_breaks_off_is_opened_again_and_a_signal_ends_the_pause(tflite_bundle: Bundle, cut_film: Path,
                                                                           tmp_path: Path) -> None:
    with Process(write_config(tmp_path, tflite_bundle, f"video://{cut_film}", None)) as daemon:
        first = daemon.event("reopening")
        assert (first["pause_s"], str(cut_film) in first["why"]) == (1.0, True)
        assert daemon.state()["state"] == "faulted"
        assert str(cut_film) in daemon.state()["trouble"]
        assert "Broke off" in screen(tmp_path)
        daemon.event("reopening", daemon.lines.index(first) + 1, pause_s=2.0)
        assert daemon.end() == 0
        sound(daemon.lines)
        assert sum(line["event"] == "self-test-passed" for line in daemon.lines) == 2
        assert acknowledged(daemon.lines) == stored(tmp_path)


def test_a_failure_while_judging_is_a_field_without_a_verdict(bundle_of: Callable[..., Bundle],
                                                              onnx_of: Callable[..., bytes], tmp_path: Path) -> None:
    """A network that answers dark pictures with no number; the goldens are light."""
    light = draw_field("pre_b", 3, 96).rgb
    for name, rgb in (("1", light), ("2", light // 4), ("3", light)):
        write_png(tmp_path / "slide" / f"{name}.png", rgb)
    bundle = bundle_of(tmp_path / "nan.alledge", onnx_of(nan_below=-0.4))
    with Process(write_config(tmp_path, bundle, f"file://{tmp_path / 'slide'}")) as daemon:
        assert daemon.ended() == 0  # a folder has an end
        sound(daemon.lines)
        faults = [(line["event"], line["fault"]) for line in daemon.lines if "fault" in line]
        assert faults == [("fault-began", "engine-not-finite"), ("fault-ended", "engine-not-finite")]
        verdicts = [line["result"] for line in daemon.lines if line["event"] == "result"]
        assert [bool(verdict["probabilities"]) for verdict in verdicts] == [True, False, True]
        assert verdicts[1]["verdict"] == "inconclusive"
        assert acknowledged(daemon.lines) == stored(tmp_path)


def test_an_accelerator_that_dies_costs_no_field(coral_bundle: Bundle, edge_tpu: Callable[[str], None],
                                                 tmp_path: Path) -> None:
    """The stub of an Edge TPU, in its child."""
    with Process(write_config(tmp_path, coral_bundle)) as daemon:
        assert daemon.event("result")["result"]["engine"] == "coral"
        edge_tpu("segfault")
        daemon.event("fault-began", fault="engine-on-cpu")
        daemon.until(lambda: "the CPU stands in" in daemon.state()["status"])
        edge_tpu("ok")
        ended = daemon.lines.index(daemon.event("fault-ended", fault="engine-on-cpu"))
        daemon.event("result", ended)
        assert daemon.end() == 0
        sound(daemon.lines)
        verdicts = [line["result"] for line in daemon.lines if line["event"] == "result"]
        assert {verdict["engine"] for verdict in verdicts} == {"coral", "tflite for coral"}
        assert all(verdict["probabilities"] for verdict in verdicts)
        assert acknowledged(daemon.lines) == stored(tmp_path)


def test_a_failure_while_storing_is_said_and_over_by_itself(tflite_bundle: Bundle, tmp_path: Path) -> None:
    frames = tmp_path / "captures" / "frames"
    with Process(write_config(tmp_path, tflite_bundle, "synthetic://?size=96", archive=str(frames.parent))) as daemon:
        daemon.event("result")
        frames.rename(tmp_path / "elsewhere")
        frames.touch()
        daemon.event("fault-began", fault="storage-failed")
        daemon.until(lambda: "Storage failed" in screen(tmp_path))
        daemon.until(lambda: "a result cannot be kept" in daemon.state()["status"])
        frames.unlink()
        (tmp_path / "elsewhere").rename(frames)
        ended = daemon.lines.index(daemon.event("fault-ended", fault="storage-failed"))
        daemon.event("result", ended)
        assert daemon.end() == 0
        sound(daemon.lines)
        assert acknowledged(daemon.lines) == stored(tmp_path)
        assert not list(verify_archive(tmp_path / "results.db", frames.parent))


@pytest.mark.parametrize("camera", ["stalled@1s-600s", "disconnected@1s-600s"])
def test_a_camera_that_fails_holds_no_end_up(tflite_bundle: Bundle, tmp_path: Path, camera: str) -> None:
    config = write_config(tmp_path, tflite_bundle, f"emulated://{camera}/synthetic://?size=96&fields=4")
    with Process(config) as daemon:
        daemon.event("state", state="faulted")
        assert daemon.end() == 0  # within LIMIT_S, which is over before the camera is back
        sound(daemon.lines)
        assert acknowledged(daemon.lines) == stored(tmp_path)


def test_a_stage_that_hangs_is_no_longer_vouched_for(tflite_bundle: Bundle, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch,
                                                     capfd: pytest.CaptureFixture[str]) -> None:
    """In this process, with a pipeline that hangs on order, as a stand-in for a driver that never comes back."""
    gate, asked, ended = Event(), Event(), Event()
    infer = Pipeline.infer

    def hangs(pipeline: Pipeline, look: Look) -> Output:
        if asked.is_set():
            gate.wait(LIMIT_S)
        return infer(pipeline, look)

    manager, lines = Manager(tmp_path), list[Line]()
    monkeypatch.setattr(Pipeline, "infer", hangs)
    for key, value in {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "6000000", "RUNTIME_DIRECTORY": str(tmp_path),
                       "WATCHDOG_PID": str(os.getpid())}.items():
        monkeypatch.setenv(key, value)
    config = load_config(write_config(tmp_path, tflite_bundle))
    daemon = Thread(target=Daemon(lambda: config, "", ended, Event()).serve)

    def wait_for(holds: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < end, lines[-8:]
            time.sleep(0.05)
            lines.extend(json.loads(line) for line in capfd.readouterr().out.splitlines())

    daemon.start()
    wait_for(lambda: any(line["event"] == "result" for line in lines))
    wait_for(lambda: manager.count("WATCHDOG=1"))
    asked.set()
    wait_for(lambda: any(line["event"] == "stuck" and line["stage"] == "infer" for line in lines))
    pings = manager.count("WATCHDOG=1")
    time.sleep(2.0)  # else it would be told each one and a half
    assert manager.count("WATCHDOG=1") == pings
    gate.set()  # a real one would be killed soon
    wait_for(lambda: manager.count("WATCHDOG=1") > pings)
    ended.set()
    daemon.join(LIMIT_S)
    assert not daemon.is_alive()  # it would fail in the middle of another test
    lines.extend(json.loads(line) for line in capfd.readouterr().out.splitlines())
    sound(lines)
    assert acknowledged(lines) == stored(tmp_path)


def test_a_journal_that_cannot_be_written_stops_nothing_and_is_told_later(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    journal = Journal(full)
    for _ in range(3):
        journal.tell("message", text="into a full disk")
    os.dup2(os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT), full)
    journal.tell("message", text="room again")
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["lines-lost", "message"]
    assert lines[0]["count"] == 3
    sound([{"event": "state", "at": "", "uptime_s": 0, "state": "starting", "before": None}, *lines])


@pytest.mark.parametrize(("what", "code", "said"), [
    ("goldens", 5, "does not reproduce"), ("camera", 1, "found nothing there"), ("bundle", 2, "found no such file"),
    ("key", 2, "key camera.zoom is unknown")])
def test_what_keeps_it_from_starting_is_shown_and_is_the_exit_code(tflite_bundle: Bundle, tmp_path: Path,
                                                                   what: str, code: int, said: str) -> None:
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


def told_in_code() -> set[tuple[str, tuple[str, ...]]]:
    """Each event that the daemon tells, with its keys, as the source has it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "device" / "daemon.py").read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self._journal.tell":
            name, keys = node.args[0], tuple(word.arg or "" for word in node.keywords)
            if isinstance(name, ast.Constant):
                found.add((str(name.value), keys))
            else:
                found |= {(f"fault-{end}", EVENTS["fault-began"].keys) for end in ("began", "ended")}
    return found | {("lines-lost", ("count",))}


def test_the_vocabulary_is_the_documents_and_the_codes() -> None:
    assert told_in_code() == {(event.name, event.keys) for event in EVENTS.values()}
    text = (ROOT / "docs" / "daemon.md").read_text("utf-8")
    rows = set(re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|$", text.partition("## Events")[2], re.M))
    assert rows == {(event.name, event.says, ", ".join(f"`{key}`" for key in event.keys) or "none")
                    for event in EVENTS.values()}
    table = dict(re.findall(r"^\| `([a-z-]+)` \| .+ \| (.*?) \|$",
                            text.partition("## States")[2].partition("## For other")[0], re.M))
    assert {state: set(re.findall(r"`([a-z-]+)`", after)) for state, after in table.items()} == {
        state.value: {after.value for after in NEXT[state]} for state in State}
    live = Status(None, "").to_json()
    described = text.partition("## For other programs")[2].partition("## Events")[0]
    assert all(f"`{key}`" in described for key in live)
