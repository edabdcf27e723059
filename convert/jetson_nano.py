"""Target `jetson-nano`: the ONNX from which TensorRT 8.2 builds its engine on the board, in half precision.

The file keeps float32 weights and the builder is told FP16: TensorRT 8.2, the last one for this board, does not read
half-precision constants reliably, and left the choice it keeps in float32 what half precision would spoil.
"""

from functools import partial

from .converted import Converted
from .half import to_half
from .onnx_float import onnx_bundle
from .onnx_graph import layers_with, to_onnx
from .onnx_run import run
from .options import Options
from .tensorrt_lint import lint
from .tensorrt_memory import demand_memory
from .trained import Trained

TENSORRT = ("8.2",)
MEMORY = 4.0  # GiB on the board, shared by CPU and GPU
TOLERANCE = 0.05  # half precision keeps 11 bits; not measured on a board
NOT_YET_SEEN = ("checked with ONNX Runtime here, not with TensorRT: the engine is built on the board{}, and the "
                "goldens are replayed on it there")


def convert(trained: Trained, options: Options) -> Converted:
    """Write float32 ONNX and judge it a second time with every result rounded to half precision.

    Raises:
        DataError: when a layer has no ONNX form or none that TensorRT reads, or the board has too little memory.
    """
    content = to_onnx(trained.model)
    rows = lint(content, TENSORRT, partial(layers_with, trained.model))
    memory = demand_memory(content, options.board_memory or MEMORY)
    return onnx_bundle(content, "tensorrt", rows, TOLERANCE, NOT_YET_SEEN.format(", in FP16"),
                       others={"float16": partial(run, to_half(content))}, facts={"board_memory": memory.to_json()})
