"""Target `onnx`: float32 for ONNX Runtime, on any board or desktop."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from alledge.manifest import Engine

from .converted import Converted, Operation, Run
from .layer_error import LayerError
from .onnx_graph import to_onnx
from .onnx_run import ONNX_RUNTIME, count_operations, run, specs
from .options import Options
from .trained import Trained

TOLERANCE = 0.001  # float32 in another order of summation; 3e-6 was measured on MobileNetV2


def convert(trained: Trained, options: Options) -> Converted:
    """Write the network as float32 ONNX.

    Raises:
        DataError: when a layer has no ONNX form.
    """
    content = to_onnx(trained.model)
    rows = tuple(Operation(op, n, True, "ran in ONNX Runtime here") for op, n in count_operations(content).items())
    return onnx_bundle(content, "onnx", rows, TOLERANCE)


def onnx_bundle(content: bytes, engine: Engine, rows: tuple[Operation, ...], tolerance: float, *warnings: str,
                others: Mapping[str, Run] | None = None, facts: Mapping[str, Any] | None = None,
                layers: tuple[LayerError, ...] = ()) -> Converted:
    """An ONNX model as every target that ships one describes it. others: kernel sets beside ONNX Runtime's own."""
    tensors = specs(content)
    return Converted(content, "model.onnx", engine, tensors["image"], tensors["probs"], tensors["embedding"],
                     {ONNX_RUNTIME: partial(run, content), **(others or {})}, rows, tolerance, facts=facts or {},
                     layers=layers, warnings=warnings)
