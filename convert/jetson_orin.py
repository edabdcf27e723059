"""Target `jetson-orin`: ONNX that says in its nodes which arithmetic to use, 8 bits or half precision.

TensorRT 11 has no FP16 and INT8 flags any more: it takes every type from the file. So int8 stands there as pairs of
QuantizeLinear and DequantizeLinear (what is left between them is float32 under TensorRT 11, and may become half
precision under 8.5 and 10), and fp16 as half-precision weights. TensorRT 8.5 and 10 read both as well.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from .converted import INT8_TOLERANCE, Converted
from .half import to_half
from .jetson_nano import NOT_YET_SEEN
from .layer_error import LayerError
from .onnx_float import onnx_bundle
from .onnx_graph import layers_with, to_onnx
from .onnx_layer_error import demand_layers, errors_of
from .onnx_run import run_plainly
from .options import Options
from .quantise_onnx import depthwise, quantise
from .tensorrt_lint import lint
from .tensorrt_memory import demand_memory
from .trained import Trained, ranging_tensors

TENSORRT = ("8.5", "10", "11")
MEMORY = 8.0  # GiB on an Orin Nano; there is one with 4
HALF_TOLERANCE = 0.05  # as jetson-nano
WORST = 3  # layers that a refusal names


def convert(trained: Trained, options: Options) -> Converted:
    """Write the network in 8 bits (symmetric, one weight scale per channel, depthwise ones in float) or in halves.

    Raises:
        DataError: when a layer has no ONNX form or none that TensorRT reads, or the board has too little memory.
        UsageError: when a layer that is to stay in float is none of the network's.
    """
    int8 = options.precision != "fp16"
    plain = to_onnx(trained.model)
    tiles = ranging_tensors(trained)
    kept = tuple(dict.fromkeys(options.keep_float))
    demand_layers(plain, kept)
    content = quantise(plain, tiles, kept) if int8 else to_half(plain)
    rows = lint(content, TENSORRT, partial(layers_with, trained.model))
    memory = demand_memory(content, options.board_memory or MEMORY)
    how = ", in INT8 from the Q/DQ pairs" if int8 else ", in FP16"
    layers = errors_of(content, plain, tiles) if int8 else ()
    bundle = onnx_bundle(content, "tensorrt", rows, INT8_TOLERANCE if int8 else HALF_TOLERANCE,
                         NOT_YET_SEEN.format(how), others={"unfused": partial(run_plainly, content)},
                         facts={"board_memory": memory.to_json()}, layers=layers)
    return replace(bundle, findings={"kept_float": list(kept)} if kept else {},
                   remedy=_remedy(layers, {*kept, *depthwise(plain)}))


def _remedy(layers: Sequence[LayerError], in_float: Collection[str]) -> str:
    """The worst layers that 8 bits can still be taken from; a refused conversion leaves no report to name them."""
    worst = [row.layer for row in layers if row.layer not in in_float][:WORST]
    return f"keep its worst layers in float ({' '.join(f'--keep-float {name}' for name in worst)})" if worst else ""
