"""The Edge TPU: a compiled model through `libedgetpu.so.1`, the delegate of LiteRT or tflite_runtime, in a child."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from alledge.bundle import Bundle

from ..children import environment
from ..faults import EngineFault
from . import Input, Output
from ._child import Child
from ._child import Network as ChildNetwork
from .tflite import Network

_PYCORAL_VERSIONS = ("1.", "2.")  # of Google's; what PyPI has under that name is another project
_LIST_STICKS = "from pycoral.utils.edgetpu import list_edge_tpus; print(len(list_edge_tpus()))"
_USB = Path("/sys/bus/usb/devices")
USB_IDS = ("1a6e:089a", "18d1:9302")  # of an Edge TPU before and after libedgetpu has loaded its firmware
_PCI = Path("/dev")  # where Google's PCIe driver shows apex_0, apex_1 ...


def create(bundle: Bundle, threads: int) -> "CoralEngine":
    """Load a bundle's compiled .tflite onto the first Edge TPU.

    Raises:
        EngineFault: when no Edge TPU answers, or not as it should.
        BackendMissing: when libedgetpu is not installed.
        BundleRefused: when the model is none.
    """
    return CoralEngine(bundle, threads)


class CoralEngine:
    """The compiled network in a child; the head of a split bundle in this process."""

    name = "coral"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        manifest, head = bundle.manifest, bundle.manifest.head
        answers = (manifest.probs, manifest.embedding)
        self._head = None if head is None else Network(bundle.path, bundle.head or b"", threads, head.inputs, answers)
        self._trunk = ChildNetwork("coral", bundle.model, manifest.input,
                                   answers if head is None else head.features, threads=threads)

    def infer(self, tensor: Input) -> Output:
        """Run the network on [S, S, channels]."""
        found = self._trunk(tensor)
        probs, embedding = found if self._head is None else self._head(*found)
        return Output(probs, embedding)

    def close(self) -> None:
        """End the child, which lets go of the Edge TPU."""
        self._trunk.close()
        self._head = None


def present() -> list[str]:
    """Load the delegate in a child, as an engine would, and say what was found.

    Raises:
        EngineFault, BackendMissing: as `create`.
    """
    try:
        child = Child("coral")
    except EngineFault as fault:
        if fault.fault.name != "accelerator-absent" or not sticks():
            raise
        raise EngineFault(fault.fault.name, f"{sticks()} Edge TPU plugged in but not to be opened; is it in use, or "
                          "may only others use it? `sudo usermod -aG plugdev $USER`, then log in again") from fault
    child.close()
    return [child.library, f"{sticks()} Edge TPU"]


def sticks() -> int:
    """How many Edge TPUs there are: as Google's pycoral says where it is installed, else the kernel."""
    try:
        if metadata.version("pycoral").startswith(_PYCORAL_VERSIONS):
            # in a child: with another libedgetpu than its own it crashes
            done = subprocess.run([sys.executable, "-c", _LIST_STICKS], capture_output=True, text=True, check=True,
                                  timeout=30, env=environment())
            return int(done.stdout)
    except (metadata.PackageNotFoundError, subprocess.SubprocessError, ValueError):
        pass
    usb = [_read(device / "idVendor") + ":" + _read(device / "idProduct") for device in _USB.glob("*")]
    return sum(name in USB_IDS for name in usb) + len(list(_PCI.glob("apex_*")))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
