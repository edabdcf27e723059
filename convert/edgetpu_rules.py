"""Why the Edge TPU's table excludes an operator, and what to do about it."""

from collections.abc import Callable
from math import prod

from . import edgetpu_ops as table
from .tflite_graph import OperatorInfo, TensorInfo

Verdict = tuple[str, str]  # reason, remedy; both "" when nothing is wrong
_FINE = ("", "")
_IN_PLANE = {3: {1}, 4: {1, 2}}  # rank -> axes that are height or width


def why_refused(operator: OperatorInfo) -> Verdict:
    """The first reason against an operator, with its remedy."""
    if operator.op not in table.SUPPORTED:
        return "not in the Edge TPU table", table.REMEDIES.get(operator.op, table.REMEDY)
    if operator.version > table.MAX_VERSIONS.get(operator.op, operator.version):
        return (f"version {operator.version} is newer than the compiler, which knows "
                f"{table.MAX_VERSIONS[operator.op]}", "use the layer's plain form, without options added since 2021")
    activations = [t for t in operator.inputs if not t.constant] + list(operator.outputs)
    checks: list[Verdict] = [*map(_tensor, activations), _filter(operator), _fused(operator), _batch(operator)]
    if operator.op in _SPECIAL:
        checks.append(_SPECIAL[operator.op](operator))
    return next((verdict for verdict in checks if verdict[0]), _FINE)


def _tensor(tensor: TensorInfo) -> Verdict:
    if tensor.dynamic:
        return f"a dynamic shape {list(tensor.shape)}", "give the layer a fixed size"
    if tensor.dtype not in table.DTYPES:
        return f"type {tensor.dtype}", table.REMEDY
    if prod(tensor.shape[:-table.INNER_DIMENSIONS]) > 1:
        return (f"shape {list(tensor.shape)}: only the {table.INNER_DIMENSIONS} innermost sides may exceed 1",
                "reshape so that the outer sides are 1")
    return _FINE


def _filter(operator: OperatorInfo) -> Verdict:
    if operator.op in table.CONSTANT_FILTER and not operator.inputs[1].constant:
        return "its filter is not a constant", "use keras.layers.MultiHeadAttention, which conversion rewrites"
    return _FINE


def _fused(operator: OperatorInfo) -> Verdict:
    if operator.op in table.NO_FUSED_ACTIVATION and operator.settings.get("fusedActivationFunction"):
        return "an activation is fused into it", "put the activation before it"
    return _FINE


def _batch(operator: OperatorInfo) -> Verdict:
    axes = next((t.values for t in operator.inputs if t.constant), ())
    over = {operator.settings.get("axis")} if operator.op == "PACK" else set(axes)
    if operator.op in table.NOT_OVER_THE_BATCH and 0 in over:
        return "it works over the batch", "leave the first side alone"
    return _FINE


def _dense(operator: OperatorInfo) -> Verdict:
    out = operator.outputs[0].shape
    if prod(out[:-1]) > 1:
        return f"output {list(out)} has more than one row", "use a 1x1 Conv2D for layers over many positions"
    return _FINE


def _softmax(operator: OperatorInfo) -> Verdict:
    shape = operator.inputs[0].shape
    if prod(shape[:-1]) > 1 or shape[-1] > table.MAX_SOFTMAX:
        return (f"input {list(shape)} is not one row of at most {table.MAX_SOFTMAX}",
                "use keras.layers.MultiHeadAttention, which conversion rewrites")
    return _FINE


def _concatenation(operator: OperatorInfo) -> Verdict:
    if any(t.constant for t in operator.inputs):
        return "it joins a constant", "add or pad instead"
    return _FINE


def _convolution(operator: OperatorInfo) -> Verdict:
    across, down = (operator.settings.get(key, 1) for key in ("dilationWFactor", "dilationHFactor"))
    if across != down or (operator.op == "DEPTHWISE_CONV_2D" and across > 1):
        return f"dilation {down}x{across}", "use strides or more layers instead of dilation"
    return _FINE


def _mean(operator: OperatorInfo) -> Verdict:
    rank = len(operator.inputs[0].shape)
    axes = {axis % rank for axis in operator.inputs[1].values} if rank else set()
    if axes - _IN_PLANE.get(rank, set()):
        return f"averages over axes {sorted(axes)}", "average over height and width (GlobalAveragePooling2D)"
    return _FINE


def _pad(operator: OperatorInfo) -> Verdict:
    rank, sides = len(operator.inputs[0].shape), operator.inputs[1].values
    padded = {i // 2 for i, amount in enumerate(sides) if amount}
    if padded - _IN_PLANE.get(rank, set()):
        return f"pads axes {sorted(padded)}", "pad height and width only"
    return _FINE


def _strided(operator: OperatorInfo) -> Verdict:
    steps = operator.inputs[3].values if len(operator.inputs) > 3 else ()
    masks = [operator.settings.get(key) for key in ("ellipsisMask", "newAxisMask")]
    if any(masks) or any(step != 1 for step in steps):
        return f"steps {list(steps)}", "slice with steps of 1"
    return _FINE


def _prelu(operator: OperatorInfo) -> Verdict:
    shape = operator.inputs[1].shape
    if prod(shape[:-1]) > 1:
        return f"slopes {list(shape)}", "share them over positions: PReLU(shared_axes=[1, 2])"
    return _FINE


_SPECIAL: dict[str, Callable[[OperatorInfo], Verdict]] = {
    "CONCATENATION": _concatenation, "CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _dense, "MEAN": _mean, "PAD": _pad, "PRELU": _prelu, "SOFTMAX": _softmax,
    "STRIDED_SLICE": _strided,
}
