"""Target `jetson-nano`: the ONNX from which TensorRT 8.2 builds its engine on the board, in half precision."""

from .converted import Converted, Operation
from .onnx_float import onnx_bundle
from .onnx_graph import to_onnx
from .onnx_run import count_operations
from .options import Options
from .trained import Trained

TOLERANCE = 0.05  # half precision keeps 11 bits; not measured on a board
ON_BOARD = "TensorRT decides when it builds the engine on the board"


def convert(trained: Trained, options: Options) -> Converted:
    """Write float32 ONNX; an engine fits one GPU and one TensorRT only, so it is built where it runs.

    Raises:
        DataError: when a layer has no ONNX form.
    """
    content = to_onnx(trained.model)
    return onnx_bundle(content, "tensorrt", undecided(content), TOLERANCE,
                       "checked with ONNX Runtime here, not with TensorRT: the engine is built on the board, in FP16 "
                       "(Maxwell has no INT8), and the goldens are replayed on it there")


def undecided(content: bytes) -> tuple[Operation, ...]:
    """The operation table of a model that TensorRT has not seen yet."""
    return tuple(Operation(op, n, "unknown", ON_BOARD) for op, n in count_operations(content).items())
