"""TensorFlow Lite on the CPU: LiteRT, else the older tflite_runtime."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError as missing:
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        raise ImportError("neither is installed", name="ai-edge-litert (or tflite-runtime)") from missing

from alledge.bundle import Bundle
from alledge.errors import BundleRefused, EngineError
from alledge.quiet import quiet

from . import Output
from ._tensors import pick, to_real, to_stored

LIBRARY = Interpreter.__module__.split(".")[0]


def create(bundle: Bundle, threads: int) -> "TfliteEngine":
    """Load a bundle's .tflite.

    Raises:
        BundleRefused: when it is no TFLite model, needs a delegate, or is not what the manifest says.
    """
    return TfliteEngine(bundle, threads)


class TfliteEngine:
    """One interpreter, in process."""

    name = "tflite"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._manifest = bundle.manifest
        try:
            with quiet():
                interpreter = Interpreter(model_content=bundle.model, num_threads=threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleRefused(f"{bundle.path}: its model does not load in {LIBRARY} "
                                f"({str(error).splitlines()[0]}); convert it again for this machine") from error
        self._interpreter = interpreter
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._input = _index(inputs, pick(self._manifest.input, _described(inputs)))
        self._probs = _index(outputs, pick(self._manifest.probs, _described(outputs)))
        self._embedding = _index(outputs, pick(self._manifest.embedding, _described(outputs)))

    def infer(self, tensor: NDArray[np.float32]) -> Output:
        """Run the network on float32 [S, S, 3]."""
        manifest, run = self._manifest, self._interpreter
        try:
            run.set_tensor(self._input, to_stored(tensor, manifest.input))
            run.invoke()
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"engine tflite failed: {str(error).splitlines()[0]}") from error
        return Output(to_real(run.get_tensor(self._probs), manifest.probs),
                      to_real(run.get_tensor(self._embedding), manifest.embedding))

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def _index(details: list[dict[str, Any]], position: int) -> int:
    return int(details[position]["index"])


def _described(details: list[dict[str, Any]]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(d["name"], tuple(int(n) for n in d["shape"]), np.dtype(d["dtype"]).name) for d in details]
