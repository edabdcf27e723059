"""Four drawn smears that every machine must see and judge as this one did. Never a picture of the data set."""

from dataclasses import dataclass

import numpy as np

from alledge.images import encode_png
from alledge.labels import LABELS
from alledge.manifest import Golden
from alledge.preprocess import Preprocessing, prepare_field, tensor_digest
from alledge.synthetic import draw_field

from .converted import Converted

SEED = 20_250_822  # any will do, as long as it never changes


@dataclass(frozen=True)
class Goldens:
    """The manifest's entries, their files, and how far this machine's kernel sets are apart on them (0-1)."""

    entries: list[Golden]
    members: dict[str, bytes]
    spread: float


def make_goldens(converted: Converted, preprocessing: Preprocessing) -> Goldens:
    """One field per class; probabilities are those of the default kernels.

    Fields are drawn at the model's own size, so that no board's resizing is part of an exact comparison.
    """
    drawn = [draw_field(label, SEED + i, preprocessing.size).rgb for i, label in enumerate(LABELS)]
    prepared = [prepare_field(rgb, preprocessing) for rgb in drawn]
    answers = [run([p.tensor[None] for p in prepared]).probs for run in converted.kernels.values()]
    entries: list[Golden] = []
    members: dict[str, bytes] = {}
    for label, rgb, field, probabilities in zip(LABELS, drawn, prepared, answers[0], strict=True):
        entry = Golden(image=f"goldens/{label}.png", mask=f"goldens/{label}_mask.png",
                       tensor_sha256=tensor_digest(field.tensor), probabilities=probabilities.tolist())
        members |= {entry.image: encode_png(rgb), entry.mask: encode_png(field.mask.pixels)}
        entries.append(entry)
    return Goldens(entries, members, float(max(np.abs(a - answers[0]).max() for a in answers)))
