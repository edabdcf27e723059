"""Target `jetson-orin`: ONNX that says in its nodes which arithmetic to use, 8 bits or half precision.

TensorRT 11 has no FP16 and INT8 flags any more: it takes every type from the file. So int8 stands there as pairs of
QuantizeLinear and DequantizeLinear (what is left between them is float32 under TensorRT 11, and may become half
precision under 8.5 and 10), and fp16 as half-precision weights. TensorRT 8.5 and 10 read both as well.
"""

from functools import partial

from .converted import Converted
from .half import to_half
from .jetson_nano import NOT_YET_SEEN
from .onnx_float import onnx_bundle
from .onnx_graph import layers_with, to_onnx
from .onnx_layer_error import errors_of
from .onnx_run import run_plainly
from .options import Options
from .quantise_onnx import quantise
from .tensorrt_lint import lint
from .tensorrt_memory import demand_memory
from .trained import Trained, ranging_tensors

TENSORRT = ("8.5", "10", "11")
MEMORY = 8.0  # GiB on an Orin Nano; there is one with 4
INT8_TOLERANCE = 0.15  # int8 on another vendor's kernels; not measured on a board
HALF_TOLERANCE = 0.05  # as jetson-nano


def convert(trained: Trained, options: Options) -> Converted:
    """Write the network in 8 bits (symmetric, one weight scale per channel, depthwise ones in float) or in halves.

    Raises:
        DataError: when a layer has no ONNX form or none that TensorRT reads, or the board has too little memory.
    """
    int8 = options.precision != "fp16"
    plain = to_onnx(trained.model)
    tiles = ranging_tensors(trained)
    content = quantise(plain, tiles) if int8 else to_half(plain)
    rows = lint(content, TENSORRT, partial(layers_with, trained.model))
    memory = demand_memory(content, options.board_memory or MEMORY)
    how = ", in INT8 from the Q/DQ pairs" if int8 else ", in FP16"
    return onnx_bundle(content, "tensorrt", rows, INT8_TOLERANCE if int8 else HALF_TOLERANCE, NOT_YET_SEEN.format(how),
                       others={"unfused": partial(run_plainly, content)}, facts={"board_memory": memory.to_json()},
                       layers=errors_of(content, plain, tiles) if int8 else ())
