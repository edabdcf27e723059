"""Which ONNX operators the parsers of four TensorRT versions read: their own tables, as data.

Source: `docs/operators.md` of github.com/onnx/onnx-tensorrt at the commits below, restrictions also from the parser's
`builtin_op_importers.cpp` of the same commits. Being read is not being fast, and says nothing of the engine's result.
"""

# ruff: noqa: SIM905 - a table of words reads better than one of quoted words

VERSIONS = ("8.2", "8.5", "10", "11")
COMMITS = {
    "8.2": "f42daeee (8.2-GA)",
    "8.5": "fdeeaca8 (8.5-GA)",
    "10": "96e78110 (10.1-GA)",
    "11": "7c51a63a (the one TensorRT 11.1 was released with)",
}
SOURCE = "onnx-tensorrt's operator tables"
OPSETS = {"8.2": (7, 13), "8.5": (7, 17), "10": (9, 20), "11": (9, 24)}

_8_2 = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu
    Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear
    Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND
    Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual HardSigmoid Identity If
    ImageScaler InstanceNormalization IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop
    LpNormalization LpPool MatMul Max MaxPool Mean Min Mul Neg NonMaxSuppression Not Or PRelu Pad
    ParametricSoftplus Pow QuantizeLinear RNN RandomUniform RandomUniformLike Range ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize ReverseSequence Round ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape
    Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan
    Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where
""".split()
_8_5 = """
    GridSample HardSwish MeanVarianceNormalization Mod NonZero OneHot RandomNormal RandomNormalLike
    Reciprocal RoiAlign Shrink Trilu Xor
""".split()
_10 = "CastLike DeformConv Gelu GroupNormalization Hardmax IsInf LayerNormalization Mish".split()
_11 = """
    Attention BlackmanWindow HammingWindow HannWindow RMSNormalization RotaryEmbedding STFT Swish
    TensorScatter
""".split()
# No version lost an operator of an earlier one.
SUPPORTED = {
    "8.2": frozenset(_8_2),
    "8.5": frozenset(_8_2 + _8_5),
    "10": frozenset(_8_2 + _8_5 + _10),
    "11": frozenset(_8_2 + _8_5 + _10 + _11),
}

# Where the tables name conditions that `tensorrt_lint` does not look at: it says so instead of vouching for them.
CONDITIONAL = frozenset("""
    Attention CumSum DeformConv Dropout Einsum EyeLike GRU GridSample Hardmax If InstanceNormalization
    LayerNormalization Loop LpPool LSTM NonMaxSuppression OneHot RNN RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Range Resize ReverseSequence RotaryEmbedding STFT Scan ScatterND TensorScatter TopK
""".split())

# Inputs (by position) that have to be constants in the file.
CONSTANT_INPUTS = {
    "Clip": (1, 2), "Pad": (1, 2, 3), "Slice": (1, 2, 3, 4), "Squeeze": (1,), "Unsqueeze": (1,), "Reshape": (1,),
    "ReduceL1": (1,), "ReduceL2": (1,), "ReduceLogSum": (1,), "ReduceLogSumExp": (1,), "ReduceMax": (1,),
    "ReduceMean": (1,), "ReduceMin": (1,), "ReduceProd": (1,), "ReduceSum": (1,), "ReduceSumSquare": (1,),
}
# Ranks of an input that these accept: [batch, channels, rows, columns] and one axis more.
SPATIAL = frozenset(("AveragePool", "Conv", "ConvTranspose", "MaxPool"))
SPATIAL_RANKS = (4, 5)
# Types of constants, as ONNX calls them. Half precision: "native support for importing FP16 initializers" came with
# 8.4 (its change log); before, the parser reads the bounds of a Clip as float32 whatever they are.
TYPES = frozenset(("FLOAT", "FLOAT16", "INT32", "INT64", "INT8", "BOOL"))
NO_HALF = frozenset(("8.2",))
