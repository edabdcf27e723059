"""What every target hands back: the converted network, how to run it here, and what is known about its operations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alledge.manifest import Engine, Head, TensorSpec

from .layer_error import LayerError
from .trained import Outputs

Run = Callable[[Sequence[NDArray[np.float32]]], Outputs]

# By how much a probability of a golden may differ between sets of integer kernels. Measured: up to 0.10 between XNNPACK
# and TFLite's reference kernels (docs/results/arm64.md), 0.125 on a small network in the Edge TPU's form
# (docs/decisions/003-int8-attention.md). Not measured on an Edge TPU or a TensorRT.
INT8_TOLERANCE = 0.15


@dataclass(frozen=True)
class Operation:
    """One row of the operation table.

    Attributes:
        op: name as the target's tools write it.
        count: how often it occurs with this verdict.
        mapped: whether the target's accelerator takes it; "unknown" until the tool that decides has said so.
        reason: why, in one clause; remedy: what to do about it, "" when there is nothing to do.
        layer, version, shapes: of a single operation, as far as the target's file tells.
    """

    op: str
    count: int
    mapped: bool | Literal["unknown"]
    reason: str
    remedy: str = ""
    layer: str = ""
    version: int | None = None
    shapes: str = ""


@dataclass(frozen=True)
class Converted:
    """A network in the form one target wants.

    Attributes:
        member: file name in the bundle.
        kernels: name -> how to run it on this machine; the first is what a device would use.
        slow_kernels: those of `kernels` that judge a sample of the held-out tiles only.
        compiled: Edge TPU only; False until its compiler has run; compiler: its version, in its own words.
        head: of a split network, how its second part is found among `extra_members`: name -> content.
        fallback: of a compiled network, which of `extra_members` is the same one for a CPU.
        facts: gates of the target's own that were met, for the manifest.
        findings: what else the target found out, plain types, for the manifest's metrics.
        layers: of an integer network, how far each layer is from float, worst first.
        remedy: what may help this target when a gate is not met, a clause in the imperative; "" for nothing of its own.
        warnings: what the user has to know or do, one sentence each.
        tolerance: how far a probability may be off between runtimes of this target (0-1).
    """

    content: bytes
    member: str
    engine: Engine
    input: TensorSpec
    probs: TensorSpec
    embedding: TensorSpec
    kernels: Mapping[str, Run]
    operations: tuple[Operation, ...]
    tolerance: float
    slow_kernels: frozenset[str] = frozenset()
    compiled: bool | None = None
    compiler: str | None = None
    head: Head | None = None
    fallback: str | None = None
    extra_members: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[LayerError, ...] = ()
    warnings: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def run(self) -> Run:
        """The run of the default kernels."""
        return next(iter(self.kernels.values()))
