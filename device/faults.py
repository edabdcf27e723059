"""Everything that can go wrong with the machine (not with one field), by name.

The name goes into the log and beside every result made under it, the sentence onto the screen: what is wrong, and what
the person in front of it can do.
"""

from dataclasses import dataclass

from alledge.errors import CameraError, DisplayError, EngineError


@dataclass(frozen=True)
class Fault:
    """Attributes: name in kebab-case; says: what is wrong; remedy: what to do about it, as an order."""

    name: str
    says: str
    remedy: str

    @property
    def title(self) -> str:
        """The name as a heading, e.g. "Camera disconnected"."""
        return (self.name[:1].upper() + self.name[1:]).replace("-", " ").replace("cpu", "CPU")

    @property
    def sentence(self) -> str:
        """Both, for a person."""
        return f"{self.says}: {self.remedy}"


_CAMERA = (
    Fault("camera-stalled", "the camera sends no pictures", "check its cable"),
    Fault("camera-opening", "the camera is being opened", "wait, some take seconds"),
    Fault("camera-disconnected", "the camera is gone", "plug it in again"),
    Fault("camera-failed", "the camera's driver failed", "wait, it is opened again"),
    Fault("camera-unsettled", "the camera's settings change", "close other programs"),
    Fault("camera-stale", "the camera sends old pictures", "wait, it is opened again"),
    Fault("camera-wrong-format", "no colour picture", "set the camera to 8-bit colour"),
    Fault("camera-wrong-size", "the picture's size changed", "start again"),
    Fault("camera-black", "the picture is black", "lamp on, open the light path"),
    Fault("camera-saturated", "the picture is all white", "turn the lamp down"),
    Fault("camera-colourless", "the picture has no colours", "set the camera to colour"),
    Fault("camera-cut-short", "the picture's lower part is missing", "check the cable"),
    Fault("camera-frozen", "the same picture again and again", "replug the camera"),
    Fault("camera-torn", "two pictures in one", "check the camera's cable"),
    Fault("camera-noisy", "too much noise", "add light, check the camera's cable"),
    Fault("camera-colour-drift", "the colours have drifted", "check the lamp, start again"),
)
_ENGINE = (
    Fault("engine-not-started", "the engine does not start", "run `alledge doctor`"),
    Fault("engine-crashed", "the engine died", "wait, it is started again"),
    Fault("engine-stuck", "the engine does not answer", "wait, it is started again"),
    Fault("engine-failed", "the engine failed on a field", "wait, it is started again"),
    Fault("engine-wrong-shape", "the answer has the wrong shape", "convert the bundle again"),
    Fault("engine-not-finite", "the answer is no number", "wait, it is started again"),
    Fault("engine-no-distribution", "the answer makes no sense", "wait, it is started again"),
    Fault("engine-disagrees", "the engine computes wrongly", "replace the accelerator"),
    Fault("engine-unsteady", "the engine keeps failing", "check its power and cable"),
    Fault("engine-on-cpu", "the CPU stands in", "verdicts hold, and take longer"),
    Fault("accelerator-absent", "no accelerator found", "plug it in, check its cable"),
    Fault("accelerator-lost", "the accelerator dropped out", "check plug and power"),
)
_STORE = (
    Fault("storage-failed", "a result cannot be kept", "free some space and check the card"),
    Fault("storage-full", "too little space is free", "free some, it goes on by itself"),
    Fault("archive-full", "the archive has reached its quota", "raise it or move pictures away"),
)
_DISPLAY = (
    Fault("display-lost", "the display does not answer", "check its cable"),
)
FAULTS = {fault.name: fault for fault in (*_CAMERA, *_ENGINE, *_STORE, *_DISPLAY)}


class CameraFault(CameraError):
    """Raised when a camera fails in a way that has a name. `fault` is that row of `FAULTS`."""

    def __init__(self, name: str, detail: str = "") -> None:
        self.fault, self.detail = FAULTS[name], detail
        super().__init__(f"{self.fault.sentence}{detail and f' ({detail})'}")


class EngineFault(EngineError):
    """Raised when an engine fails in a way that has a name. `fault` is that row of `FAULTS`; detail: its own words."""

    def __init__(self, name: str, detail: str = "") -> None:
        self.fault, self.detail = FAULTS[name], detail
        super().__init__(f"{self.fault.sentence}{detail and f' ({detail})'}")


class DisplayFault(DisplayError):
    """Raised when a display fails in a way that has a name. `fault` is that row of `FAULTS`."""

    def __init__(self, name: str, detail: str = "") -> None:
        self.fault = FAULTS[name]
        super().__init__(f"{self.fault.sentence}{detail and f' ({detail})'}")
