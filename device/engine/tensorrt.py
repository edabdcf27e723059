"""TensorRT on an NVIDIA GPU: the engine is built here once and runs in a child, in whichever Python has TensorRT."""

from pathlib import Path

from alledge.bundle import Bundle

from .. import worker
from ..build_engine import build_engine, tensorrt_python
from . import Input, Output
from ._child import Child, Network


def create(bundle: Bundle, threads: int) -> "TensorrtEngine":
    """Build the bundle's engine, which takes minutes on a Nano, or find the one built before, and load it.

    Raises:
        EngineError: when it cannot be built or does not start; an `EngineFault` where that has a name.
        BackendMissing: when there is no TensorRT or no GPU here.
    """
    return TensorrtEngine(bundle)


class TensorrtEngine:
    """One engine in a child. It has no threads to pin: the GPU does the work."""

    name = "tensorrt"

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        plan = Path(build_engine(bundle)["engine"])
        self._network = Network("tensorrt", plan, manifest.input, (manifest.probs, manifest.embedding), _program())

    def infer(self, tensor: Input) -> Output:
        """Run the network on [S, S, channels]."""
        probs, embedding = self._network(tensor)
        return Output(probs, embedding)

    def close(self) -> None:
        """End the child, which frees the GPU's memory."""
        self._network.close()


def present() -> list[str]:
    """Load TensorRT and the driver in a child, and say which.

    Raises:
        EngineFault, BackendMissing: as `create`.
    """
    child = Child("tensorrt", program=_program())
    child.close()
    return [child.library]


def _program() -> tuple[str, str]:
    return str(tensorrt_python()), worker.__file__
