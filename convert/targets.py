"""The targets there are: one file each, with a function `convert(trained, options) -> Converted`."""

import importlib
from collections.abc import Callable

from alledge.errors import UsageError
from alledge.manifest import Target

from .converted import Converted
from .options import Options
from .trained import Trained

TARGETS: dict[Target, str] = {
    "cpu": "cpu",
    "coral": "coral",
    "jetson-nano": "jetson_nano",
    "jetson-orin": "jetson_orin",
    "onnx": "onnx_float",
}
# Names that other tools use for the same thing.
ALIASES: dict[str, Target] = {"tflite": "cpu", "edgetpu": "coral", "jetson": "jetson-nano", "engine": "jetson-nano"}


def parse_target(name: str) -> Target:
    """The target a name or alias stands for.

    Raises:
        UsageError: when it stands for none.
    """
    for target in TARGETS:
        if name == target or ALIASES.get(name) == target:
            return target
    raise UsageError(f"--target {name!r} is unknown: expected one of {', '.join(TARGETS)}")


def load_target(target: Target) -> Callable[[Trained, Options], Converted]:
    """The function that converts for a target; its libraries are imported now and not earlier."""
    module = importlib.import_module(f".{TARGETS[target]}", __package__)
    return module.convert
