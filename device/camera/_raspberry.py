"""A Raspberry Pi's camera through the objects of picamera2, which are handed in: so it is tested without a Pi.

A sensor takes a change of exposure or gain several frames late, and counts both in steps of its own. So no frame is
accepted on trust: its own metadata must say that it was taken with the settings that are locked (the Picamera2 manual
and its maintainers name the metadata as the only proof).
"""

import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import TimeoutError as JobTimeout
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from alledge.errors import AlledgeError, CameraError

from ..faults import CameraFault
from . import Frame, now
from ._proofs import (
    LOCKS,
    differences,
    expect_light,
    expect_same_colours,
    expect_told,
    rgb_of_bgr,
    rgb_of_yuv,
    shown,
    steady,
)
from ._query import Query

KEYS = ("width", "height", "full", "exposure", "gain", "red", "blue")
READ_S = 2.0  # for one frame; the watch over it gives up after 3
SETTLE_S = 2.5  # for the settings to take effect: about 10 frames at 30 a second, with room for slower sensors
FIND_S = 3.0  # for automatic exposure and white balance to come to rest
_BRIGHTER = 1.0  # stops: automatic exposure aims at a grey scene, a bright field is to be nearly white
_FRAME_US = 33333  # 30 frames a second, unless the exposure is longer


@dataclass(frozen=True)
class Settings:
    """What a URI asks for. size and full: width and height; controls: libcamera's names and values, to be locked."""

    uri: str
    number: int
    size: tuple[int, int]
    full: tuple[int, int] | None = None
    controls: Mapping[str, Any] = field(default_factory=dict)


def parse(rest: str) -> Settings:
    """Settings of `picamera2://` + rest.

    Raises:
        UsageError: for whatever in it cannot be used.
    """
    uri = f"picamera2://{rest}"
    number, _, query = rest.partition("?")
    with Query(uri, query, KEYS) as asked:
        if not re.fullmatch(r"\d", number):
            asked.refuse(f"expected the number of a camera, 0 to 9, received {number!r}")
        size, full = asked.size(), asked.pair("full")
        if any(side % 2 for side in (*size, *(full or ()))):
            asked.refuse("expected even numbers of pixels, as the sensor's colour filter needs")
        if full is not None and (full < size or abs(full[0] * size[1] / (full[1] * size[0]) - 1) > 0.005):
            asked.refuse(f"expected full of the same shape as width x height and no smaller, received {full[0]}x"
                         f"{full[1]} and {size[0]}x{size[1]}: one of them would be squeezed")
        asked.together("exposure", "gain")
        asked.together("red", "blue")
        exposure, gain = asked.whole("exposure", range(20, 500_001)), asked.real("gain", 1, 64)
        red, blue = asked.real("red", 0.1, 32), asked.real("blue", 0.1, 32)
    controls: dict[str, Any] = {} if exposure is None else {"ExposureTime": exposure, "AnalogueGain": gain}
    return Settings(uri, int(number), size, full, controls if red is None else {**controls, "ColourGains": (red, blue)})




