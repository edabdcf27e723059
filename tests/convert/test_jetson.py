"""What a Jetson is sent: an ONNX file that every TensorRT concerned reads, in a precision that its GPU has."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from alledge.convert import tensorrt_ops
from alledge.convert.cli import convert
from alledge.convert.conversion import convert_run
from alledge.convert.half import to_half
from alledge.convert.onnx_graph import finished
from alledge.convert.onnx_layer_error import demand_layers
from alledge.convert.onnx_run import count_operations
from alledge.convert.options import Options
from alledge.convert.precision import PRECISIONS, parse_precision
from alledge.convert.report import write_report
from alledge.convert.tensorrt_lint import lint
from alledge.convert.tensorrt_memory import demand_memory, estimate
from alledge.device import inspection
from alledge.errors import DataError, UsageError
from alledge.quiet import quiet


def network(*nodes, constants=(), shape=(1, 3, 8, 8), output="y", opset=13):
    """An ONNX file of `nodes` from x to y; constants: name -> array."""
    return helper.make_model(helper.make_graph(
        list(nodes), "n", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]),
        opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


@pytest.fixture(scope="module")
def half_bundle(trained_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("half") / "half.alledge"
    with quiet():
        return convert_run(trained_run, "jetson-orin", out, Options(precision="fp16"), lambda line: None)


@pytest.mark.parametrize(("target", "name", "why"), [
    ("jetson-nano", "int8", "Maxwell"), ("cpu", "fp16", "--target onnx"), ("coral", "fp32", "8-bit integers only"),
    ("onnx", "int8", "--target cpu"), ("jetson-orin", "int4", "expected int8 or fp16")])
def test_a_precision_a_board_lacks_is_refused_with_the_reason(target, name, why):
    with pytest.raises(UsageError, match=why):
        parse_precision(name, target)


def test_it_is_refused_before_the_run_is_read(tmp_path):
    with pytest.raises(UsageError, match="Maxwell"):
        convert_run(tmp_path / "no run", "jetson-nano", None, Options(precision="int8"), lambda line: None)


@pytest.mark.parametrize("target", PRECISIONS)
def test_the_bundle_says_its_precision(conversion, target):
    assert conversion(target).bundle.manifest.precision == PRECISIONS[target][0]


@pytest.mark.parametrize("target", ["jetson-nano", "jetson-orin"])
def test_every_operation_has_a_verdict_of_every_tensorrt(conversion, target):
    done = conversion(target)
    assert sum(row.count for row in done.converted.operations) == sum(count_operations(done.bundle.model).values())
    assert all("read by TensorRT 8.2, 8.5, 10, 11" in row.reason for row in done.converted.operations)
    assert all(row.mapped == "unknown" for row in done.converted.operations)  # no TensorRT has seen it


@pytest.mark.parametrize("target", ["jetson-nano", "onnx"])
def test_no_shape_is_worked_out_at_run_time(conversion, target):
    operations = count_operations(conversion(target).bundle.model)
    assert {"Softmax", "MatMul", "Conv"} <= set(operations)
    assert not {"Shape", "Gather", "ReduceProd", "Concat", "Max", "Cast"} & set(operations)


@pytest.mark.parametrize("target", ["jetson-nano", "jetson-orin", "onnx"])
def test_the_graph_is_opset_13_with_fixed_shapes_and_agreed_names(conversion, target):
    model = onnx.load_from_string(conversion(target).bundle.model)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert [value.name for value in model.graph.input] == ["image"]
    assert {value.name for value in model.graph.output} == {"probs", "embedding"}
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 64, 64, 3]


def test_quantisation_is_symmetric_and_per_channel(conversion):
    graph = onnx.load_from_string(conversion("jetson-orin").bundle.model).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    weights = [node for node in pairs if node.input[0] in constants]
    assert all(not constants[node.input[2]].any() and constants[node.input[2]].dtype == np.int8 for node in pairs)
    convolutions = [node for node in weights if constants[node.input[0]].ndim == 4]
    assert len(convolutions) == 3
    assert all(constants[n.input[1]].shape == constants[n.input[0]].shape[:1] for n in convolutions)


def test_half_precision_stands_in_the_file_for_tensorrt_11(half_bundle, conversion):
    graph = onnx.load_from_string(half_bundle.bundle.model).graph
    kinds = {t.data_type for t in graph.initializer if numpy_helper.to_array(t).dtype.kind == "f"}
    assert kinds == {TensorProto.FLOAT16}
    assert {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)} == {TensorProto.FLOAT}
    assert half_bundle.bundle.manifest.precision == "fp16"
    assert 0 < half_bundle.comparisons["onnxruntime"].max_abs < 0.01
    assert len(half_bundle.bundle.model) < 0.7 * len(conversion("onnx").bundle.model)
    assert any("not by 8.2" in row.reason for row in half_bundle.converted.operations)


def test_the_nano_is_judged_in_half_precision_too(conversion):
    judged = conversion("jetson-nano").comparisons
    assert set(judged) == {"onnxruntime", "float16"}
    assert judged["onnxruntime"].max_abs < 1e-5 < judged["float16"].max_abs


def test_a_weight_beyond_half_precision_is_named():
    large = network(helper.make_node("Mul", ["x", "w"], ["y"]), constants={"w": np.float32([1e5])})
    with pytest.raises(DataError, match="65,504"):
        to_half(large)


ONE = np.float32(1)
CONV = helper.make_node("Conv", ["x", "w"], ["y"])


@pytest.mark.parametrize(("content", "words"), [
    (network(helper.make_node("Det", ["x"], ["y"])), "operation Det: TensorRT 8.2 .*not in its table.*replace that"),
    (network(helper.make_node("HardSwish", ["x"], ["y"]), opset=14), "HardSwish: TensorRT 8.2"),
    (network(helper.make_node("Relu", ["x"], ["y"]), opset=17), "opset 17 is outside 7 to 13"),
    (network(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 3, 8, 8)), "input 'x' has no fixed shape"),
    (network(helper.make_node("Relu", ["x"], ["m"]), helper.make_node("ReduceMin", ["x"], ["l"], keepdims=0),
             helper.make_node("Clip", ["m", "l"], ["y"])), "Clip.*input 1 is not a constant"),
    (network(helper.make_node("Relu", ["x"], ["y"], domain="com.microsoft")), "com.microsoft's own"),
    (network(helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
             constants={"s": ONE, "z": np.int8(3)}), "zero point is not an int8 zero"),
    (network(helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s"], ["y"]), constants={"s": ONE}), "zero point"),
    (network(CONV, shape=(1, 3, 8), constants={"w": np.ones((2, 3, 1), np.float32)}), "two and three spatial"),
    (network(helper.make_node("Conv", ["x", "x"], ["y"])), "weights are not constants"),
    (network(helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])), "second output"),
    (network(helper.make_node("Mul", ["x", "w"], ["y"]), constants={"w": np.float64([2])}), "type DOUBLE"),
    (network(helper.make_node("Mul", ["x", "w"], ["y"]), constants={"w": np.float16([2])}), "no half-precision"),
])
def test_what_tensorrt_cannot_read_is_named_with_the_way_out(content, words):
    with pytest.raises(DataError, match=words) as caught:
        lint(content, tensorrt_ops.VERSIONS)
    assert "\n" not in str(caught.value)


def test_only_the_versions_of_the_target_are_demanded_and_the_others_told():
    (row,) = lint(network(helper.make_node("HardSwish", ["x"], ["y"]), opset=14), ("8.5", "10", "11"))
    assert "not by 8.2: not in its table" in row.reason
    (row,) = lint(network(helper.make_node("Einsum", ["x", "x"], ["y"], equation="abcd,abcd->ab")), ("8.2",))
    assert "conditions that are not looked at" in row.reason


def test_the_tables_only_grow():
    tables = [tensorrt_ops.SUPPORTED[version] for version in tensorrt_ops.VERSIONS]
    assert [len(table) for table in tables] == [129, 142, 150, 159]
    assert all(older < newer for older, newer in pairwise(tables))
    assert tensorrt_ops.CONDITIONAL | set(tensorrt_ops.CONSTANT_INPUTS) <= tables[-1]


def published_vgg19():
    """Shapes only of VGG19 with its dense top: 548 MiB of weights that nobody has to hold."""
    nodes, constants, x, channels = [], [], "x", 3
    for block, (width, times) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))):
        for time in range(times):
            name = f"c{block}{time}"
            constants.append((f"{name}w", (width, channels, 3, 3)))
            nodes.append(helper.make_node("Conv", [x, f"{name}w"], [name], pads=[1] * 4))
            x, channels = name, width
        nodes.append(helper.make_node("MaxPool", [x], [f"p{block}"], kernel_shape=[2, 2], strides=[2, 2]))
        x = f"p{block}"
    nodes.append(helper.make_node("Flatten", [x], ["f"]))
    for index, (inputs, outputs) in enumerate(((25088, 4096), (4096, 4096), (4096, 4))):
        constants.append((f"d{index}w", (inputs, outputs)))
        nodes.append(helper.make_node("MatMul", ["f" if not index else f"d{index - 1}", f"d{index}w"], [f"d{index}"]))
    model = onnx.load_from_string(network(*nodes, shape=(1, 3, 224, 224), output="d2"))
    model.graph.initializer.extend(TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims)
                                   for name, dims in constants)
    return model.SerializeToString()


def test_vgg19_as_published_does_not_fit_the_4_gib_of_a_nano():
    with pytest.raises(DataError, match=r"about 4,\d\d\d MiB \(7 x 532 of weights.*4,096.*--board-memory") as caught:
        demand_memory(published_vgg19(), 4)
    assert "\n" not in str(caught.value)
    assert demand_memory(published_vgg19(), 8).to_json()["passed"]


def test_the_estimate_counts_weights_and_the_largest_operation():
    memory = estimate(network(CONV, constants={"w": np.ones((2, 3, 1, 1), np.float32)}), 4)
    assert memory.weights * 2**20 == 2 * 3 * 4
    assert memory.activations * 2**20 == (3 + 2) * 8 * 8 * 4


def test_a_board_that_is_too_small_is_told_before_the_tiles_are_judged(trained_run, tmp_path):
    said = []
    with quiet(), pytest.raises(DataError, match="board has 1,024"):
        convert_run(trained_run, "jetson-nano", tmp_path / "m.alledge", Options(board_memory=1), said.append)
    assert not any("judging" in line for line in said)
    assert not list(tmp_path.iterdir())


def test_gates_keep_the_estimate(conversion):
    gate = conversion("jetson-nano").bundle.manifest.metrics["gates"]["board_memory"]
    assert gate["limit_mib"] == 4096
    assert gate["build_mib"] < gate["measured_mib"] < gate["limit_mib"]


def test_without_a_wish_each_target_has_its_own_precision():
    assert [parse_precision(None, target) for target in PRECISIONS] == ["int8", "int8", "fp16", "int8", "fp32"]


def odd_network(operation):
    """A network with one layer that makes something of TensorFlow's out of [n, 8, 8, 8]."""
    import keras
    from keras import layers

    image = keras.Input((8, 8, 8), name="image")
    x = layers.Flatten()(layers.Lambda(operation, name="odd_layer", output_shape=(8, 8, 8))(image))
    embedding = layers.Dense(4)(x)
    return keras.Model(image, {"probs": layers.Softmax()(embedding), "embedding": embedding})


