"""What a training was asked for, checked before anything is read."""

from dataclasses import dataclass
from pathlib import Path

from alledge.errors import UsageError
from alledge.segmentation import MODES

from .backbones import find
from .heads import HEADS, NUCLEI
from .numerics import PRECISIONS
from .placement import PLACES

HEAD_EPOCHS, EPOCHS = 20, 6
HEAD_BATCH, BATCH = 64, 32


def default_head(backbone: str) -> str:
    """What is trained on a backbone when nobody says: `nuclei` where its row says which maps to take."""
    return NUCLEI if find(backbone).taps else "compact"


def trains_head_alone(backbone: str, head: str, weights: str) -> bool:
    """Whether pretrained weights stay as they are and nothing but the head is trained."""
    return head == NUCLEI and weights != "none" and bool(find(backbone).taps)


def default_epochs(backbone: str, head: str, weights: str) -> int:
    """As many as it takes: a head alone learns from few numbers, and quickly."""
    return HEAD_EPOCHS if trains_head_alone(backbone, head, weights) else EPOCHS


def default_batch(backbone: str, head: str, weights: str) -> int:
    """Tiles per step, or views of tiles when a head is taught alone."""
    return HEAD_BATCH if trains_head_alone(backbone, head, weights) else BATCH


@dataclass(frozen=True)
class Options:
    """What `alledge train` was asked for; see its `--help`."""

    backbone: str = "mobilenetv2"
    head: str = "compact"
    loss: str = "focal"
    weights: str = "imagenet"
    segment: str = "none"
    epochs: int = 6
    batch: int = 32
    seed: int = 0
    precision: str = "float32"
    distribute: str = "one"

    def __post_init__(self) -> None:
        find(self.backbone)
        if self.weights not in ("imagenet", "none") and not Path(self.weights).is_file():
            raise UsageError(f"--weights {self.weights}: expected imagenet, none or a weights file, found no such file")
        for name, value, known in (("head", self.head, (NUCLEI, *HEADS)),
                                   ("loss", self.loss, ("focal", "crossentropy")),
                                   ("segment", self.segment, MODES), ("precision", self.precision, PRECISIONS),
                                   ("distribute", self.distribute, PLACES)):
            if value not in known:
                raise UsageError(f"--{name} {value!r} is unknown: expected {', '.join(known)}")
        if trains_head_alone(self.backbone, self.head, self.weights) and (self.precision, self.distribute) != (
                "float32", "one"):
            raise UsageError("--precision and --distribute have no use where a head is taught alone, on one device: "
                             "leave them out, or choose --head compact")
        for name, number in (("epochs", self.epochs), ("batch", self.batch)):
            if number < 1:
                raise UsageError(f"--{name} {number}: expected at least 1")
