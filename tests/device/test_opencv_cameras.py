"""USB and CSI cameras: what is asked of OpenCV, what is done with its answers. No device is here, so a film stands in
for what `VideoCapture` reads, and a stand-in for the controls of a USB camera."""

import os
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from alledge import backends
from alledge.device.camera import _argus, open_camera, v4l2
from alledge.device.camera._opencv import LiveCapture
from alledge.device.camera.v4l2 import V4l2Camera
from alledge.device.faults import CameraFault
from alledge.errors import BackendMissing, CameraError, UsageError

SIZE = (96, 64)
RGB = (200, 80, 30)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """16 frames of one colour, which OpenCV reads as it reads a camera."""
    path = tmp_path / "video0"
    written = cv2.VideoWriter(str(path.with_suffix(".avi")), cv2.VideoWriter_fourcc(*"MJPG"), 5, SIZE)
    for _ in range(16):
        written.write(np.full((SIZE[1], SIZE[0], 3), RGB[::-1], np.uint8))
    written.release()
    path.with_suffix(".avi").rename(path)
    return path


class UsbCamera:
    """Stand-in for `cv2.VideoCapture` on a USB camera: reads a film, and has controls like one."""

    def __init__(self, film: Path, takes_exposure: bool = True) -> None:
        self._film = cv2.VideoCapture(str(film))
        self._takes_exposure = takes_exposure
        self.grabbed = 0
        self.controls: dict[int, float] = {cv2.CAP_PROP_EXPOSURE: 156, cv2.CAP_PROP_AUTO_EXPOSURE: 3}

    def get(self, name: int) -> float:
        return self.controls[name] if name in self.controls else self._film.get(name)

    def set(self, name: int, value: float) -> bool:
        if name == cv2.CAP_PROP_EXPOSURE and not self._takes_exposure:
            return False
        self.controls[name] = value
        return True

    def grab(self) -> bool:
        self.grabbed += 1
        return bool(self._film.grab())

    def read(self) -> Any:
        return self._film.read()

    def release(self) -> None:
        self._film.release()


def held(*keys: str) -> tuple[v4l2.Control, ...]:
    asked = v4l2.Query("v4l2://x", "exposure=10000&gain=7&white_balance=4600", v4l2.KEYS)
    return tuple(control for control in v4l2._controls(asked) if control.key in keys)


def test_opencv_gives_blue_first_and_this_gives_red_first(film: Path) -> None:
    with closing(LiveCapture(cv2.VideoCapture(str(film)), "v4l2:///dev/video0", SIZE)) as camera:
        frame = camera.read()
    assert (frame.rgb.shape, frame.rgb.dtype) == ((64, 96, 3), np.uint8)
    assert np.abs(frame.rgb.mean((0, 1)) - RGB).max() < 4  # JPEG
    assert frame.metadata == {"source": "v4l2:///dev/video0#1"}


def test_another_size_than_asked_for_is_refused(film: Path) -> None:
    with pytest.raises(CameraError, match="expected pictures of 1280x720, the camera offers 96x64"):
        LiveCapture(cv2.VideoCapture(str(film)), "csi://0", (1280, 720))


def test_no_frame_is_a_stall_while_the_device_is_there_and_a_loss_when_it_is_not(film: Path) -> None:
    usb = UsbCamera(film)
    with closing(V4l2Camera(usb, "v4l2:///dev/video0", str(film), SIZE, ())) as camera:  # type: ignore[arg-type]
        for _ in range(12):
            camera.read()
        with pytest.raises(CameraFault) as stalled:
            camera.read()
        film.unlink()
        with pytest.raises(CameraFault) as lost:
            camera.read()
    assert [e.value.fault.name for e in (stalled, lost)] == ["camera-stalled", "camera-disconnected"]


