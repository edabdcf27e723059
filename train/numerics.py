"""How exactly a network computes while it learns, and what is said when its device has too little memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from alledge.errors import MemoryExhausted

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_NAMES = {"ResourceExhaustedError", "OutOfMemoryError"}  # TensorFlow's, torch's
_WORDS = re.compile("RESOURCE_EXHAUSTED|out of memory|can't allocate memory", re.IGNORECASE)  # XLA's, torch's on a CPU


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Networks made inside compute in this Keras dtype policy; their weights are float32 in all of them."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def naming_the_batch(batch: int) -> Iterator[None]:
    """Turn what backends raise when memory runs out into one sentence.

    Raises:
        MemoryExhausted: in place of it.
    """
    try:
        yield
    except Exception as error:  # each backend has a type of its own, and none may be imported for another's sake
        if not _is_exhausted(error):
            raise
        way_out = (f"try --batch {batch // 2}" if batch > 1 else "choose a smaller --backbone") \
            + ", or --precision mixed_bfloat16"
        raise MemoryExhausted(f"--batch {batch} does not fit into this device's memory; {way_out}") from error


def _is_exhausted(error: BaseException) -> bool:
    known = isinstance(error, MemoryError) or bool(_NAMES & {kind.__name__ for kind in type(error).__mro__})
    return known or (isinstance(error, RuntimeError) and bool(_WORDS.search(str(error))))
