"""Everything that can go wrong with the machine (not with one field), by name.

The name goes into the log and beside every result made under it, the sentence onto the screen: what is wrong, and what
the person in front of it can do.
"""

from dataclasses import dataclass

from alledge.errors import CameraError, EngineError


@dataclass(frozen=True)
class Fault:
    """Attributes: name in kebab-case; says: what is wrong; remedy: what to do about it, as an order."""

    name: str
    says: str
    remedy: str

    @property
    def sentence(self) -> str:
        """Both, for a person."""
        return f"{self.says}: {self.remedy}"


_CAMERA = (
    Fault("camera-stalled", "the camera sends no pictures", "check its cable"),
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
    Fault("engine-not-started", "the engine does not start", "see `alledge doctor` for what is missing"),
    Fault("engine-crashed", "the engine's process died", "it is being restarted; note it if it happens again"),
    Fault("engine-stuck", "the engine does not answer", "it is being restarted; note it if it happens again"),
    Fault("engine-failed", "the engine broke off a field", "it is being restarted; note it if it happens again"),
    Fault("engine-wrong-shape", "the engine's answer has the wrong shape", "convert the bundle again for this device"),
    Fault("engine-not-finite", "the engine answered with numbers that are none",
          "it is being restarted; replace the accelerator if it happens again"),
    Fault("engine-no-distribution", "the engine's answer is no set of probabilities",
          "it is being restarted; replace the accelerator if it happens again"),
    Fault("engine-disagrees", "the engine does not reproduce the bundle's goldens",
          "replace the accelerator or convert the bundle again"),
    Fault("engine-unsteady", "the engine failed five times within a minute", "check its power supply and its cable"),
    Fault("engine-on-cpu", "the CPU stands in for the accelerator", "verdicts hold, and take longer"),
    Fault("accelerator-absent", "no accelerator answers", "plug it in, or check its cable and driver"),
    Fault("accelerator-lost", "the accelerator broke off a field", "check that it is plugged in, and what it draws"),
)
_STORE = (
    Fault("storage-failed", "a result cannot be kept", "free some space and check the card"),
    Fault("storage-full", "too little space is free for results", "free some, captures go on by themselves"),
    Fault("archive-full", "the archive has reached its quota", "move pictures away or raise it, captures go on then"),
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
