"""Find a back end by its file name and import just that one.

A kind of back end is a package under `alledge.device` (camera, engine, display, sink, trigger) whose `__init__` holds
a Protocol. Each other file in it is one back end: the file's name is the back end's name, and its function `create`
makes one. Adding a back end is adding a file.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from alledge.errors import BackendMissing, UsageError

_HOME = "alledge.device"


def names(kind: str) -> list[str]:
    """Names of all back ends of a kind that the package ships, whether or not their libraries are installed."""
    package = importlib.import_module(f"{_HOME}.{kind}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(kind: str, name: str) -> Callable[..., Any]:
    """The `create` function of one back end.

    Raises:
        UsageError: when the package has no back end of that name.
        BackendMissing: when the library behind it is not installed.
    """
    if name not in names(kind):
        raise UsageError(f"{kind} {name!r} is unknown: expected one of {', '.join(names(kind))}")
    try:
        create = importlib.import_module(f"{_HOME}.{kind}.{name}").create
    except ImportError as error:
        raise BackendMissing(f"{kind} {name!r} needs {error.name or error}, which is not installed: pip install "
                             f"'alledge[{name}]' (or {error.name or 'that library'} alone)") from error
    return create


def stage(module: str) -> Any:
    """A module of a stage (`train.predict`, `device.cli` ...) by name, so that the core imports no stage."""
    return importlib.import_module(f"alledge.{module}")
