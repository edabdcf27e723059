"""Run a TFLite model on this machine, under each of LiteRT's sets of kernels."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.manifest import TensorSpec
from alledge.quantisation import to_real, to_stored

from .converted import Run
from .trained import OUTPUTS, Outputs

XNNPACK, BUILTIN, REFERENCE = "xnnpack", "builtin", "reference"
_RESOLVERS = {XNNPACK: "BUILTIN", BUILTIN: "BUILTIN_WITHOUT_DEFAULT_DELEGATES", REFERENCE: "BUILTIN_REF"}
_THREADS = 2


def kernels(content: bytes, head: bytes | None = None, names: Sequence[str] = (XNNPACK, BUILTIN)) -> dict[str, Run]:
    """The default kernels (XNNPACK) and the built-in ones that older runtimes and unusual processors fall back to.

    Args:
        head: the second network of a split model, which takes the first one's outputs.
        names: sets of kernels; `reference`, which is what the format's definition is tested with, takes seconds a tile.
    """
    return {name: partial(_run, content, head, name) for name in names}


def specs(content: bytes) -> dict[str, TensorSpec]:
    """Name -> shape, type and quantisation of the model's input and outputs."""
    network = _Network(content, XNNPACK)
    return {spec.name: spec for spec, _ in (*network.inputs, *network.outputs)}


class _Network:
    """A loaded model: float32 in (of any shape), flat float32 out, by name."""

    def __init__(self, content: bytes, kernel_set: str) -> None:
        self._interpreter = _interpreter(content, kernel_set)
        self.inputs = [_place(detail) for detail in self._interpreter.get_input_details()]
        self.outputs = [_place(detail) for detail in self._interpreter.get_output_details()]

    def __call__(self, tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        for spec, place in self.inputs:
            self._interpreter.set_tensor(place, to_stored(tensors[spec.name], spec))
        self._interpreter.invoke()
        return {spec.name: to_real(self._interpreter.get_tensor(place), spec) for spec, place in self.outputs}


def _run(content: bytes, head: bytes | None, kernel_set: str, tensors: Sequence[NDArray[np.float32]]) -> Outputs:
    first = _Network(content, kernel_set)
    second = None if head is None else _Network(head, kernel_set)
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in OUTPUTS}
    for tensor in tensors:
        answer = first({first.inputs[0][0].name: tensor})
        answer = answer if second is None else second(answer)
        for name, values in rows.items():
            values.append(answer[name])
    return Outputs(*(np.stack(rows[name]) for name in OUTPUTS))


def _interpreter(content: bytes, kernel_set: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = getattr(OpResolverType, _RESOLVERS[kernel_set])
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=_THREADS)
    interpreter.allocate_tensors()
    return interpreter


def _place(detail: dict[str, Any]) -> tuple[TensorSpec, int]:
    """What a tensor is, and its number in the interpreter."""
    scale, zero = detail["quantization"]
    spec = TensorSpec(name=detail["name"], shape=tuple(int(n) for n in detail["shape"]),
                      dtype=np.dtype(detail["dtype"]).name, scale=float(scale), zero_point=int(zero))
    return spec, int(detail["index"])
