"""How a network is taught: every number of the training loop in one place, apart from what the user asked for."""

from dataclasses import dataclass

from .backbones import find
from .options import Options, trains_head_alone

HEAD_ALONE = 3e-3  # peak learning rate when nothing but the head is trained
FOCUS = 2.0  # gamma of the focal loss (paper, section 5)


@dataclass(frozen=True)
class Recipe:
    """Values of one training.

    Attributes:
        learning_rate: Adam's peak.
        decay: climb from a tenth of the peak, then a cosine down to nothing; else the peak all the time.
        warm_up: share of all steps that the climb takes.
        clip_norm: longest gradient of one variable; None does not clip.
        gamma: focus of the loss; 0 makes it cross-entropy.
        balanced: weigh classes by inverse frequency in the training rows.
        strength: of the augmentation, see `augment`.
        patience: epochs without a lower validation loss after which training stops; None runs them all.
    """

    learning_rate: float
    decay: bool = True
    warm_up: float = 0.05
    clip_norm: float | None = 1.0
    gamma: float = FOCUS
    balanced: bool = True
    strength: float = 1.0
    patience: int | None = None


def recipe_for(options: Options) -> Recipe:
    """The default recipe: the backbone's own learning rate and strength, the loss that was asked for."""
    row = find(options.backbone)
    alone = trains_head_alone(options.backbone, options.head, options.weights)
    rate = HEAD_ALONE if alone else row.learning_rate[options.weights == "none"]
    return Recipe(learning_rate=rate, strength=row.augmentation,
                  gamma=FOCUS if options.loss == "focal" else 0.0)
