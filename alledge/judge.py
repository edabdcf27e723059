"""What evaluation asks of a stage: something that answers fields, whatever it is made of."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Judge(Protocol):
    """A run or a bundle, opened once and asked as often as needed.

    Attributes:
        identity: "id", "target" and "engine" of what judges.
        provenance: of the run it is or was made from.
    """

    identity: dict[str, str]
    provenance: Mapping[str, Any]

    def __call__(self, fields: Iterable[NDArray[np.uint8]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Judge fields uint8 [H, W, 3] RGB of any size, one after the other.

        Returns:
            calibrated probabilities float64 [n, 4]; answered bool [n], False where the verdict was inconclusive.
        """

    def close(self) -> None:
        """Let go of engines and memory."""
