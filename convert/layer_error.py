"""How far each layer of an integer network is from its float twin, on the same tiles: a bad layer stands out here.

The error of a layer holds what all layers before it brought along, as a device would see it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bias_correction import weighted_pairs
from .tflite import INPUT, to_float
from .tflite_graph import scope_of

TILES = 8


@dataclass(frozen=True)
class LayerError:
    """One weighted operation.

    Attributes:
        place: position among the weighted operations, from 0; layer: name of its output in the graph.
        error: root mean square of (integer - float) over that of float; 0 is exact, 1 is noise as large as the signal.
        clipped: share of outputs on the first or last of the 256 levels whose float value lies beyond them; None where
            outputs are not stored in 8 bits.
    """

    place: int
    op: str
    layer: str
    error: float
    clipped: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain types only, to four decimals."""
        clipped = None if self.clipped is None else round(self.clipped, 4)
        return {**asdict(self), "error": round(self.error, 4), "clipped": clipped}


def errors_of(model: Any, content: bytes, tiles: Sequence[NDArray[np.float32]]) -> tuple[LayerError, ...]:
    """`layer_errors` of an integer network against the Keras model it was made of."""
    return layer_errors(content, to_float(model, (INPUT,)), tiles[:: max(1, len(tiles) // TILES)])


def layer_errors(content: bytes, real: bytes, tiles: Sequence[NDArray[np.float32]]) -> tuple[LayerError, ...]:
    """Every weighted operation, worst first; nothing when the two graphs do not correspond.

    Args:
        content, real: integer and float32 TFLite of the same network.
        tiles: float32 [1, size, size, channels] each.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    integer, twin = (schema.ModelT.InitFromPackedBuf(c) for c in (content, real))
    pairs = weighted_pairs(integer, twin)
    places = [[int(layer.operator.outputs[0]) for layer in side] for side in zip(*pairs, strict=True)] if pairs else []
    if not places:
        return ()
    sums = np.zeros((len(pairs), 4))
    for one, other in zip(_outputs(content, places[0], tiles), _outputs(real, places[1], tiles), strict=True):
        for row, ((stored, low, high), (exact, _, _)) in enumerate(zip(one, other, strict=True)):
            beyond = ((exact > high) & (stored >= high)) | ((exact < low) & (stored <= low))
            sums[row] += [np.square(stored - exact).sum(), np.square(exact).sum(), beyond.sum(), exact.size]
    error, clipped = np.sqrt(sums[:, 0] / np.maximum(sums[:, 1], 1e-12)), sums[:, 2] / sums[:, 3]
    rows = [LayerError(i, layer.op, _name(twin, other), float(error[i]), float(clipped[i]))
            for i, (layer, other) in enumerate(pairs)]
    return tuple(sorted(rows, key=lambda row: -row.error))


def _outputs(content: bytes, places: Sequence[int], tiles: Sequence[NDArray[np.float32]]) -> Iterator[list[Any]]:
    """Per tile: of each tensor its real values, and the least and largest that it can hold."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True, num_threads=2,
                              experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]
    details = {d["index"]: d for d in interpreter.get_tensor_details()}
    for tile in tiles:
        interpreter.set_tensor(image["index"], _stored(tile, image))
        interpreter.invoke()
        yield [_real(interpreter.get_tensor(place), details[place]) for place in places]


def _stored(tile: NDArray[np.float32], image: dict[str, Any]) -> NDArray[Any]:
    scale, zero = image["quantization"]
    if not scale:
        return tile
    levels = np.iinfo(image["dtype"])
    return np.clip(np.rint(tile / scale + zero), levels.min, levels.max).astype(image["dtype"])


def _real(values: NDArray[Any], detail: dict[str, Any]) -> tuple[NDArray[np.float64], float, float]:
    scale, zero = detail["quantization"]
    if not scale:
        return values.astype(np.float64), -np.inf, np.inf
    levels = np.iinfo(values.dtype)
    return (values.astype(np.float64) - zero) * scale, (levels.min - zero) * scale, (levels.max - zero) * scale


def _name(model: Any, layer: Any) -> str:
    """The Keras layer in the converter's name, with its part if it has some: attention/query."""
    name = model.subgraphs[0].tensors[int(layer.operator.outputs[0])].name.decode().split(";")[0]
    return scope_of(name).removesuffix("/batchnorm") or name
