"""`layer_error` for an ONNX network with 8-bit layers: every weighted one against its float twin, worst first."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from alledge.errors import UsageError

from .layer_error import TILES, LayerError
from .onnx_bias_correction import LAYERS
from .onnx_run import run_outputs


def errors_of(quantised: bytes, plain: bytes, tiles: Sequence[NDArray[np.float32]]) -> tuple[LayerError, ...]:
    """Errors of all weighted layers, those that stayed in float too: they hold what layers before them brought along.

    Args:
        quantised: made from `plain` by `quantise`, so the weighted layers of both stand in the same order.
        tiles: float32 [1, size, size, channels] each, of which a few are run.
    """
    chosen = tiles[:: max(1, len(tiles) // TILES)]
    twins, rows = _outputs(plain), _outputs(quantised)
    sums = np.zeros((len(rows), 2))
    there, wanted = (run_outputs(content, [value for _, _, value in layers], chosen)
                     for content, layers in ((quantised, rows), (plain, twins)))
    for ours, exact in zip(there, wanted, strict=True):
        for i, ((_, _, value), (_, _, twin)) in enumerate(zip(rows, twins, strict=True)):
            sums[i] += [np.square(ours[value] - exact[twin]).sum(), np.square(exact[twin]).sum()]
    error = np.sqrt(sums[:, 0] / np.maximum(sums[:, 1], 1e-12))
    found = (LayerError(i, op, name, float(error[i]), None) for i, (op, name, _) in enumerate(twins))
    return tuple(sorted(found, key=lambda row: -row.error))


def demand_layers(content: bytes, wanted: Sequence[str]) -> None:
    """Check that the names are those of weighted layers of an ONNX network.

    Raises:
        UsageError: for one that is not, with those that are most like it.
    """
    names = [name for _, name, _ in _outputs(content)]
    for name in wanted:
        if name not in names:
            near = ", ".join(get_close_matches(name, names, 3, 0.0))
            raise UsageError(f"--keep-float {name!r}: expected a layer as the report's table \"Layers\" names it; the "
                             f"nearest are {near}")


def _outputs(content: bytes) -> list[tuple[str, str, str]]:
    """Operation, name and output of every weighted layer."""
    import onnx

    return [(node.op_type, node.name, node.output[0]) for node in onnx.load_from_string(content).graph.node
            if node.op_type in LAYERS]
