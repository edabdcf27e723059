"""Run a TFLite model on this machine, under either of LiteRT's two sets of integer kernels."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.manifest import TensorSpec
from alledge.quantisation import to_real, to_stored

from .converted import Run
from .trained import OUTPUTS, Outputs

XNNPACK, BUILTIN = "xnnpack", "builtin"
_THREADS = 2


def kernels(content: bytes) -> dict[str, Run]:
    """The default kernels (XNNPACK) and the built-in ones that older runtimes and unusual processors fall back to."""
    return {name: partial(_run, content, name) for name in (XNNPACK, BUILTIN)}


def specs(content: bytes) -> dict[str, TensorSpec]:
    """Name -> shape, type and quantisation of the model's input and outputs."""
    interpreter = _interpreter(content, XNNPACK)
    return {d["name"]: _spec(d) for d in (*interpreter.get_input_details(), *interpreter.get_output_details())}


def _run(content: bytes, kernel_set: str, tensors: Sequence[NDArray[np.float32]]) -> Outputs:
    interpreter = _interpreter(content, kernel_set)
    image = interpreter.get_input_details()[0]
    places = {d["name"]: d for d in interpreter.get_output_details()}
    wanted = _spec(image)
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in OUTPUTS}
    for tensor in tensors:
        interpreter.set_tensor(image["index"], to_stored(tensor, wanted))
        interpreter.invoke()
        for name, values in rows.items():
            values.append(to_real(interpreter.get_tensor(places[name]["index"]), _spec(places[name])))
    return Outputs(*(np.stack(rows[name]) for name in OUTPUTS))


def _interpreter(content: bytes, kernel_set: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN if kernel_set == XNNPACK else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=_THREADS)
    interpreter.allocate_tensors()
    return interpreter


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero = detail["quantization"]
    return TensorSpec(name=detail["name"], shape=tuple(int(n) for n in detail["shape"]),
                      dtype=np.dtype(detail["dtype"]).name, scale=float(scale), zero_point=int(zero))
