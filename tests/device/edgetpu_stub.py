"""A stub Edge TPU: its delegate, compiled here, and a network that a CPU and the stub both run.

Everything is labelled: the library is a stub (edgetpu_stub.c), the "compiled" model calls itself one, and nothing
measured with it says anything about an Edge TPU.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SOURCE = Path(__file__).with_name("edgetpu_stub.c")
CUSTOM_OP = b"edgetpu-custom-op"
SIZE, WIDTH, CLASSES = 64, 8, 4
IMAGE, EMBEDDING, LOGITS, PROBS = (2 / 255, 128), (1 / 32, 128), (1 / 16, 128), (1 / 256, 0)
W, V = (1 / 64, 128), (1 / 128, 128)  # scale and zero point of the two layers' weights


def build(folder: Path) -> Path:
    """Compile the stub as `libedgetpu.so.1`, for a process with `folder` in LD_LIBRARY_PATH."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) here for the stub of the Edge TPU's delegate")
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", folder / "libedgetpu.so.1",
                    SOURCE, "-lm"], check=True)
    return folder


def weights(seed: int = 3) -> dict[str, Any]:
    """uint8 weights of both layers; no biases."""
    rng = np.random.default_rng(seed)
    return {"w": rng.integers(0, 256, (WIDTH, 3)).astype(np.uint8),
            "v": rng.integers(64, 192, (CLASSES, WIDTH)).astype(np.uint8)}


def plain(values: dict[str, Any], floats: bool = False) -> bytes:
    """The network in the CPU's integer operations: mean colour, two dense layers, softmax. floats: real outputs."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    stored = "stored_embedding" if floats else "embedding"
    tensors = [("image", (1, SIZE, SIZE, 3), IMAGE, None), ("pooled", (1, 1, 1, 3), IMAGE, None),
               ("w", (WIDTH, 3), W, values["w"]), (stored, (1, WIDTH), EMBEDDING, None),
               ("v", (CLASSES, WIDTH), V, values["v"]), ("logits", (1, CLASSES), LOGITS, None),
               ("probs", (1, CLASSES), None if floats else PROBS, None)]
    real = [("real_logits", (1, CLASSES), None, None), ("embedding", (1, WIDTH), None, None)] if floats else []
    dequantise = schema.DequantizeOptionsT()
    pool, dense, softmax = schema.Pool2DOptionsT(), schema.FullyConnectedOptionsT(), schema.SoftmaxOptionsT()
    pool.filterHeight = pool.filterWidth = pool.strideH = pool.strideW = SIZE
    pool.padding = schema.Padding.VALID
    softmax.beta = 1.0
    return _file(schema, "network of a test", [*tensors, *real], [
        ("AVERAGE_POOL_2D", "Pool2DOptions", pool, ["image"], ["pooled"]),
        ("FULLY_CONNECTED", "FullyConnectedOptions", dense, ["pooled", "w", ""], [stored]),
        ("FULLY_CONNECTED", "FullyConnectedOptions", dense, [stored, "v", ""], ["logits"]),
        *(("DEQUANTIZE", "DequantizeOptions", dequantise, [source], [name[0]])
          for source, name in zip(("logits", stored), real, strict=False)),
        ("SOFTMAX", "SoftmaxOptions", softmax, ["real_logits" if floats else "logits"], ["probs"])])


def compiled(values: dict[str, Any], floats: bool = False) -> bytes:
    """The same for the stub: one custom operator that carries the weights. floats: outputs that can be NaN."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    real = [(values[name].astype(np.float32) - zero) * np.float32(scale) for name, (scale, zero) in
            (("w", W), ("v", V))]
    network = [real[0], np.zeros(WIDTH, np.float32), real[1], np.zeros(CLASSES, np.float32)]
    tensors = [("image", (1, SIZE, SIZE, 3), IMAGE, None),
               ("embedding", (1, WIDTH), None if floats else EMBEDDING, None),
               ("probs", (1, CLASSES), None if floats else PROBS, None)]
    return _file(schema, "stub of a compiled model", tensors, [
        ("CUSTOM", None, b"".join(part.tobytes() for part in network), ["image"], ["probs", "embedding"])])


def _file(schema: Any, description: str, tensors: Sequence[Any], operators: Sequence[Any]) -> bytes:
    import flatbuffers

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description, model.subgraphs = 3, description.encode(), [graph]
    model.buffers, model.operatorCodes = [schema.BufferT()], []
    graph.tensors, graph.operators, graph.name = [], [], b"main"
    place = {"": -1, **{name: index for index, (name, *_) in enumerate(tensors)}}
    for name, shape, quantisation, content in tensors:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), list(shape), 0
        tensor.type = schema.TensorType.FLOAT32 if quantisation is None else schema.TensorType.UINT8
        if quantisation is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [quantisation[0]], [quantisation[1]]
        if content is not None:
            tensor.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = list(content.tobytes())
        graph.tensors.append(tensor)
    for name, kind, options, inputs, outputs in operators:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode, code.version = getattr(schema.BuiltinOperator, name), 1
        code.deprecatedBuiltinCode = code.builtinCode
        operator.opcodeIndex = len(model.operatorCodes)
        operator.inputs, operator.outputs = [place[n] for n in inputs], [place[n] for n in outputs]
        if kind is None:
            code.customCode, operator.customOptions = CUSTOM_OP, list(options)
        else:
            operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [place["image"]], [place["probs"], place["embedding"]]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
