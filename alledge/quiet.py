"""Keep what TensorFlow, absl and tf2onnx write to the terminal away from the user's JSON and error sentences."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_STDOUT, _STDERR = 1, 2


@contextmanager
def quiet() -> Iterator[TextIO]:
    """Silence file descriptors 1 and 2, where native libraries write, and yield the stderr that still reaches a person.

    Python's own warnings are silenced with them: they are about other people's code. With `--debug` nothing is.
    """
    if "--debug" in sys.orig_argv:
        yield sys.stderr
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(_STDOUT), os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    person = os.fdopen(os.dup(_STDERR), "w", buffering=1)
    try:
        os.dup2(nowhere, _STDOUT)
        os.dup2(nowhere, _STDERR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield person
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        person.close()
        os.dup2(kept[0], _STDOUT)
        os.dup2(kept[1], _STDERR)
        for descriptor in (*kept, nowhere):
            os.close(descriptor)
