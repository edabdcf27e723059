"""The Raspberry Pi's camera on a stand-in of picamera2 (labelled so); on a Pi with a camera the last test uses that."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alledge import backends
from alledge.device.camera import Camera, open_camera
from alledge.device.camera import _raspberry as raspberry
from alledge.device.faults import CameraFault
from alledge.device.watched import open_watched
from alledge.errors import BackendMissing, CameraError, UsageError

from . import picamera2_standin as standin

SMALL = "width=96&height=64"
LOCKED = f"picamera2://0?{SMALL}&exposure=10000&gain=1&red=2&blue=1.6"
MODULE = "alledge.device.camera.picamera2"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[standin.World]:
    """What the stand-in's camera looks at; the back end finds the stand-in where it looks for the library."""
    world = standin.World()
    monkeypatch.setattr(standin, "WORLD", world)
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=standin.Picamera2))
    monkeypatch.setitem(sys.modules, "libcamera", SimpleNamespace(ColorSpace=standin.ColorSpace))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield world
    sys.modules.pop(MODULE, None)
    assert all(camera.closed and not camera.outstanding for camera in world.opened), "a camera or request was kept"


def halves(rgb: Any) -> tuple[list[int], list[int]]:
    """The colours in the middles of the scene's two halves."""
    height, width = rgb.shape[:2]
    return rgb[height // 2, width // 4].tolist(), rgb[height // 2, 3 * width // 4].tolist()


def test_red_is_red_and_blue_is_blue(world: standin.World) -> None:
    camera: Camera
    with closing(open_camera(LOCKED)) as camera:
        frame = camera.read()
    assert frame is not None
    assert (frame.rgb.dtype, frame.rgb.shape) == (np.uint8, (64, 96, 3))
    for seen, true in zip(halves(frame.rgb), (world.left, world.right), strict=True):
        assert np.abs(np.subtract(seen, true)).max() <= 1
    assert frame.original is None
    assert frame.metadata["source"] == f"{LOCKED}#1"
    assert (frame.metadata["exposure_us"], frame.metadata["gain"]) == ("9981", "1.000")
    assert frame.metadata["crop"] == "0, 440, 4056, 2160"


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (120, 60, 160)])
def test_the_small_stream_has_the_colours_of_the_full_one(world: standin.World, colour: tuple[int, int, int]) -> None:
    world.left = world.right = colour
    with closing(open_camera(f"{LOCKED}&full=192x128")) as camera:
        frame = camera.read()
    assert frame is not None
    assert frame.original is not None
    assert (frame.rgb.shape, frame.original.shape) == ((64, 96, 3), (128, 192, 3))
    for rgb in (frame.rgb, frame.original):
        assert np.abs(np.subtract(halves(rgb), [colour] * 2)).max() <= 2  # YUV is rounded twice


def test_a_frame_is_not_accepted_before_its_settings_took_effect(world: standin.World) -> None:
    with closing(open_camera(LOCKED)) as camera:
        assert camera.read() is not None
        world.opened[0].set_controls({"ExposureTime": 20000})  # another program changes it for four frames
        for _ in range(standin.LATE):
            assert camera.read() is not None
        world.opened[0].set_controls({"ExposureTime": 10000})
        taken = world.frames
        frames = [camera.read() for _ in range(4)]
    assert {frame.metadata["exposure_us"] for frame in frames if frame} == {"9981"}
    assert world.frames - taken == 4 + standin.LATE


def test_what_is_not_given_is_found_and_kept_for_the_next_opening(world: standin.World) -> None:
    from alledge.device.camera import opener

    open_it = opener(f"picamera2://0?{SMALL}")
    seen = []
    for lamp in (1.0, 0.5):  # the lamp is turned down in between: settings that followed it would hide that
        world.lamp = lamp
        with closing(open_it()) as camera:
            seen.append([camera.read() for _ in range(standin.LATE + 1)][-1])
    first, second = (frame.metadata for frame in seen)
    assert {key: first[key] for key in ("exposure_us", "gain", "red_gain", "blue_gain")} == {
        key: second[key] for key in ("exposure_us", "gain", "red_gain", "blue_gain")}
    assert abs(float(first["red_gain"]) - standin.TRUE_GAINS[0]) < 0.1
    assert halves(seen[1].rgb)[0][0] < 0.6 * halves(seen[0].rgb)[0][0]


@pytest.mark.parametrize(("lamp", "fault"), [(0.0, "camera-black"), (60.0, "camera-saturated")])
def test_no_settings_are_found_without_a_picture(world: standin.World, lamp: float, fault: str) -> None:
    world.lamp = lamp
    if lamp > 1:
        world.left = world.right = (255, 255, 255)
    with pytest.raises(CameraFault) as caught:
        open_camera(f"picamera2://0?{SMALL}")
    assert caught.value.fault.name == fault


def test_a_camera_that_does_not_tell_its_settings_is_refused(world: standin.World) -> None:
    world.usb = True
    with pytest.raises(CameraError, match="received no AnalogueGain and no ColourGains; USB cameras go by v4l2://"):
        open_camera(f"picamera2://0?{SMALL}")


