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
)
_ENGINE = (
    Fault("engine-crashed", "the engine's process died", "it is being restarted; note it if it happens again"),
    Fault("engine-stuck", "the engine does not answer", "it is being restarted; note it if it happens again"),
)
FAULTS = {fault.name: fault for fault in (*_CAMERA, *_ENGINE)}


class CameraFault(CameraError):
    """Raised when a camera fails in a way that has a name. `fault` is that row of `FAULTS`."""

    def __init__(self, name: str, detail: str = "") -> None:
        self.fault = FAULTS[name]
        super().__init__(f"{self.fault.sentence}{detail and f' ({detail})'}")


class EngineFault(EngineError):
    """Raised when an engine fails in a way that has a name. `fault` is that row of `FAULTS`."""

    def __init__(self, name: str, detail: str = "") -> None:
        self.fault = FAULTS[name]
        super().__init__(f"{self.fault.sentence}{detail and f' ({detail})'}")
