"""Focal loss (arXiv 2508.17216, eq. 5; Lin et al., ICCV 2017): easy cases weigh less than hard ones."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

_TINY = 1e-7


@keras.saving.register_keras_serializable("alledge")
class FocalLoss(keras.losses.Loss):
    """-alpha_t (1 - p_t)^gamma log(p_t), averaged over the batch.

    Args:
        alpha: weight per class [4]; None weighs all alike.
        gamma: 0 makes it the (weighted) cross-entropy.
    """

    def __init__(self, alpha: Sequence[float] | None = None, gamma: float = 2.0, name: str = "focal",
                 reduction: str = "sum_over_batch_size", **kwargs: Any) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.alpha = list(alpha) if alpha is not None else None
        self.gamma = gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """[n] losses of one-hot [n, 4] truth and [n, 4] probabilities."""
        p = ops.clip(y_pred, _TINY, 1.0 - _TINY)
        weight = y_true if self.alpha is None else y_true * ops.convert_to_tensor(self.alpha, p.dtype)
        return -ops.sum(weight * ops.power(1.0 - p, self.gamma) * ops.log(p), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make the same loss again."""
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}
