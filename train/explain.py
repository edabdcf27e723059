"""Where a network looked, and what spoke for its verdict: attention and Grad-CAM, as maps of its own grid.

Both are maps of the places the network tells apart (attention: 7 x 7 for MobileNetV2 at 224 px), no finer. They show
where, not why; `benchmarks/faithfulness.py` measures how far they can be trusted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from alledge.errors import DataError
from alledge.preprocess import Preprocessing, scale
from alledge.segmentation import Mask

from .heads import NUCLEUS_WEIGHT, OPINIONS, POOLED_BY

ATTENTION, GRAD_CAM = "attention", "grad_cam"

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Maps:
    """What a network made of one tile.

    Attributes:
        probabilities: uncalibrated, float32 [4].
        embedding: float32 [d].
        heat: name -> float64 [h, w], not negative, sum 1 (or all 0 where nothing spoke for the class).
        opinions: name in `heads.OPINIONS` -> float32 [4] of the opinions that the verdict is added up of, if there are.
    """

    probabilities: Array
    embedding: Array
    heat: dict[str, Array]
    opinions: dict[str, Array]


class Explainer:
    """A trained network, opened for looking inside. Heads without attention have a Grad-CAM only.

    Raises:
        DataError: when the network has no feature map that a Grad-CAM could be drawn on.
    """

    def __init__(self, model: keras.Model, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self._attention = next((layer for layer in model.layers if isinstance(layer, keras.layers.MultiHeadAttention)),
                               None)
        last = model.get_layer("probs")
        self._kernel = last.kernel if isinstance(last, keras.layers.Dense) else None
        waist = _waist(model)
        asked = {} if self._attention is None else {"tokens": self._attention.input}
        pooled_by = next((layer for layer in model.layers if layer.name == POOLED_BY), None)
        asked |= {} if pooled_by is None else {"pooled_by": pooled_by.output}
        asked |= {layer.name: layer.output for layer in model.layers if layer.name in OPINIONS}
        self._body = keras.Model(model.inputs, {**model.output, **asked, "waist": waist})
        self._head = keras.Model(waist, last.output if self._kernel is None else last.input)

    def maps(self, tile: NDArray[np.uint8]) -> Maps:
        """Explain uint8 [S, S, channels], prepared as for the network; the Grad-CAM is of its most likely class."""
        image = ops.convert_to_tensor(scale(tile[None], self._preprocessing))
        seen = self._body({self._body.inputs[0].name: image}, training=False)
        probabilities = _plain(seen["probs"])[0]
        heat = {} if self._attention is None else {
            ATTENTION: self._rollout(seen["tokens"], seen.get("pooled_by"))}
        heat[GRAD_CAM] = self._grad_cam(seen["waist"], int(probabilities.argmax()))
        opinions = {name: _plain(seen[name])[0] for name in OPINIONS if name in seen}
        return Maps(probabilities, _plain(seen["embedding"])[0], {name: _normalised(m) for name, m in heat.items()},
                    opinions)

    def _rollout(self, tokens: Any, pooled_by: Any) -> Array:
        """[h, w] what each place gives to what is pooled behind the attention, averaged over heads.

        Attention rollout (Abnar and Zuidema, ACL 2020) through the one attention layer, its residual connection and the
        pooling: a place of which nothing is pooled has no say in where attention goes. Without such a weight all
        places count alike, and what each keeps of itself would only add a constant.
        """
        assert self._attention is not None
        query, value = tokens if isinstance(tokens, (list, tuple)) else (tokens, tokens)
        _, weights = self._attention(query, value, return_attention_scores=True)  # [1, heads, queries, keys]
        flow = _plain(weights)[0].mean(0)
        received = flow.mean(0) if pooled_by is None else _plain(pooled_by).ravel() @ (flow + np.eye(len(flow)))
        return received.reshape(isqrt(received.size), -1)  # places of a square tile

    def _grad_cam(self, waist: Sequence[Any], chosen: int) -> Array:
        """[h, w] Grad-CAM (Selvaraju et al., ICCV 2017) of a class on the network's waist, place by place.

        The gradient is not averaged over places first (HiResCAM, Draelos and Carin, arXiv 2011.08891): behind the map
        attention mixes places, and a channel speaks for the class here and against it there. For `plain` heads both are
        the same. It is the gradient of the class's logit, because the probability of a sure network has none left; of
        the logarithm of the probability where several opinions are averaged and there is no logit.
        """
        features, *rest = waist

        def evidence(at: Any) -> Any:
            out = ops.cast(self._head([at, *rest], training=False), "float32")
            return ops.log(out[0, chosen]) if self._kernel is None else ops.matmul(out, self._kernel)[0, chosen]

        return np.maximum((_gradient(evidence, features)[0] * _plain(features)[0]).sum(-1), 0.0)


def share_inside(heat: Array, mask: Mask) -> float:
    """Share of a map's heat that lies in the nuclei, 0-1; each place's heat is spread evenly over its own square."""
    height, width = heat.shape
    nuclei = cv2.resize(mask.pixels.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_AREA)
    total = float(heat.sum())
    return float((heat * nuclei).sum() / total) if total else 0.0


def _waist(model: keras.Model) -> list[Any]:
    """The last feature map [n, h, w, c] that everything the network makes of a field's colours passes through.

    Where the network is also told where the nuclei are, that follows as a second tensor.
    """
    makers = {id(tensor): op for op in model.operations for tensor in keras.tree.flatten(op.output)}
    told = [op for op in model.operations if op.name == NUCLEUS_WEIGHT]
    for layer in reversed(model.layers):
        shape = tuple(getattr(layer.output, "shape", ()))
        if len(shape) == 4 and max(shape[1:3]) > 1 and not isinstance(layer, keras.layers.InputLayer) \
                and layer not in told and not _reaches_image(makers[id(model.output["probs"])], {layer, *told}, makers):
            return [layer.output, *(op.output for op in told)]
    raise DataError(f"{model.name}: expected a network with a feature map to draw heat on, found none")


def _reaches_image(last: Any, closed: set[Any], makers: dict[int, Any]) -> bool:
    """Whether a way from an operation back to the network's input exists that avoids the closed operations."""
    waiting, seen = [last], set(closed)
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        if isinstance(op, keras.layers.InputLayer):
            return True
        waiting += [makers[id(tensor)] for tensor in keras.tree.flatten(op.input)]
    return False


def _gradient(of: Callable[[Any], Any], at: Any) -> Array:
    """Gradient of a scalar function of a tensor, under whichever Keras backend is in use."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(at)
            value = of(at)
        return _plain(tape.gradient(value, at))
    if backend == "jax":
        import jax

        return _plain(jax.grad(of)(at))
    if backend == "torch":
        at = at.detach().requires_grad_()
        of(at).backward()
        return _plain(at.grad)
    raise DataError(f"Grad-CAM needs Keras on tensorflow, jax or torch, found {backend}; set KERAS_BACKEND")


def _plain(tensor: Any) -> Array:
    return np.asarray(ops.convert_to_numpy(tensor), np.float32)


def _normalised(heat: Array) -> Array:
    heat = heat.astype(np.float64)
    return heat / heat.sum() if heat.sum() > 0 else np.zeros_like(heat)
