"""Replay a bundle's goldens: does this machine see and compute what the machine that made the bundle did?"""

import cv2
import numpy as np
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.images import decode_image
from alledge.manifest import Golden
from alledge.preprocess import prepare_field, tensor_digest

from .engine import Engine


def replay(bundle: Bundle, engine: Engine) -> list[str]:
    """Run every golden field; masks and tensors must be equal, probabilities within the bundle's tolerance.

    Returns:
        one sentence per disagreement; empty when the machine can be trusted with this bundle.

    Raises:
        EngineError: when the engine fails outright.
        ImageError: when a golden picture does not decode.
    """
    return [fault for golden in bundle.manifest.goldens if (fault := _replay_one(bundle, engine, golden))]


def _replay_one(bundle: Bundle, engine: Engine, golden: Golden) -> str:
    prepared = prepare_field(decode_image(bundle.read(golden.image), golden.image), bundle.manifest.preprocessing)
    changed = _differing_pixels(bundle.read(golden.mask), prepared.mask.pixels)
    if changed:
        return f"golden {golden.image}: its mask differs in {changed} of {prepared.mask.pixels.size} pixels"
    if tensor_digest(prepared.tensor) != golden.tensor_sha256:
        return f"golden {golden.image}: the prepared tensor differs"
    answered, promised = engine.infer(prepared.tensor).probs, np.asarray(golden.probabilities)
    if answered.shape != promised.shape:
        return f"golden {golden.image}: {promised.size} probabilities are promised, the engine gave {answered.size}"
    difference = float(np.abs(answered - promised).max())
    if not difference <= bundle.manifest.tolerance:  # NaN is refused too
        return (f"golden {golden.image}: probabilities differ by {difference:.3f}, "
                f"accepted up to {bundle.manifest.tolerance:g}")
    return ""


def _differing_pixels(png: bytes, mask: NDArray[np.uint8]) -> int:
    """Pixels in which a mask differs from its golden; all of them when the sizes do."""
    golden = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    if golden is None or golden.shape != mask.shape:
        return mask.size
    return int(np.count_nonzero(golden != mask))
