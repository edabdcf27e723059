"""Find a back end by its file name and import just that one.

A kind of back end is a package under `alledge.device` (camera, engine, display, sink, trigger) whose `__init__` holds
a Protocol. Each other file in it is one back end: the file's name is the back end's name, and its function `create`
makes one. Adding a back end is adding a file.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from alledge.errors import BackendMissing, UsageError

_HOME = "alledge.device"


@dataclass(frozen=True)
class Lack:
    """Why a back end cannot work on this machine, and the command or the action that mends it."""

    what: str
    remedy: str


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
    except BackendMissing:
        raise  # it knows better than pip where its library comes from
    except ImportError as error:
        raise BackendMissing(f"{kind} {name!r} needs {error.name or error}, which is not installed: pip install "
                             f"'alledge[{name}]'") from error
    return create


def options_of(kind: str, name: str) -> type[BaseModel]:
    """The options of one back end, as the parameters of its `create` declare them; unknown ones are refused.

    Raises:
        UsageError: when the package has no back end of that name.
        BackendMissing: when the library behind it is not installed.
    """
    make = load(kind, name)
    types = get_type_hints(make, include_extras=True)
    fields: dict[str, Any] = {p.name: (types[p.name], ... if p.default is p.empty else p.default)
                              for p in inspect.signature(make).parameters.values()}
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True, frozen=True), **fields)


def check(kind: str, name: str, options: Mapping[str, object]) -> dict[str, Any]:
    """All options of a back end, those that were not given at their defaults. Nothing is opened.

    Raises:
        UsageError: for unknown options and values it cannot use, all in one sentence.
        BackendMissing: when the library behind it is not installed.
    """
    known = options_of(kind, name)
    try:
        return dict(known.model_validate(options))
    except ValidationError as error:
        allowed = ", ".join(known.model_fields) or "no options at all"
        raise UsageError(f"{kind} {name!r}: {'; '.join(_fault(f, allowed) for f in error.errors())}") from error


def missing(kind: str, name: str, options: Mapping[str, object]) -> Lack | None:
    """What this machine lacks for a back end, as the `missing` in its file finds (none there: nothing is needed).

    Raises:
        UsageError, BackendMissing: as `check`.
    """
    known = check(kind, name, options)
    look = getattr(importlib.import_module(f"{_HOME}.{kind}.{name}"), "missing", None)
    return look(**known) if look else None


def create(kind: str, name: str, options: Mapping[str, object]) -> Any:
    """Make a back end, once its options are known to be right and nothing is missing.

    Raises:
        UsageError: as `check`.
        BackendMissing: when its library, or the hardware it needs, is not on this machine; and what `create` raises.
    """
    lack = missing(kind, name, options)
    if lack:
        raise BackendMissing(f"{kind} {name!r}: {lack.what}: {lack.remedy}")
    return load(kind, name)(**check(kind, name, options))


def _fault(fault: Any, allowed: str) -> str:
    option = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"option {option} is unknown, expected {allowed}"
    if fault["type"] == "missing":
        return f"option {option} has to be given"
    return f"option {option}: {fault['msg'][:1].lower()}{fault['msg'][1:]}, received {fault['input']!r}"


def stage(module: str) -> Any:
    """A module of a stage (`train.predict`, `device.cli` ...) by name, so that the core imports no stage."""
    return importlib.import_module(f"alledge.{module}")