def test_settings_that_never_take_effect_are_a_fault(world: standin.World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raspberry, "SETTLE_S", 0.1)
    world.ignores = ("ColourGains",)
    other = LOCKED.replace("red=2", "red=3")
    with pytest.raises(CameraFault) as caught:
        open_camera(other)
    assert caught.value.fault.name == "camera-unsettled"
    assert "ColourGains: expected 3, 1.6, received 2" in str(caught.value)


def test_a_long_exposure_gets_the_time_it_needs(world: standin.World) -> None:
    world.lamp = 0.05
    with closing(open_camera(f"picamera2://0?{SMALL}&exposure=200000&gain=1&red=2&blue=1.6")) as camera:
        frame = camera.read()
    assert frame is not None
    assert abs(int(frame.metadata["exposure_us"]) - 200000) < 60


def test_a_camera_that_stops_answering_is_named_and_no_job_is_left_behind(world: standin.World) -> None:
    with closing(open_camera(LOCKED)) as camera:
        assert camera.read() is not None
        world.hangs = True
        with pytest.raises(CameraFault, match="sends no pictures"):
            camera.read()
        assert world.opened[0].cancelled == 1


def test_it_comes_back_under_watch(world: standin.World) -> None:
    with closing(open_watched(LOCKED)) as camera:
        assert camera.read() is not None
        world.hangs = True
        with pytest.raises(CameraFault):
            camera.read()
        world.hangs = False
        frame = camera.read()
    assert frame is not None
    assert len(world.opened) == 2
    assert time.monotonic() - 1 < (frame.exposed_at or 0) < time.monotonic()


@pytest.mark.parametrize(("change", "said"), [
    ({"cameras": 0}, "expected camera 0, found 0 cameras; check the ribbon cable"),
    ({"busy": True}, "Device or resource busy"),
    ({"offers": {"main": {"size": (192, 120)}}}, "expected RGB888 of 192x128, the camera offers RGB888 of 192x120"),
    ({"offers": {"lores": {"format": "NV12"}}}, "the camera offers NV12 of 96x64"),
    ({"offers": {"colour_space": standin.ColorSpace.Rec709()}}, "in which every colour would be shifted"),
])
def test_what_it_cannot_do_is_said_when_it_is_opened(world: standin.World, change: dict[str, Any], said: str) -> None:
    for name, value in change.items():
        setattr(world, name, value)
    with pytest.raises(CameraError) as caught:
        open_camera(f"{LOCKED}&full=192x128")
    assert said in str(caught.value)


@pytest.mark.parametrize(("mistake", "said"), [
    ("swapped", "red and blue are exchanged"), ("limited", "grey levels apart; leave out full=")])
def test_colours_that_a_driver_gets_wrong_are_noticed(world: standin.World, mistake: str, said: str) -> None:
    setattr(world, mistake, True)
    world.left = world.right = (230, 210, 235) if mistake == "limited" else (200, 60, 90)
    with pytest.raises(CameraError, match=said):
        open_camera(f"{LOCKED}&full=192x128")


@pytest.mark.parametrize(("rest", "said"), [
    ("", "expected the number of a camera"),
    ("front", "received 'front'"),
    ("0?wdith=1280", "wdith=1280 is not understood, expected width, height, full"),
    ("0?width=1280", "expected width and height together"),
    ("0?width=1280&height=721", "even numbers"),
    ("0?full=4056", "full=4056 is not understood, expected WIDTHxHEIGHT"),
    ("0?full=4056x3040", "one of them would be squeezed"),
    ("0?full=640x360", "no smaller"),
    ("0?exposure=10000", "expected exposure and gain together"),
    ("0?red=2", "expected red and blue together"),
    ("0?exposure=1&gain=1", "exposure=1 is out of range, expected a whole number from 20"),
    ("0?exposure=100&gain=high", "gain=high is out of range, expected a number from 1 to 64"),
])
def test_refusals(world: standin.World, rest: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_camera(f"picamera2://{rest}")
    assert said in str(caught.value)


def test_what_is_connected_is_listed(world: standin.World) -> None:
    world.cameras = 2
    backends.load("camera", "picamera2")
    assert sys.modules[MODULE].present() == ["0: imx477", "1: imx477"]


def test_without_the_library_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("picamera2", "libcamera"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with pytest.raises(BackendMissing, match="sudo apt install python3-picamera2"):
        backends.load("camera", "picamera2")


def test_on_a_real_camera() -> None:
    try:
        backends.load("camera", "picamera2")
    except BackendMissing as error:
        pytest.skip(str(error))
    if not sys.modules["picamera2"].Picamera2.global_camera_info():
        pytest.skip("picamera2 is here, a camera is not")
    with closing(open_watched("picamera2://0?width=640&height=480&full=1280x960")) as camera:
        frames = [camera.read() for _ in range(10)]
    assert all(frame and frame.rgb.shape == (480, 640, 3) for frame in frames)
    assert len({frame.metadata["exposure_us"] for frame in frames if frame}) == 1