class RaspberryCamera:
    """Frames of one camera, each proven to be taken with the locked settings.

    Args:
        library: the class Picamera2.
        full_range: libcamera's sYCC colour space: full range, so that no grey level is lost or shifted on the way.
        settings: what was asked for.
        locked: controls to lock. What is missing is found out, put in here, and so kept for the next opening.

    Raises:
        CameraError: when it cannot be opened, or gives other sizes, formats or colours than asked for.
        CameraFault: when it gives no frames, finds no light to settle by, or does not keep its settings.
    """

    def __init__(self, library: Any, full_range: Any, settings: Settings, locked: dict[str, Any]) -> None:
        self._settings, self._locked = settings, locked
        self._given = 0
        with _sentences(settings.uri):
            _expect_camera(library, settings)
            self._device = library(settings.number)
        try:
            with _sentences(settings.uri):
                self._start(full_range)
            self._lock()
            first = self.read()  # that the settings take effect is known at once
            if first.original is not None:
                expect_same_colours(settings.uri, first.rgb, first.original)
            self._given = 0
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame:
        """The next frame that was taken with the locked settings.

        Raises:
            CameraFault: `camera-stalled` when none comes; `camera-unsettled` when its settings stay others.
        """
        end = time.monotonic() + SETTLE_S
        while True:
            with self._request() as request:
                metadata = request.get_metadata()
                wrong = differences(metadata, self._locked)
                if not wrong:
                    return self._frame(request, metadata)
            if time.monotonic() > end:
                raise CameraFault("camera-unsettled", wrong)

    def close(self) -> None:
        """Stop and let go of the camera."""
        with suppress(Exception):  # a camera that was pulled out fails here; it must still be let go
            self._device.stop()
        self._device.close()

    def _start(self, full_range: Any) -> None:
        settings = self._settings
        longest = max(_FRAME_US, int(1.05 * self._locked.get("ExposureTime", 0)))
        small = {"size": settings.size, "format": "YUV420"}  # the one format of this stream that all Pis have
        self._device.configure(self._device.create_video_configuration(
            main={"size": settings.full or settings.size, "format": "RGB888"},
            lores=None if settings.full is None else small, raw=None,  # nobody reads it, and memory for it is scarce
            colour_space=full_range, buffer_count=4, queue=False,
            controls={"FrameDurationLimits": (longest, longest), "ExposureValue": _BRIGHTER, **self._locked}))
        _expect_configured(settings, full_range, self._device.camera_configuration())
        self._device.start()

    def _lock(self) -> None:
        """Find out what was not given, and lock everything."""
        missing = [name for name in LOCKS if name not in self._locked]
        if missing:
            found = self._at_rest()
            self._locked.update({name: found[name] for name in missing})
        self._device.set_controls({"AeEnable": False, "AwbEnable": False, **self._locked})

    def _at_rest(self) -> dict[str, Any]:
        """Metadata of the first frame that differs little from the two before it; of the last one when time is up.

        Raises:
            CameraError: when the camera does not tell its settings.
            CameraFault: when there is no light to find settings by.
        """
        end, calm, before = time.monotonic() + FIND_S, 0, None
        while True:
            with self._request() as request:
                metadata: dict[str, Any] = request.get_metadata()
                expect_told(self._settings.uri, metadata)
                calm = calm + 1 if before is not None and steady(before, metadata) else 0
                if calm >= 2 or time.monotonic() > end:
                    expect_light(request.make_array("main"))
                    return metadata
            before = metadata

    @contextmanager
    def _request(self) -> Iterator[Any]:
        """One completed request, given back afterwards: the camera has only so many."""
        try:
            request = self._device.capture_request(wait=READ_S)
        except (TimeoutError, JobTimeout):  # two classes before Python 3.11
            self._device.cancel_all_and_flush()
            raise CameraFault("camera-stalled", f"none for {READ_S:g} s") from None
        try:
            yield request
        finally:
            request.release()

    def _frame(self, request: Any, metadata: Mapping[str, Any]) -> Frame:
        original = None
        if self._settings.full is None:
            rgb = rgb_of_bgr(request.make_array("main"))
        else:
            rgb = rgb_of_yuv(request.make_array("lores"), self._settings.size)
            original = rgb_of_bgr(request.make_array("main"))
        self._given += 1
        red, blue = metadata["ColourGains"]
        return Frame(rgb, now(), {
            "source": f"{self._settings.uri}#{self._given}", "exposure_us": str(metadata["ExposureTime"]),
            "gain": f"{metadata['AnalogueGain']:.3f}", "red_gain": f"{red:.3f}", "blue_gain": f"{blue:.3f}",
            "crop": shown(metadata.get("ScalerCrop", "")),  # x, y, width, height on the sensor: some modes crop
        }, original=original, exposed_at=_monotonic(metadata.get("SensorTimestamp")))


def _monotonic(sensor_ns: int | None) -> float | None:
    """libcamera counts nanoseconds since boot, sleep included."""
    if sensor_ns is None:
        return None
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - sensor_ns / 1e9)


def _expect_camera(library: Any, settings: Settings) -> None:
    found = library.global_camera_info()
    if settings.number >= len(found):
        raise CameraError(f"camera {settings.uri} cannot be opened: expected camera {settings.number}, found "
                          f"{len(found)} cameras; check the ribbon cable, then `rpicam-hello --list-cameras`")


def _expect_configured(settings: Settings, full_range: Any, given: Mapping[str, Any]) -> None:
    """libcamera changes what it cannot do, and says so only here."""
    wanted = {"main": ("RGB888", settings.full or settings.size)}
    if settings.full is not None:
        wanted["lores"] = ("YUV420", settings.size)
    for name, stream in wanted.items():
        received = given[name]["format"], tuple(given[name]["size"])
        if received != stream:
            raise CameraError(f"camera {settings.uri} cannot be opened: expected {stream[0]} of {stream[1][0]}x"
                              f"{stream[1][1]}, the camera offers {received[0]} of {received[1][0]}x{received[1][1]}")
    if given["colour_space"] != full_range:
        raise CameraError(f"camera {settings.uri} cannot be opened: expected the colour space {full_range}, the camera "
                          f"offers {given['colour_space']}, in which every colour would be shifted")


@contextmanager
def _sentences(uri: str) -> Iterator[None]:
    """picamera2 raises RuntimeError and worse; whatever it is, this camera cannot be opened."""
    try:
        yield
    except AlledgeError:
        raise
    except Exception as error:
        cause = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise CameraError(f"camera {uri} cannot be opened ({cause}); close other programs that use it, check the "
                          "ribbon cable, then `rpicam-hello --list-cameras`") from error
