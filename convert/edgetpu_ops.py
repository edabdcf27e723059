"""What the Edge TPU takes: Coral's table of supported operations, as data.

Source: "TensorFlow models on the Edge TPU", section "Supported operations" (coral.ai/docs/edgetpu/models-intro), for
the last compiler, 16.0 of 2021, which bundles TensorFlow Lite 2.5. The compiler itself is closed: what stands here is
necessary for mapping, not sufficient.
"""

SOURCE = "coral.ai/docs/edgetpu/models-intro, compiler 16.0"
MAX_RUNTIME = (2, 5, 0)
SRAM_BYTES = 8 * 2**20  # on-chip memory for parameters; what is beyond streams over USB at every inference
MAX_SOFTMAX = 16_000  # values in its one row
INNER_DIMENSIONS = 3  # only so many, the innermost, may be larger than 1

DTYPES = frozenset({"INT8", "UINT8", "INT32"})
CONSTANT_FILTER = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})

# Newest version of an operation the compiler was seen to take; others are taken as the runtime limit allows.
MAX_VERSIONS = {"CONV_2D": 5, "TRANSPOSE_CONV": 3}

SUPPORTED = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED",
    "L2_NORMALIZATION", "LOGISTIC", "MAX_POOL_2D", "MAXIMUM", "MEAN", "MINIMUM", "MUL", "PACK", "PAD", "PRELU",
    "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUARED_DIFFERENCE",
    "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM",
})  # fmt: skip
