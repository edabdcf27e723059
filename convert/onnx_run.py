"""Run an ONNX model in ONNX Runtime on this machine's processor, and count its operations."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alledge.manifest import TensorSpec

from .tflite import INPUT
from .trained import OUTPUTS, Outputs

ONNX_RUNTIME = "onnxruntime"


def run(content: bytes, tensors: Sequence[NDArray[np.float32]]) -> Outputs:
    """Outputs for float32 [1, size, size, channels] tensors."""
    return _run(_session(content), tensors)


def run_plainly(content: bytes, tensors: Sequence[NDArray[np.float32]]) -> Outputs:
    """The same without ONNX Runtime's graph optimisation: every node as it is written, none fused with another."""
    return _run(_session(content, optimised=False), tensors)


def run_outputs(content: bytes, names: Sequence[str],
                tensors: Sequence[NDArray[np.float32]]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Values inside the network, by name, for each tensor."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.input)}
    there = {value.name for value in model.graph.output}
    model.graph.output.extend(known[name] for name in names if name not in there)
    session = _session(model.SerializeToString())
    for tensor in tensors:
        yield dict(zip(names, session.run(list(names), {INPUT: tensor}), strict=True))


def _run(session: Any, tensors: Sequence[NDArray[np.float32]]) -> Outputs:
    rows = [session.run(list(OUTPUTS), {INPUT: tensor}) for tensor in tensors]
    return Outputs(*(np.concatenate([row[i] for row in rows]) for i in range(len(OUTPUTS))))


def specs(content: bytes) -> dict[str, TensorSpec]:
    """Name -> shape of the model's input and outputs."""
    session = _session(content)
    return {t.name: TensorSpec(name=t.name, shape=tuple(t.shape), dtype="float32")
            for t in (*session.get_inputs(), *session.get_outputs())}


def count_operations(content: bytes) -> dict[str, int]:
    """Operation -> how often it occurs, by name."""
    import onnx

    return dict(sorted(Counter(node.op_type for node in onnx.load_from_string(content).graph.node).items()))


def _session(content: bytes, optimised: bool = True) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
