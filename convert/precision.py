"""Which arithmetic a target's engine may be built for."""

from alledge.errors import UsageError
from alledge.manifest import Precision, Target

# The first is the default.
PRECISIONS: dict[Target, tuple[Precision, ...]] = {
    "cpu": ("int8",),
    "coral": ("int8",),
    "jetson-nano": ("fp16",),
    "jetson-orin": ("int8", "fp16"),
    "onnx": ("fp32",),
}
_WHY = {
    "cpu": "float models run with --target onnx",
    "coral": "an Edge TPU computes in 8-bit integers only",
    "jetson-nano": "its Maxwell GPU (sm_53) has no 8-bit arithmetic, and half precision is its fastest",
    "jetson-orin": "more bits would only be slower, and fewer TensorRT 8.5 cannot read",
    "onnx": "8 bits are for --target cpu, half precision for the Jetsons",
}


def parse_precision(name: str | None, target: Target) -> Precision:
    """The precision asked for, or the target's own without a wish.

    Raises:
        UsageError: when the target has no such precision, with the reason.
    """
    offered = PRECISIONS[target]
    if name is None:
        return offered[0]
    for precision in offered:
        if name == precision:
            return precision
    raise UsageError(f"--precision {name!r} is not for --target {target}: expected {' or '.join(offered)}, because "
                     f"{_WHY[target]}")


def needs_ranges(name: str | None, target: Target) -> bool:
    """Whether activation ranges have to be chosen for it."""
    return parse_precision(name, target) == "int8"
