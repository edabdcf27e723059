"""Which of a model's tensors is which, and the way in and out of them."""

from collections.abc import Sequence

from alledge.errors import BundleRefused
from alledge.manifest import TensorSpec
from alledge.quantisation import to_real, to_stored

__all__ = ["pick", "to_real", "to_stored"]


def pick(spec: TensorSpec, found: Sequence[tuple[str, tuple[int, ...], str]]) -> int:
    """Position of the tensor a manifest means among a model's (name, shape, dtype): by name, else by its shape.

    Raises:
        BundleRefused: when none fits, or two fit equally well.
    """
    named = [i for i, (name, _, _) in enumerate(found) if name == spec.name]
    fitting = [i for i in named or range(len(found)) if found[i][1:] == (spec.shape, spec.dtype)]
    if len(fitting) != 1:
        raise BundleRefused(f"the bundle's manifest and model disagree: expected {spec.dtype} {list(spec.shape)} "
                            f"{spec.name!r}, the model has {', '.join(f'{d} {list(s)} {n!r}' for n, s, d in found)}")
    return fitting[0]
