"""Stand-in for picamera2 and libcamera, after picamera2 0.3.36: what the library promises, checks and does late.

Not the library: a scene of one colour per half instead of a sensor. What a caller can get wrong is kept: controls reach
a frame some frames later and in steps; formats lie in memory as libcamera names them; rows are padded; requests have to
be given back; automatic exposure and white balance take their time; unknown controls and odd sizes are refused.
"""

import time
from concurrent.futures import TimeoutError as JobTimeout
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LATE = 4  # frames from a control to its effect
LINE_US = 28.6  # one row of an imx477 at full width
TRUE_GAINS = (2.0, 1.6)  # red and blue gains at which white is white under this lamp
TRUE_LIGHT = 10_000.0  # exposure in microseconds x gain at which the scene has its colours
ALIGN = 64  # bytes a row is padded to


class ColorSpace:
    """libcamera.ColorSpace, as far as it is compared."""

    def __init__(self, name: str, full: bool) -> None:
        self.name, self.full = name, full

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ColorSpace) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return f"<libcamera.ColorSpace '{self.name}'>"

    @staticmethod
    def Sycc() -> "ColorSpace":  # noqa: N802
        return ColorSpace("sYCC", True)

    @staticmethod
    def Rec709() -> "ColorSpace":  # noqa: N802
        return ColorSpace("Rec709", False)


@dataclass
class World:
    """What is in front of the camera and what is wrong with it."""

    cameras: int = 1
    left: tuple[int, int, int] = (180, 90, 40)  # RGB of the scene's halves
    right: tuple[int, int, int] = (60, 120, 200)
    lamp: float = 1.0
    platform: str = "VC4"
    busy: bool = False
    hangs: bool = False
    ignores: tuple[str, ...] = ()  # controls that never take effect
    offers: dict[str, Any] = field(default_factory=dict)  # what configure() changes of its own accord
    swapped: bool = False  # a driver that gets RGB888 wrong
    limited: bool = False  # a driver whose small stream has limited range although sYCC was asked for
    usb: bool = False  # libcamera lists USB cameras too; they have no gains of their own
    frame_s: float = 0.001
    frames: int = 0
    opened: list["Picamera2"] = field(default_factory=list)


WORLD = World()


class CompletedRequest:
    def __init__(self, camera: "Picamera2", metadata: dict[str, Any]) -> None:
        self._camera, self._metadata, self._held = camera, metadata, True
        self._config = camera.camera_configuration()
        camera.outstanding += 1

    def get_metadata(self) -> dict[str, Any]:
        assert self._held
        return dict(self._metadata)

    def make_array(self, name: str) -> np.ndarray:
        assert self._held
        config = self._config.get(name)
        if config is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        rgb = self._camera.picture(config["size"], self._metadata)
        if config["format"] == "RGB888":
            return rgb.copy() if WORLD.swapped else np.ascontiguousarray(rgb[..., ::-1])
        if config["format"] == "BGR888":
            return rgb.copy()
        return yuv420(rgb, config["stride"], self._config["colour_space"].full and not WORLD.limited)

    def release(self) -> None:
        assert self._held, "released twice"
        self._held = False
        self._camera.outstanding -= 1


