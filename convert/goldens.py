"""Four drawn smears that every machine must see and judge as this one did. Never a picture of the data set."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alledge.images import encode_png
from alledge.labels import LABELS
from alledge.manifest import Golden
from alledge.preprocess import Prepared, Preprocessing, prepare_field, tensor_digest
from alledge.synthetic import draw_field

from .converted import Converted

SEED = 20_250_822  # any will do, as long as it never changes
CANDIDATES = 8  # fields per class; of a MobileNetV2's first eight, at most two of a class were undecided


@dataclass(frozen=True)
class Goldens:
    """The manifest's entries, their files, and how far this machine's kernel sets are apart on them (0-1)."""

    entries: list[Golden]
    members: dict[str, bytes]
    spread: float


@dataclass(frozen=True)
class _Candidate:
    """A drawn field uint8 [H, W, 3], prepared, with the default kernels' probabilities [4] and the spread (0-1)."""

    rgb: NDArray[np.uint8]
    field: Prepared
    probabilities: NDArray[np.float32]
    spread: float


def make_goldens(converted: Converted, preprocessing: Preprocessing) -> Goldens:
    """One field per class; probabilities are those of the default kernels.

    Of each class it takes the first candidate on which the kernel sets agree within half the target's tolerance, or the
    one with the least spread when there is none. So this checks that arithmetic is reproduced, it is no figure of
    accuracy: undecided fields, on which rounding alone tips the verdict, are left out. With a single kernel set every
    first candidate is taken.
    """
    entries: list[Golden] = []
    members: dict[str, bytes] = {}
    chosen = [_choose(_candidates(converted, preprocessing, i), converted.tolerance) for i in range(len(LABELS))]
    for label, golden in zip(LABELS, chosen, strict=True):
        entry = Golden(image=f"goldens/{label}.png", mask=f"goldens/{label}_mask.png",
                       tensor_sha256=tensor_digest(golden.field.tensor), probabilities=golden.probabilities.tolist())
        members |= {entry.image: encode_png(golden.rgb), entry.mask: encode_png(golden.field.mask.pixels)}
        entries.append(entry)
    return Goldens(entries, members, max(golden.spread for golden in chosen))


def frame_height(size: int) -> int:
    """Height in pixels of a golden for a model input of `size`: larger, so that boards replay crop and resize too.

    The ratio has a power of two on top (256 px for 224, 8/7). Area weights are then multiples of a power of two and
    their sums exact in float32, in any order: a compiler cannot change the tensor, which is compared exactly.
    (At 4/3, 299 px for 224, one pixel already differed from the exact average.) Holds up to an odd factor of 255.
    """
    odd = size // (size & -size)
    return size // odd * 2 ** odd.bit_length()


def _candidates(converted: Converted, preprocessing: Preprocessing, label: int) -> Iterator[_Candidate]:
    height = frame_height(preprocessing.size)
    for number in range(CANDIDATES):
        seed = SEED + label + number * len(LABELS)
        rgb = draw_field(LABELS[label], seed, height * 4 // 3).rgb[:height]  # 4:3, as cameras give it
        field = prepare_field(rgb, preprocessing)
        first, *others = (run([field.tensor[None]]).probs[0] for run in converted.kernels.values())
        yield _Candidate(rgb, field, first, max((float(np.abs(p - first).max()) for p in others), default=0.0))


def _choose(candidates: Iterator[_Candidate], tolerance: float) -> _Candidate:
    """The first within half the tolerance, else the least apart."""
    tried = []
    for candidate in candidates:
        if candidate.spread <= tolerance / 2:  # room for a third machine
            return candidate
        tried.append(candidate)
    return min(tried, key=lambda c: c.spread)
