"""One suite over every back end of each kind: what a Protocol promises, all that implement it must keep."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from alledge import backends
from alledge.bundle import Bundle
from alledge.device.camera import EXAMPLES, Camera, is_live, open_camera
from alledge.device.display import Display, open_display
from alledge.device.engine import open_engine
from alledge.device.screen import screen
from alledge.device.sink import open_sink
from alledge.device.trigger import Press, open_trigger
from alledge.device.watched import open_watched
from alledge.device.words import words
from alledge.errors import BackendMissing, CameraError, SinkError, UsageError
from alledge.images import write_png
from alledge.synthetic import draw_field
from alledge.verdict import Verdict

VERDICT = Verdict("pre_b", 0.9, {"benign": 0.05, "early_pre_b": 0.03, "pre_b": 0.9, "pro_b": 0.02}, ("a reason",),
                  {"focus": 12.5}, 0.1, {"total": 3.5}, 0, "2026-01-02T03:04:05.678+00:00", "tflite", "0" * 16, "f.png")


def load(kind: str, name: str) -> Any:
    try:
        return backends.load(kind, name)
    except BackendMissing as error:
        pytest.skip(str(error))


def test_every_kind_has_its_back_ends() -> None:
    assert {kind: backends.names(kind) for kind in ("camera", "engine", "display", "sink", "trigger")} == {
        "camera": ["csi", "emulated", "file", "picamera2", "synthetic", "v4l2", "video"],
        "engine": ["coral", "onnx", "tensorrt", "tflite"], "sink": ["jsonl", "sqlite"],
        "display": ["framebuffer", "png", "sh1106", "ssd1306", "st7789", "terminal"],
        "trigger": ["gpio", "interval", "keyboard"]}
    assert sorted(EXAMPLES) == backends.names("camera")


HARDWARE = {"picamera2": "picamera2://0?width=640&height=480", "v4l2": "v4l2:///dev/video0?width=640&height=480",
            "csi": "csi://0"}


@pytest.fixture
def camera_uri(tmp_path: Path) -> Callable[[str], str]:
    """A URI of each camera that gives 2 fields or more; a camera that is not here is skipped with its reason."""
    def make(name: str) -> str:
        load("camera", name)
        if name in HARDWARE:
            try:
                open_camera(HARDWARE[name]).close()
            except CameraError as error:
                pytest.skip(str(error))
            return HARDWARE[name]
        fields = [draw_field("pre_b", seed, 96).rgb for seed in (1, 2)]
        if name == "file":
            for i, rgb in enumerate(fields):
                write_png(tmp_path / "pre_b" / f"{i}.png", rgb)
            return f"file://{tmp_path}"
        if name == "video":
            film = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (96, 96))
            for rgb in fields:
                film.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
            film.release()
            return f"video://{tmp_path / 'film.avi'}"
        drawn = "synthetic://?seed=1&class=pre_b&size=96"
        return f"emulated://black@9/{drawn}" if name == "emulated" else drawn
    return make


@pytest.mark.parametrize("open_it", [open_camera, open_watched])
@pytest.mark.parametrize("name", backends.names("camera"))
def test_camera(name: str, open_it: Callable[[str], Camera], camera_uri: Callable[[str], str]) -> None:
    uri = camera_uri(name)
    for _ in range(2):  # let go of, it can be opened again
        with closing(open_it(uri)) as camera:
            first, second = camera.read(), camera.read()
            assert first is not None
            assert second is not None
            assert (first.rgb.dtype, first.rgb.ndim, first.rgb.shape[2]) == (np.uint8, 3, 3)
            assert first.rgb.shape == second.rgb.shape
            assert not np.array_equal(first.rgb, second.rgb)
            assert first.taken_at.endswith("+00:00")
            assert first.metadata["source"] != second.metadata["source"]
            assert first.exposed_at is None or abs(time.monotonic() - first.exposed_at) < 5
            assert is_live(uri) or camera.read() is None


@pytest.mark.parametrize("name", sorted(set(backends.names("camera")) - set(HARDWARE)))
def test_a_camera_exchanges_no_colours(name: str, camera_uri: Callable[[str], str]) -> None:
    with closing(open_camera(camera_uri(name))) as camera:
        frame = camera.read()
    wanted = draw_field("pre_b", 1, 96).rgb
    assert frame is not None
    assert np.abs(frame.rgb.mean((0, 1)) - wanted.mean((0, 1))).max() < 3


@pytest.mark.parametrize("name", sorted(set(backends.names("camera")) - {"file", "video"}))
def test_a_camera_refuses_a_key_it_does_not_have(name: str) -> None:
    load("camera", name)
    with pytest.raises(UsageError, match="colour=red is not understood, expected"):
        open_camera(f"{EXAMPLES[name]}{'&' if '?' in EXAMPLES[name] else '?'}colour=red")


@pytest.fixture
def engine_bundle(request: pytest.FixtureRequest) -> Callable[[str], Bundle]:
    return lambda name: request.getfixturevalue(f"{name}_bundle")


@pytest.mark.parametrize("name", backends.names("engine"))
def test_engine(name: str, engine_bundle: Callable[[str], Bundle]) -> None:
    load("engine", name)
    bundle = engine_bundle(name)
    tensor = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3)).astype(np.float32)
    with closing(open_engine(bundle, name, threads=2)) as engine:
        assert engine.name == name
        first, other, again = engine.infer(tensor), engine.infer(-tensor + 0.5), engine.infer(tensor)
    assert (first.probs.dtype, first.probs.shape) == (np.float32, (4,))
    assert first.embedding.shape == (bundle.manifest.embedding.shape[-1],)
    np.testing.assert_array_equal(first.probs, again.probs)
    assert not np.array_equal(first.embedding, other.embedding)


@pytest.mark.parametrize("name", backends.names("display"))
def test_display(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                 capsys: pytest.CaptureFixture[str]) -> None:
    load("display", name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="option colour is unknown, expected"):
        open_display(name, {"colour": "red"})
    display: Display
    try:
        display = open_display(name)
    except BackendMissing as error:  # tests/device/test_display.py has it on a stand-in bus
        pytest.skip(str(error))
    with closing(display):
        assert display.mode in ("1", "RGB", "text")
        for _ in range(2):
            picture = None if display.mode == "text" else screen(VERDICT, display.size)
            display.show(picture, words(VERDICT))
    shown = capsys.readouterr().out
    assert ("Pre-B" in shown) == (display.mode == "text")


@pytest.fixture
def stored() -> Callable[[str, Path], list[dict[str, Any]]]:
    import json

    from alledge.device.store.rows import read_results

    def read(name: str, path: Path) -> list[dict[str, Any]]:
        if name == "sqlite":
            return [row.to_json() for row in read_results(path)]
        return [json.loads(line) for line in path.read_text().splitlines()]
    return read


@pytest.fixture(params=backends.names("sink"))
def sink_name(request: pytest.FixtureRequest) -> str:
    load("sink", request.param)
    return str(request.param)


def test_sink_keeps_everything_and_the_numbers_it_is_given(sink_name: str, tmp_path: Path, stored: Any) -> None:
    path = tmp_path / "deep" / "results"
    numbered = [replace(VERDICT, sequence=number) for number in (41, 42)]
    kept: list[Verdict] = []
    for count, verdict in enumerate(numbered, 1):  # opened twice: what is there must stay
        with closing(open_sink(sink_name, path)) as sink:
            kept.append(sink.write(verdict))
            assert len(stored(sink_name, path)) == count  # on disk before it is acknowledged
    assert stored(sink_name, path) == [verdict.to_json() for verdict in kept]
    stamps = {"software": "", "boot_id": "", "uptime_s": 0.0, "hash": ""}  # what only the database sets
    assert [replace(verdict, **stamps) for verdict in kept] == numbered


def test_the_database_goes_on_counting(tmp_path: Path) -> None:
    for wanted in (1, 2):  # opened twice: the number must not start again
        with closing(open_sink("sqlite", tmp_path / "results")) as sink:
            assert sink.write(VERDICT).sequence == wanted
    with closing(open_sink("sqlite", tmp_path / "results")) as sink:
        sink.write(replace(VERDICT, sequence=41))
        assert sink.write(VERDICT).sequence == 42


@pytest.mark.parametrize("path", ["/proc/alledge/results", "/dev/full", "/dev/null/results"])
def test_sink_that_cannot_keep_says_so(sink_name: str, path: str) -> None:
    with pytest.raises(SinkError, match=path), closing(open_sink(sink_name, Path(path))) as sink:
        sink.write(VERDICT)


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes one press for a field on each trigger; stands in for the finger, and for the pins."""
    import pty

    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory

    user, program = pty.openpty()
    monkeypatch.setattr(Device, "pin_factory", MockFactory())
    stdin = os.fdopen(program)
    monkeypatch.setattr("sys.stdin", stdin)

    def make(name: str) -> None:
        if name == "keyboard":
            os.write(user, b" ")
        elif name == "gpio":
            Device.pin_factory.pin(17).drive_low()
            time.sleep(0.1)
            Device.pin_factory.pin(17).drive_high()
    yield make
    Device.pin_factory.reset()
    stdin.close()
    os.close(user)


@pytest.mark.parametrize("name", backends.names("trigger"))
def test_trigger(name: str, press: Callable[[str], None]) -> None:
    load("trigger", name)
    with closing(open_trigger(name)) as trigger:
        press(name)
        assert trigger.wait(5) == Press.FIELD
        start = time.monotonic()
        assert trigger.wait(0) is None  # only a look
        assert trigger.wait(0.05) is None
        assert 0.04 < time.monotonic() - start < 2
    with pytest.raises(UsageError, match=f"trigger '{name}': option colour is unknown, expected"):
        open_trigger(name, {"colour": "red"})
    with closing(open_trigger(name)):  # let go of, so it can be had again
        pass