def test_a_layer_without_an_onnx_form_is_named_with_the_way_out():
    from alledge.convert.onnx_graph import to_onnx

    def cholesky(x):
        import tensorflow as tf

        return tf.linalg.cholesky(x)

    with quiet(), pytest.raises(DataError, match=r"layer 'odd_layer': its operation Cholesky .*replace it"):
        to_onnx(odd_network(cholesky))


def test_a_layer_that_only_tensorrt_cannot_read_is_named_too():
    from alledge.convert.jetson_nano import convert

    def finite(x):
        import tensorflow as tf

        return tf.where(tf.math.is_inf(x), tf.zeros_like(x), x)

    with quiet(), pytest.raises(DataError, match=r"operation IsInf of layer 'odd_layer': TensorRT 8\.2 cannot read"):
        convert(SimpleNamespace(model=odd_network(finite)), Options())


def convolutions(seed=5):
    """image [1, 4, 16, 16] -> depthwise and pointwise convolution with ReLU6, mean, dense layer -> y [1, 3]."""
    rng = np.random.default_rng(seed)
    constants = {"dw": rng.normal(0, 1, (4, 1, 3, 3)), "db": rng.normal(1, 1, 4), "pw": rng.normal(0, 1, (8, 4, 1, 1)),
                 "pb": rng.normal(0, 1, 8), "w": rng.normal(0, 1, (8, 3)), "b": rng.normal(0, 1, 3)}
    bounds = {"low": np.float32(0), "high": np.float32(6)}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "dw", "db"], ["d"], group=4, pads=[1] * 4),
         helper.make_node("Clip", ["d", "low", "high"], ["c"]), helper.make_node("Conv", ["c", "pw", "pb"], ["p"]),
         helper.make_node("GlobalAveragePool", ["p"], ["g"]), helper.make_node("Flatten", ["g"], ["f"]),
         helper.make_node("Gemm", ["f", "w", "b"], ["y"])], "n",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in {**constants, **bounds}.items()])
    return finished(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


def test_depthwise_convolutions_stay_in_float():
    from alledge.convert.quantise_onnx import quantise

    rng = np.random.default_rng(1)
    nodes = onnx.load_from_string(quantise(convolutions(), [rng.uniform(0, 2, (1, 4, 16, 16)).astype(np.float32)])
                                  ).graph.node
    makers = {name: node.op_type for node in nodes for name in node.output}
    kinds = {tuple(makers.get(name) for name in node.input[:2]) for node in nodes if node.op_type in ("Conv", "Gemm")}
    assert kinds == {(None, None), ("DequantizeLinear", "DequantizeLinear")}


def weights_in_float(content):
    """Kinds of the weighted layers whose weights no DequantizeLinear makes."""
    nodes = onnx.load_from_string(content).graph.node
    makers = {name: node.op_type for node in nodes for name in node.output}
    return [node.op_type for node in nodes if node.op_type in ("Conv", "Gemm")
            and makers.get(node.input[1]) != "DequantizeLinear"]


def test_named_layers_stay_in_float_and_the_bundle_says_which(trained_run, conversion, tmp_path):
    worst = next(row.layer for row in conversion("jetson-orin").converted.layers if row.op == "Gemm")
    with quiet():
        done = convert_run(trained_run, "jetson-orin", tmp_path / "m.alledge", Options(keep_float=(worst, worst)),
                           lambda line: None)
    assert weights_in_float(conversion("jetson-orin").bundle.model) == []
    assert weights_in_float(done.bundle.model) == ["Gemm"]
    assert (done.bundle.manifest.metrics["kept_float"], done.to_json()["kept_float"]) == ([worst], [worst])
    said = inspection.lines(done.bundle)
    assert said[said.index("kept_float:") + 1] == f"  {worst}"
    assert f"with --keep-float: {worst}" in write_report(done).read_text()
    assert f"--keep-float {worst}" in conversion("jetson-orin").converted.remedy
    assert worst not in done.converted.remedy.split()


def test_a_layer_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"--keep-float 'Gem_5': .* the nearest are Gemm_5, "):
        demand_layers(convolutions(), ["Conv_0", "Gem_5"])


