"""A `csi://` URI as the GStreamer pipeline that serves it. Text only, so that it can be tested without a Jetson."""

import re

from ._query import Query

KEYS = ("width", "height", "fps", "flip", "exposure", "gain", "white_balance")
# what nvarguscamerasrc calls its wbmode; 1 is automatic, 9 wants gains that it offers no property for
PRESETS = {"off": 0, "incandescent": 2, "fluorescent": 3, "warm-fluorescent": 4, "daylight": 5, "cloudy-daylight": 6,
           "twilight": 7, "shade": 8}
_AUTOMATIC = 1


def parse(rest: str) -> tuple[str, tuple[int, int]]:
    """Pipeline of `csi://` + rest, and width and height of its pictures.

    It ends in the newest frame alone, blue, green, red in 8 bits: what waits in a queue would be an old field.

    Raises:
        UsageError: for whatever in it cannot be used.
    """
    sensor, _, query = rest.partition("?")
    with Query(f"csi://{rest}", query, KEYS) as asked:
        if not re.fullmatch(r"\d", sensor):
            asked.refuse(f"expected the number of a sensor, 0 to 9, received {sensor!r}")
        (width, height), fps = asked.size(), asked.whole("fps", range(1, 241)) or 30
        locks, flip = _locks(asked, fps), asked.whole("flip", range(8)) or 0
    return " ! ".join([
        f"nvarguscamerasrc sensor-id={sensor} {locks}",
        f"video/x-raw(memory:NVMM), width=(int){width}, height=(int){height}, format=(string)NV12, "
        f"framerate=(fraction){fps}/1",
        f"nvvidconv flip-method={flip}",
        "video/x-raw, format=(string)BGRx",
        "videoconvert",
        "video/x-raw, format=(string)BGR",
        "appsink drop=true max-buffers=1 sync=false",
    ]), (width, height)


def _locks(asked: Query, fps: int) -> str:
    """Properties that hold exposure (nanoseconds, a range of one), gain and colours."""
    asked.together("exposure", "gain")
    exposure, gain = asked.whole("exposure", range(10, 1_000_000 // fps + 1)), asked.real("gain", 1, 256)
    preset = asked.choice("white_balance", tuple(PRESETS))
    found = [f"wbmode={_AUTOMATIC if preset is None else PRESETS[preset]}"]
    if preset is not None:
        found.append("awblock=true")
    if exposure is not None and gain is not None:
        found.append(f'aelock=true exposuretimerange="{exposure}000 {exposure}000" gainrange="{gain:g} {gain:g}" '
                     'ispdigitalgainrange="1 1"')
    return " ".join(found)
