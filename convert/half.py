"""Half precision: the same ONNX network with 16-bit weights and arithmetic, float32 at its borders."""

from alledge.errors import DataError

from .onnx_graph import finished


def to_half(content: bytes) -> bytes:
    """A float32 ONNX network in IEEE half precision; image, probs and embedding stay float32.

    ONNX Runtime runs it on a CPU by rounding every operation's result to half precision, so it also shows what a GPU
    with 16-bit arithmetic makes of a network (which may sum in 32 bits, and then is nearer to float32 than this).

    Raises:
        DataError: when a weight is too large for half precision (65,504).
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load_from_string(content)
    limit = float(np.finfo(np.float16).max)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and np.abs(values).max(initial=0) > limit:
            raise DataError(f"a weight of the network is {np.abs(values).max():.3g}, half precision ends at "
                            f"{limit:,.0f}; use --precision int8 on an Orin, or --target onnx")
    return finished(convert_float_to_float16(model, keep_io_types=True))
