"""TensorFlow Lite on the CPU: LiteRT, else the older tflite_runtime."""

from collections.abc import Sequence
from pathlib import Path
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
from alledge.manifest import TensorSpec
from alledge.quiet import quiet

from . import Input, Output
from ._tensors import pick, to_real, to_stored

LIBRARY = Interpreter.__module__.split(".")[0]


def create(bundle: Bundle, threads: int) -> "TfliteEngine":
    """Load a bundle's .tflite.

    Raises:
        BundleRefused: when it is no TFLite model, needs a delegate, or is not what the manifest says.
    """
    return TfliteEngine(bundle, threads)


class TfliteEngine:
    """One interpreter in process, or two in a row for a split bundle."""

    name = "tflite"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        manifest, head = bundle.manifest, bundle.manifest.head
        answers = (manifest.probs, manifest.embedding)
        outputs = answers if head is None else head.features
        self._networks = [Network(bundle.path, bundle.cpu_model, threads, [manifest.input], outputs)]
        if head is not None:
            self._networks.append(Network(bundle.path, bundle.head or b"", threads, head.inputs, answers))

    def infer(self, tensor: Input) -> Output:
        """Run the network on [S, S, channels]."""
        first, *others = self._networks
        try:
            found = first(tensor)
            for network in others:
                found = network(*found)
            probs, embedding = found
            return Output(probs, embedding)
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"engine tflite failed: {str(error).splitlines()[0]}") from error

    def close(self) -> None:
        """Free the interpreters."""
        self._networks = []


class Network:
    """One .tflite in this process: real numbers in, real numbers out."""

    def __init__(self, path: Path, content: bytes, threads: int, given: Sequence[TensorSpec],
                 wanted: Sequence[TensorSpec]) -> None:
        try:
            with quiet():
                interpreter = Interpreter(model_content=content, num_threads=threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleRefused(f"{path}: its model does not load in {LIBRARY} ({str(error).splitlines()[0]}); "
                                "install a newer ai-edge-litert, or convert the run again with this version of "
                                "alledge") from error
        self._interpreter, self._given, self._wanted = interpreter, given, wanted
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        self._inputs = [_index(inputs, pick(spec, _described(inputs))) for spec in given]
        self._outputs = [_index(outputs, pick(spec, _described(outputs))) for spec in wanted]

    def __call__(self, *tensors: Input) -> list[NDArray[np.float32]]:
        """Flat float32 outputs, in the order that was asked for."""
        for place, tensor, spec in zip(self._inputs, tensors, self._given, strict=True):
            self._interpreter.set_tensor(place, to_stored(tensor, spec))
        self._interpreter.invoke()
        return [to_real(self._interpreter.get_tensor(place), spec)
                for place, spec in zip(self._outputs, self._wanted, strict=True)]


def _index(details: list[dict[str, Any]], position: int) -> int:
    return int(details[position]["index"])


def _described(details: list[dict[str, Any]]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(d["name"], tuple(int(n) for n in d["shape"]), np.dtype(d["dtype"]).name) for d in details]