def test_frames_from_before_the_call_are_passed_by(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usb, clock = UsbCamera(film), [1000.0]
    monkeypatch.setattr(v4l2.time, "monotonic", lambda: clock[0])
    with closing(V4l2Camera(usb, "v4l2:///dev/video0", str(film), SIZE, ())) as camera:  # type: ignore[arg-type]
        usb.controls[cv2.CAP_PROP_POS_MSEC] = 999_990
        grabbed = []
        for pause in (0.0, 0.03, 0.03, 5.0):
            clock[0] += pause
            assert camera.read().exposed_at == 999.99
            grabbed.append(usb.grabbed)
        usb.controls[cv2.CAP_PROP_POS_MSEC] = 1.8e12  # a driver that stamps by the wall clock
        assert camera.read().exposed_at is None
    assert grabbed == [4, 4, 4, 8]


def test_controls_are_taken_from_the_camera_and_held(film: Path) -> None:
    usb = UsbCamera(film)
    controls = held("exposure", "gain", "white_balance")
    with closing(V4l2Camera(usb, "v4l2:///dev/video0", str(film), SIZE, controls)) as camera:  # type: ignore[arg-type]
        assert usb.controls[cv2.CAP_PROP_AUTO_EXPOSURE] == 1  # V4L2_EXPOSURE_MANUAL
        assert usb.controls[cv2.CAP_PROP_EXPOSURE] == 100  # of 100 microseconds
        assert usb.controls[cv2.CAP_PROP_AUTO_WB] == 0
        assert (usb.controls[cv2.CAP_PROP_WB_TEMPERATURE], usb.controls[cv2.CAP_PROP_GAIN]) == (4600, 7)
        camera.read()
        usb.controls[cv2.CAP_PROP_GAIN] = 64  # another program
        with pytest.raises(CameraFault, match="gain: expected 7, received 64") as caught:
            camera.read()
    assert caught.value.fault.name == "camera-unsettled"


def test_a_control_that_the_camera_does_not_take_is_said_at_once(film: Path) -> None:
    usb = UsbCamera(film, takes_exposure=False)
    with pytest.raises(CameraError, match=r"exposure: expected 100, received 156.*v4l2-ctl -d"):
        V4l2Camera(usb, "v4l2:///dev/video0", str(film), SIZE, held("exposure"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("uri", "error", "said"), [
    ("v4l2://", UsageError, "expected a device file, e.g. v4l2:///dev/video0"),
    ("v4l2:///dev/video77", CameraError, "there is no /dev/video77; plug the camera in"),
    ("v4l2:///dev/null?width=640&height=480", CameraError, "/dev/null gives no pictures; close other programs"),
    ("v4l2:///dev/video0?zoom=2", UsageError, "zoom=2 is not understood, expected width, height, fps"),
    ("v4l2:///dev/video0?format=H264", UsageError, "format 'H264' is unknown, expected one of MJPG, YUYV"),
    ("v4l2:///dev/video0?height=720", UsageError, "expected width and height together"),
    ("v4l2:///dev/video0?exposure=1", UsageError, "exposure=1 is out of range"),
])
def test_refusals(uri: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        open_camera(uri)
    assert said in str(caught.value)


def test_the_pipeline_of_a_jetson() -> None:
    text, size = _argus.parse("0")
    assert size == (1280, 720)
    assert text == (
        "nvarguscamerasrc sensor-id=0 wbmode=1 ! "
        "video/x-raw(memory:NVMM), width=(int)1280, height=(int)720, format=(string)NV12, framerate=(fraction)30/1 ! "
        "nvvidconv flip-method=0 ! video/x-raw, format=(string)BGRx ! videoconvert ! video/x-raw, format=(string)BGR ! "
        "appsink drop=true max-buffers=1 sync=false")
    text, size = _argus.parse("1?width=1920&height=1080&fps=20&flip=2&exposure=8000&gain=1.5&white_balance=daylight")
    assert size == (1920, 1080)
    assert text.startswith(
        'nvarguscamerasrc sensor-id=1 wbmode=5 awblock=true aelock=true exposuretimerange="8000000 8000000" '
        'gainrange="1.5 1.5" ispdigitalgainrange="1 1" ! video/x-raw(memory:NVMM), width=(int)1920, height=(int)1080, '
        "format=(string)NV12, framerate=(fraction)20/1 ! nvvidconv flip-method=2 ! ")


@pytest.mark.parametrize(("rest", "said"), [
    ("", "expected the number of a sensor"),
    ("0 ! filesink location=x", "received '0 ! filesink"),  # nothing of a URI gets into the pipeline unread
    ("0?mode=1", "mode=1 is not understood"),
    ("0?white_balance=auto", "'auto' is unknown, expected one of off, incandescent"),
    ("0?exposure=8000", "expected exposure and gain together"),
    ("0?fps=30&exposure=40000&gain=1", "expected a whole number from 10 to 33333"),  # longer than a frame lasts
])
def test_what_a_jetson_is_not_asked(rest: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        _argus.parse(rest)
    assert said in str(caught.value)


def test_opencv_without_gstreamer_is_named_with_what_to_install() -> None:
    if re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(BackendMissing, match="sudo apt install python3-opencv") as caught:
        backends.load("camera", "csi")
    assert caught.value.fix.startswith("sudo apt install python3-opencv")
    assert "pip install" not in str(caught.value)


def test_the_pipeline_is_one_that_gstreamer_parses() -> None:
    try:
        backends.load("camera", "csi")
    except BackendMissing as error:
        pytest.skip(str(error))
    text = _argus.parse("0")[0].replace("nvarguscamerasrc sensor-id=0 wbmode=1", "videotestsrc pattern=red")
    plain = text.replace("(memory:NVMM)", "").replace("nvvidconv flip-method=0", "videoconvert")
    with closing(LiveCapture(cv2.VideoCapture(plain, cv2.CAP_GSTREAMER), "csi://0", (1280, 720))) as camera:
        assert np.abs(camera.read().rgb.mean((0, 1)) - (255, 0, 0)).max() < 4


@pytest.mark.skipif(not os.path.exists("/dev/video0"), reason="no /dev/video0 here")
def test_on_a_real_usb_camera() -> None:
    with closing(open_camera("v4l2:///dev/video0?width=640&height=480")) as camera:
        frames = [camera.read() for _ in range(5)]
    assert all(frame and frame.rgb.shape == (480, 640, 3) for frame in frames)
