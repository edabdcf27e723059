"""Will TensorRT's builder fit on the board? An upper estimate, so that a user hears no before the kernel kills it.

CPU and GPU of a Jetson share one memory. Not measured on a board: the terms are other people's measurements.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

from alledge.errors import DataError

MIB = 2**20
# Ubuntu with its desktop, as JetPack is flashed: 1.5 GB; 0.3 to 0.5 without (microsoft/onnxruntime issue 4259).
SYSTEM = 1536
# CUDA 229, cuBLAS 182, cuDNN 241, loaded once, as TensorRT 8 logs it on a Jetson (NVIDIA/TensorRT issue 2217).
LIBRARIES = 652
WORKSPACE = 256  # what the engine is built with; device/tensorrt_build.py
# While building: up to five times the weights in host memory and twice on the GPU (Torch-TensorRT's documentation,
# "Resource Management"); TensorRT's own says "at least two" and temporary ones.
COPIES = 7
# A layer is timed with buffers of its own for what goes in and out, beside those of the layer before.
BUFFERS = 2


@dataclass(frozen=True)
class BuildMemory:
    """What building an engine takes, in MiB.

    Attributes:
        weights: constants of the network as they stand in the file, once.
        activations: inputs and outputs of the operation that has the largest ones.
        board: what the board has for all of it, system included.
    """

    weights: float
    activations: float
    board: float

    @property
    def build(self) -> float:
        """Of the builder's process."""
        return LIBRARIES + WORKSPACE + COPIES * self.weights + BUFFERS * self.activations

    def to_json(self) -> dict[str, Any]:
        """As a gate of the manifest."""
        return {"limit_mib": round(self.board), "measured_mib": round(SYSTEM + self.build),
                "build_mib": round(self.build), "passed": SYSTEM + self.build <= self.board}


def demand_memory(content: bytes, board: float) -> BuildMemory:
    """The estimate for an ONNX network on a board with that many GiB.

    Raises:
        DataError: when it does not fit, with the numbers and the ways out.
    """
    memory = estimate(content, board)
    if memory.to_json()["passed"]:
        return memory
    raise DataError(
        f"building the engine would need about {memory.build:,.0f} MiB ({COPIES} x {memory.weights:,.0f} of weights, "
        f"{BUFFERS} x {memory.activations:,.0f} of activations, {WORKSPACE} of workspace, {LIBRARIES} of CUDA "
        f"libraries) beside {SYSTEM:,} for the system, and the board has {memory.board:,.0f}: use a smaller backbone "
        "or another board, or say with --board-memory GIB what it has with a swap file and without a desktop")


def estimate(content: bytes, board: float) -> BuildMemory:
    """Count a static ONNX network's bytes; board in GiB."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content)).graph
    sizes = {value.name: _size(value.type.tensor_type.elem_type,
                               [d.dim_value for d in value.type.tensor_type.shape.dim])
             for value in (*graph.input, *graph.value_info, *graph.output)}
    weights = {tensor.name: _size(tensor.data_type, tensor.dims) for tensor in graph.initializer}
    largest = max(sum(sizes.get(name, 0) for name in (*node.input, *node.output) if name not in weights)
                  for node in graph.node)
    return BuildMemory(sum(weights.values()) / MIB, largest / MIB, board * 1024)


def _size(kind: int, shape: Any) -> int:
    import onnx

    return prod(shape) * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
