"""What the Edge TPU takes: Coral's table of supported operations, as data.

Source: https://coral.ai/docs/edgetpu/models-intro/#supported-operations ("TensorFlow models on the Edge TPU"), for the
last compiler, 16.0 of 2021, which bundles TensorFlow Lite 2.5. Limits are in our own words. The compiler itself is
closed: what stands here is necessary for mapping, not sufficient.
"""

SOURCE = "coral.ai/docs/edgetpu/models-intro, compiler 16.0"
COMPILER = (16, 0)  # the compiler this table is about; older ones lack operations that the attention needs
RUNTIME = 14  # Edge TPU runtime (libedgetpu) that REDUCE_MAX and RSQRT need
MAX_TFLITE = (2, 5, 0)  # TensorFlow Lite inside that compiler
SRAM_BYTES = 8 * 2**20  # on-chip memory for parameters; what is beyond streams over USB at every inference
MAX_SOFTMAX = 16_000  # values in its one row
INNER_DIMENSIONS = 3  # only so many, the innermost, may be larger than 1

DTYPES = frozenset({"INT8", "UINT8", "INT32"})
CONSTANT_FILTER = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
NO_FUSED_ACTIVATION = frozenset({"AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D"})
NOT_OVER_THE_BATCH = frozenset({"MEAN", "PACK", "REDUCE_MAX", "REDUCE_MIN", "SPLIT", "SUM"})

# Newest version of an operation the compiler was seen to take; others are taken as the runtime limit allows.
MAX_VERSIONS = {"CONV_2D": 5, "TRANSPOSE_CONV": 3}

# Operation -> the limit that the source gives, "" for none.
SUPPORTED = {
    "ADD": "",
    "AVERAGE_POOL_2D": "no fused activation",
    "CONCATENATION": "no fused activation; a constant only as one of two inputs and all zero",
    "CONV_2D": "the same dilation in both directions",
    "DEPTHWISE_CONV_2D": "no dilation",
    "EXPAND_DIMS": "",
    "FULLY_CONNECTED": "weights in the default layout, one row out",
    "L2_NORMALIZATION": "",
    "LOGISTIC": "",
    "MAX_POOL_2D": "no fused activation",
    "MAXIMUM": "",
    "MEAN": "over height and width only",
    "MINIMUM": "",
    "MUL": "",
    "PACK": "not over the batch",
    "PAD": "height and width only",
    "PRELU": "one slope per channel",
    "QUANTIZE": "",
    "REDUCE_MAX": "not over the batch",
    "REDUCE_MIN": "not over the batch",
    "RELU": "",
    "RELU6": "",
    "RELU_N1_TO_1": "",
    "RESHAPE": "may stay on the CPU when the tensor is large",
    "RESIZE_BILINEAR": "three dimensions; may stay on the CPU at some sizes",
    "RESIZE_NEAREST_NEIGHBOR": "three dimensions; may stay on the CPU at some sizes",
    "RSQRT": "",
    "SLICE": "",
    "SOFTMAX": "one row of at most 16,000 values",
    "SPACE_TO_DEPTH": "",
    "SPLIT": "not over the batch",
    "SQUARED_DIFFERENCE": "",
    "SQUEEZE": "leading sides only",
    "STRIDED_SLICE": "steps of 1, as a plain slice",
    "SUB": "",
    "SUM": "not over the batch",
    "TANH": "",
    "TRANSPOSE": "",
    "TRANSPOSE_CONV": "",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "",
}

# What to do about an operation that is not in the table.
REMEDIES = {
    "BATCH_MATMUL": "use keras.layers.MultiHeadAttention, which conversion rewrites, or 1x1 convolutions",
    "CONV_3D": "use Conv2D",
    "DEQUANTIZE": "use layers that have an integer form",
    "DIV": "multiply by a constant instead",
    "ELU": "train with ReLU or ReLU(6)",
    "EXP": "train with a sigmoid or a tanh",
    "GATHER": "slice instead",
    "GELU": "train with ReLU or ReLU(6)",
    "HARD_SWISH": "train with ReLU or ReLU(6)",
    "LEAKY_RELU": "train with PReLU with one slope per channel, or ReLU",
    "PADV2": "pad with zeros",
    "POW": "multiply instead",
    "SELECT_V2": "train without masks",
    "TILE": "concatenate copies",
}
REMEDY = "replace the layer by convolutions, pooling, dense layers or ReLU"