@pytest.mark.parametrize(("options", "words"), [
    ({"target": "cpu"}, "only for --target jetson-orin"),
    ({"target": "jetson-orin", "precision": "fp16"}, "received --precision fp16"),
    ({"finish": "coral.alledge"}, "not for --finish"),
])
def test_layers_are_kept_only_where_they_can_be(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        convert(keep_float=["Conv_1"], out=tmp_path / "m.alledge", **options)


def test_corrected_biases_halve_the_mean_error_of_rounding_and_add_no_operation(monkeypatch):
    from alledge.convert import quantise_onnx
    from alledge.convert.onnx_run import run_outputs

    rng = np.random.default_rng(1)
    tiles = [rng.uniform(0, 2, (1, 4, 16, 16)).astype(np.float32) for _ in range(48)]

    def mean(content):
        return np.mean([values["y"] for values in run_outputs(content, ["y"], tiles[32:])], 0)

    errors = {"corrected": [], "plain": []}
    for seed in range(4):
        network_ = convolutions(seed)
        corrected = quantise_onnx.quantise(network_, tiles[:32])
        with monkeypatch.context() as patch:
            patch.setattr(quantise_onnx, "correct_biases", lambda quantised, plain, tiles: quantised)
            plain = quantise_onnx.quantise(network_, tiles[:32])
        assert count_operations(corrected) == count_operations(plain)
        errors["corrected"].append(np.abs(mean(corrected) - mean(network_)).mean())
        errors["plain"].append(np.abs(mean(plain) - mean(network_)).mean())
    assert np.mean(errors["corrected"]) < 0.5 * np.mean(errors["plain"])


def test_layers_of_an_int8_network_are_listed_by_their_error():
    from alledge.convert.onnx_layer_error import errors_of
    from alledge.convert.quantise_onnx import quantise

    rng = np.random.default_rng(1)
    tiles = [rng.uniform(0, 2, (1, 4, 16, 16)).astype(np.float32) for _ in range(16)]
    network_ = convolutions()
    rows = errors_of(quantise(network_, tiles), network_, tiles)
    assert [row.error for row in rows] == sorted((row.error for row in rows), reverse=True)
    assert {(row.place, row.op) for row in rows} == {(0, "Conv"), (1, "Conv"), (2, "Gemm")}
    assert next(row.error for row in rows if row.place == 0) == 0  # stays in float, and nothing is before it
    assert 0 < min(row.error for row in rows if row.place) < 0.1
