"""Target `cpu`: full-integer TFLite for LiteRT (XNNPACK), the same bytes on x86-64 and ARM.

Input and output are uint8: a full-integer graph would only append a DEQUANTIZE to give floats, with the same 256
levels, so a device does that in one line of NumPy and one engine serves both this target and the Edge TPU.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from alledge.preprocess import Preprocessing

from .converted import INT8_TOLERANCE, Converted, Operation
from .layer_error import errors_of
from .options import Options
from .tflite import quantise
from .tflite_graph import operators
from .tflite_run import BUILTIN, kernels, specs
from .trained import OUTPUTS, Trained, ranging_tensors


def convert(trained: Trained, options: Options) -> Converted:
    """Quantise the network, its attention without a SOFTMAX over many rows.

    Raises:
        DataError: when a layer cannot be expressed in 8-bit integers.
    """
    from .attention import with_attention
    from .cpu_attention import LookupAttention

    model = with_attention(trained.model, LookupAttention, leave_others=True)
    content = quantise_run(trained, model)
    tensors = specs(content)
    counts = Counter(operator.op for operator in operators(content))
    rows = tuple(Operation(op, n, True, "integer kernel of LiteRT") for op, n in sorted(counts.items()))
    return Converted(content, "model.tflite", "tflite", tensors["image"], tensors["probs"], tensors["embedding"],
                     kernels(content), rows, INT8_TOLERANCE, slow_kernels=frozenset({BUILTIN}),
                     layers=errors_of(model, content, ranging_tensors(trained)))


def quantise_run(trained: Trained, model: Any, names: Sequence[str] = OUTPUTS) -> bytes:
    """`model` with ranges from the run's training tiles; its outputs are called `names`."""
    return quantise(model, ranging_tensors(trained), *input_range(trained.record.preprocessing), names)


def input_range(preprocessing: Preprocessing) -> tuple[float, float]:
    """What pixel values 0 and 255 become, over all channels."""
    ends = [level * s + o for s, o in zip(preprocessing.scale, preprocessing.offset, strict=True) for level in (0, 255)]
    return min(ends), max(ends)
