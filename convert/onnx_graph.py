"""A Keras model to ONNX: opset 13, static batch 1, float32, tensors named image, probs and embedding."""

import logging
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alledge.errors import DataError

from .tflite import INPUT
from .trained import OUTPUTS

OPSET = 13  # the newest that TensorRT 8.2, the last for a Jetson Nano, reads completely


def to_onnx(model: Any) -> bytes:
    """ONNX bytes of a {"probs", "embedding"} Keras model.

    Raises:
        DataError: when a layer has no ONNX form in this opset, naming it and the way out.
    """
    import onnx

    graph = _exported(model)
    strange = [node for node in graph.graph.node if not onnx.defs.has(node.op_type, OPSET, node.domain)]
    if strange:
        raise DataError(f"layer {_layer(strange[0].name)!r}: its operation {strange[0].op_type} has no form in ONNX "
                        f"opset {OPSET}; replace it with stock layers (convolution, dense, pooling, plain activation), "
                        "or convert for --target cpu")
    try:
        put_in_order(graph.graph)  # what is folded into what follows the order of the nodes
        return finished(fold(graph))
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        raise DataError(f"the network cannot be expressed in ONNX opset {OPSET}: {str(error).strip()[:300]}") from error


def layers_with(model: Any, operation: str) -> list[str]:
    """Names of the layers that an ONNX operation comes from; another export, so for the way to an error only."""
    return sorted({_layer(node.name) for node in _exported(model).graph.node if node.op_type == operation})


def _exported(model: Any) -> Any:
    """The ONNX model as tf2onnx gives it, with TensorFlow's names."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it misses is told by who called it
    signature = [tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name=INPUT)]

    def network(image: Any) -> dict[str, Any]:
        outputs = model(image, training=False)
        return {name: outputs[name] for name in OUTPUTS}

    function = tf.function(network, autograph=False, input_signature=signature)
    try:
        return tf2onnx.convert.from_function(function, signature, opset=OPSET)[0]
    except Exception as error:  # tf2onnx raises many kinds
        raise DataError(f"the network cannot be expressed in ONNX opset {OPSET}: {str(error).strip()[:300]}") from error


def _layer(name: str) -> str:
    """The layer in a name of TensorFlow's, "network_1/odd_layer_1/Cholesky"; Keras adds the last number per call."""
    parts = name.split("/")
    return re.sub(r"_\d+$", "", parts[-2]) if len(parts) > 1 else name


def fold(model: Any) -> Any:
    """The same network with everything computed beforehand that does not depend on the image.

    Keras' attention comes out of tf2onnx with its shapes worked out at run time (Shape, Gather, ReduceProd ... on
    integers), of which TensorRT 8.2 reads only part. Every shape is known here, so ONNX Runtime's basic level, which
    keeps to standard operations, turns all of it into constants.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3  # errors only
    with TemporaryDirectory() as folder:
        out = Path(folder, "folded.onnx")
        options.optimized_model_filepath = str(out)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(out)


def finished(model: Any) -> bytes:
    """The bytes of an ONNX model, in order, checked, and without what libraries leave in it.

    Those are the counters of tf2onnx in its name, and ONNX Runtime's operator sets, of which no node comes.
    """
    import onnx

    model.graph.name, model.graph.doc_string = "network", ""
    _replace(model.opset_import, [entry for entry in model.opset_import if entry.domain == ""])
    put_in_order(model.graph)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def put_in_order(graph: Any) -> None:
    """Sort and number an ONNX graph in place by its structure alone, so that one network gives one file.

    tf2onnx orders nodes and names values by what Python's sets happen to yield, which differs between processes.
    """
    makers = {name: node for node in graph.node for name in node.output}
    nodes = _from_inputs_on(graph, makers)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}
    names: dict[str, str] = {}
    for number, node in enumerate(nodes):
        node.name = f"{node.op_type}_{number}"
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                values[place] = name if name in kept else names.setdefault(name, f"value_{len(names)}")
    used = [constants[name] for name in names if name in constants]
    for tensor in used:
        tensor.name = names[tensor.name]
    _replace(graph.node, nodes)
    _replace(graph.initializer, used)
    del graph.value_info[:]


def _from_inputs_on(graph: Any, makers: dict[str, Any]) -> list[Any]:
    """The nodes the outputs depend on, each after those it needs; ties follow the order of inputs."""
    done: dict[int, Any] = {}
    pending = [(makers[output.name], False) for output in reversed(graph.output)]
    while pending:
        node, ready = pending.pop()
        if id(node) in done:
            continue
        if ready:
            done[id(node)] = node
        else:
            pending.append((node, True))
            pending += [(makers[name], False) for name in reversed(node.input) if name in makers]
    return list(done.values())


def _replace(field: Any, items: list[Any]) -> None:
    """Set a repeated protobuf field; the copies are taken first, as the items live in it."""
    copies = [type(item).FromString(item.SerializeToString(deterministic=True)) for item in items]
    del field[:]
    field.extend(copies)