class Picamera2:
    def __init__(self, camera_num: int = 0) -> None:
        self.global_camera_info()[camera_num]
        if WORLD.busy:
            raise RuntimeError("Camera __init__ sequence did not complete.") from RuntimeError(
                "Failed to acquire camera: Device or resource busy")
        self._config: dict[str, Any] = {}
        self.started = self.closed = False
        self.outstanding = self.cancelled = 0
        self._asked: list[dict[str, Any]] = []
        self._on: dict[str, Any] = {"AeEnable": True, "AwbEnable": True}
        self._frame = 0
        WORLD.opened.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [{"Model": "imx477", "Num": i, "Id": f"/base/i2c/imx477@{i}"} for i in range(WORLD.cameras)]

    def create_video_configuration(self, main: dict[str, Any], lores: dict[str, Any] | None = None,
                                   raw: dict[str, Any] | None = None, *, colour_space: Any = None,
                                   buffer_count: int = 6, controls: dict[str, Any],
                                   queue: bool = True) -> dict[str, Any]:
        return {"main": dict(main), "lores": lores and dict(lores), "raw": raw,
                "colour_space": colour_space or ColorSpace.Rec709(),
                "buffer_count": buffer_count, "controls": dict(controls), "queue": queue}

    def configure(self, config: dict[str, Any]) -> None:
        streams = [(name, config[name]) for name in ("main", "lores") if config[name]]
        for name, stream in streams:
            if stream["format"] not in ("RGB888", "BGR888", "YUV420", "XBGR8888", "XRGB8888"):
                raise RuntimeError(f"Bad format {stream['format']} in stream {name}")
            if stream["size"][0] % 2 or stream["size"][1] % 2:
                raise RuntimeError("width and height should be even")
        lores = config["lores"]
        if lores and (lores["size"][0] > config["main"]["size"][0] or lores["size"][1] > config["main"]["size"][1]):
            raise RuntimeError("lores stream dimensions may not exceed main stream")
        if lores and WORLD.platform == "VC4" and lores["format"] != "YUV420":
            raise RuntimeError("lores stream must be YUV")
        for name, stream in streams:
            stream.update(WORLD.offers.get(name, {}))
            row = stream["size"][0] * (1 if stream["format"] == "YUV420" else 3)
            stream["stride"] = -(-row // ALIGN) * ALIGN
        config["colour_space"] = WORLD.offers.get("colour_space", config["colour_space"])
        self._config = config
        self.set_controls(config["controls"])

    def camera_configuration(self) -> dict[str, Any]:
        return self._config

    def set_controls(self, controls: dict[str, Any]) -> None:
        for name in controls:
            if name not in ("AeEnable", "AwbEnable", "ExposureTime", "AnalogueGain", "ColourGains", "ExposureValue",
                            "FrameDurationLimits"):
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self._asked.append(dict(controls))

    def start(self) -> None:
        if not self._config:
            raise RuntimeError("Camera has not been configured")
        for controls in self._asked:  # set before the start: in effect from the first frame on
            self._apply(controls)
        self._asked, self.started = [], True
        self._pending: list[tuple[int, dict[str, Any]]] = []

    def stop(self) -> None:
        self.started = False

    def close(self) -> None:
        self.closed = True

    def cancel_all_and_flush(self) -> None:
        self.cancelled += 1

    def capture_request(self, wait: float | None = None) -> CompletedRequest:
        assert self.started
        if WORLD.hangs or self.outstanding >= self._config["buffer_count"]:
            time.sleep(min(wait or 60, 0.05))  # the stand-in does not make a test wait as long as it says
            raise JobTimeout
        time.sleep(WORLD.frame_s)
        self._frame += 1
        WORLD.frames += 1
        self._pending += [(self._frame + LATE, controls) for controls in self._asked]
        self._asked = []
        for due, controls in list(self._pending):
            if due <= self._frame:
                self._apply(controls)
                self._pending.remove((due, controls))
        return CompletedRequest(self, self._metadata())

    def picture(self, size: tuple[int, int], metadata: dict[str, Any]) -> np.ndarray:
        """uint8 [H, W, 3] RGB: two halves, in the light and with the gains of this frame."""
        light = WORLD.lamp * metadata["ExposureTime"] * metadata["AnalogueGain"] / TRUE_LIGHT
        red, blue = metadata["ColourGains"]
        gains = np.array([light * red / TRUE_GAINS[0], light, light * blue / TRUE_GAINS[1]])
        scene = np.empty((size[1], size[0], 3), np.uint8)
        for part, colour in ((slice(None, size[0] // 2), WORLD.left), (slice(size[0] // 2, None), WORLD.right)):
            scene[:, part] = np.clip(np.round(np.array(colour) * gains), 0, 255)
        bits = np.unpackbits(np.array([WORLD.frames % 256], np.uint8)).repeat(4)
        scene[0, size[0] // 2 - 16:][:32] = bits[:, None] * 9  # no two frames alike, in their middle
        return scene

    def _apply(self, controls: dict[str, Any]) -> None:
        kept = {name: value for name, value in controls.items() if name not in WORLD.ignores}
        if "ExposureTime" in kept:
            rows = max(1, int(min(kept["ExposureTime"], kept.get("FrameDurationLimits", (10**9,))[0]) / LINE_US))
            kept["ExposureTime"] = int(rows * LINE_US)
        if "AnalogueGain" in kept:
            kept["AnalogueGain"] = round(kept["AnalogueGain"] * 256) / 256
        self._on.update(kept)

    def _metadata(self) -> dict[str, Any]:
        far = 1 + 2.0 ** -self._frame  # automatic control halves what it lacks with every frame
        dark = TRUE_LIGHT / max(WORLD.lamp, 1e-6)
        exposure = self._on.get("ExposureTime", int(min(dark * far, 33333)))
        gain = self._on.get("AnalogueGain", float(np.clip(dark / 33333, 1, 8)))
        if WORLD.usb:
            return {"SensorTimestamp": 1, "ExposureTime": exposure}
        return {"ExposureTime": exposure, "AnalogueGain": gain, "DigitalGain": 1.0,
                "ScalerCrop": (0, 440, 4056, 2160),
                "ColourGains": self._on.get("ColourGains", (TRUE_GAINS[0] * far, TRUE_GAINS[1] / far)),
                "SensorTimestamp": int((time.clock_gettime(time.CLOCK_BOOTTIME) - 0.03) * 1e9)}


def yuv420(rgb: np.ndarray, stride: int, full: bool) -> np.ndarray:
    """uint8 [H * 3 / 2, stride] of uint8 [H, W, 3], BT.601 by its textbook formula, limited range unless full."""
    height, width = rgb.shape[:2]
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = [(blue - luma) / 1.772, (red - luma) / 1.402]
    if not full:
        luma, chroma = 16 + luma * 219 / 255, [c * 224 / 255 for c in chroma]
    planes = np.zeros((height * 3 // 2, stride), np.uint8)
    planes[:height, :width] = np.round(luma)
    halves = planes.reshape(height * 3, stride // 2)
    for i, plane in enumerate(chroma):
        small = plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        top = 2 * height + i * height // 2
        halves[top:top + height // 2, :width // 2] = np.clip(np.round(small + 128), 0, 255)
    return planes
