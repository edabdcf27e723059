"""ONNX Runtime on the CPU: runs the file a Jetson builds its TensorRT engine from, on any machine."""

from typing import Any

import onnxruntime

from alledge.bundle import Bundle
from alledge.errors import BundleRefused, EngineError

from . import Input, Output
from ._tensors import pick, to_real, to_stored

_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}
_ERRORS_ONLY = 3


def create(bundle: Bundle, threads: int) -> "OnnxEngine":
    """Load a bundle's .onnx.

    Raises:
        BundleRefused: when it is no ONNX model or not what the manifest says.
    """
    return OnnxEngine(bundle, threads)


class OnnxEngine:
    """One inference session, in process."""

    name = "onnx"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        manifest = self._manifest = bundle.manifest
        try:
            self._session = onnxruntime.InferenceSession(bundle.model, _options(threads), ["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base but Exception
            raise BundleRefused(f"{bundle.path}: its model does not load in onnxruntime "
                                f"({str(error).splitlines()[0]}); convert it again") from error
        inputs, outputs = _described(self._session.get_inputs()), _described(self._session.get_outputs())
        self._input = inputs[pick(manifest.input, inputs)][0]
        self._wanted = [outputs[pick(spec, outputs)][0] for spec in (manifest.probs, manifest.embedding)]

    def infer(self, tensor: Input) -> Output:
        """Run the network on [S, S, channels]."""
        manifest = self._manifest
        try:
            probs, embedding = self._session.run(self._wanted, {self._input: to_stored(tensor, manifest.input)})
        except Exception as error:  # see above
            raise EngineError(f"engine onnx failed: {str(error).splitlines()[0]}") from error
        return Output(to_real(probs, manifest.probs), to_real(embedding, manifest.embedding))

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return options


def _described(tensors: Any) -> list[tuple[str, tuple[int, ...], str]]:
    return [(t.name, tuple(t.shape), _TYPES.get(t.type, t.type)) for t in tensors]
