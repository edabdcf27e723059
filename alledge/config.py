"""A device's own settings: one TOML schema, checked as a whole before anything starts.

What belongs to a model (preprocessing, thresholds) travels in its bundle and has no key here.
"""

import os
import re
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from alledge.errors import UsageError
from alledge.note import check_note
from alledge.pooling import LEAST_FIELDS
from alledge.sample import check_sample_id

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SYSTEM_CONFIG = Path("/etc/alledge/config.toml")
SYSTEM_STATE = Path("/var/lib/alledge")


Whole = Annotated[int, Field(strict=True)]  # neither "3" nor true
Number = Annotated[float, Field(strict=True)]
Option = str | int | float | bool
_TOML = {"dict_type": "a table", "path_type": "a text", "tuple_type": "a list"}  # what pydantic calls by Python's names


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_nul(cls, value: Any, about: ValidationInfo) -> Any:
        """No file, device or host can be called so, and the system's own refusal is no sentence."""
        texts = value.values() if isinstance(value, dict) and about.field_name == "options" else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise ValueError(f"expected a text without the character NUL, received {value!r}")
        return value


def _sample_id(text: str) -> str:
    return check_sample_id(text) if text else ""


def _note(text: str) -> str:
    return check_note(text) if text else ""


def _public_key(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"expected 64 hex digits as `alledge keys show` prints them, received {text!r}")
    return text


def _broker(text: str) -> str:
    if not re.fullmatch(r"mqtts?://\S+", text):
        shown = text.rpartition("@")[2]  # not the password
        raise ValueError(f"expected a broker as mqtt://host/topic, received {shown!r}")
    return text


class BundleSettings(_Section):
    """`[bundle]`. path: bundle to run when the command line names none and none is installed.

    trusted_keys: public keys in 64 hex digits; when there are any, only bundles that one of them signed are run.
    board: this board's name; bundles that name others are refused.
    """

    path: Path | None = None
    trusted_keys: tuple[Annotated[str, AfterValidator(_public_key)], ...] = ()
    board: str = Field(default="", max_length=60)


class CameraSettings(_Section):
    """`[camera]`. uri: where fields come from, e.g. "file:///srv/smears" or "synthetic://?seed=1"."""

    uri: str | None = None


class EngineSettings(_Section):
    """`[engine]`. name: another engine than the bundle's own; threads: CPU threads it may use."""

    name: str | None = None
    threads: Whole = Field(default=1, ge=1, le=64)


class DisplaySettings(_Section):
    """`[display]`. name: a display of `alledge.device.display`, or "none"; options: what that one takes.

    rate: screens a second at most, always the newest result; 0 shows every result, and judging waits for it.
    """

    name: str | None = None
    rate: Number = Field(default=5.0, ge=0, le=60)
    options: dict[str, Option] = Field(default_factory=dict)


class TriggerSettings(_Section):
    """`[trigger]`. name: "gpio", "keyboard" or "interval", and without one every frame is judged; options: its own."""

    name: str | None = None
    options: dict[str, Option] = Field(default_factory=dict)


class SampleSettings(_Section):
    """`[sample]`. id: of the slide whose fields are taken first, without it the next number; least: conclusive fields
    that a sample's verdict takes.
    """

    id: Annotated[str, AfterValidator(_sample_id)] = ""
    least: Whole = Field(default=LEAST_FIELDS, ge=2, le=1000)


class LedSettings(_Section):
    """`[led]`. pin: BCM number of a status LED's pin, 2-27; none when left out."""

    pin: Whole | None = Field(default=None, ge=2, le=27)


class ResultSettings(_Section):
    """`[results]`. database: SQLite file; jsonl: a file of JSON lines beside it, "-" for standard output.

    archive: folder that keeps each frame and mask; quota: megabytes it may grow to; floor: megabytes that stay free
    where results go: with less, no field is captured. mqtt: a broker to which results are delivered when it is there.
    note: the operator's, kept beside every result.
    """

    database: Path | None = None
    jsonl: Path | None = None
    archive: Path | None = None
    quota: Whole | None = Field(default=None, ge=1)
    floor: Whole = Field(default=500, ge=0)
    mqtt: Annotated[str, AfterValidator(_broker)] | None = None
    note: Annotated[str, AfterValidator(_note)] = Field(default="", max_length=200)


class DeviceConfig(_Section):
    """Everything a device may be told; every key may be left out.

    Attributes:
        faults: dotted key -> what is wrong with it, in a file that `draft_config` read. Such a key is left out here, so
            that what is right can be used to show what is wrong; nothing else may be started (`device.conflicts`).
    """

    bundle: BundleSettings = BundleSettings()
    camera: CameraSettings = CameraSettings()
    engine: EngineSettings = EngineSettings()
    display: DisplaySettings = DisplaySettings()
    trigger: TriggerSettings = TriggerSettings()
    sample: SampleSettings = SampleSettings()
    led: LedSettings = LedSettings()
    results: ResultSettings = ResultSettings()
    _faults: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def faults(self) -> Mapping[str, str]:
        """See above; the key is empty when the whole file cannot be read."""
        return self._faults

    def with_faults(self, faults: Mapping[str, str]) -> "DeviceConfig":
        """The same with more faults."""
        copy = self.model_copy()
        copy._faults = {**self._faults, **faults}
        return copy

    @property
    def database(self) -> Path:
        """Where results go: as configured, else `results.db` in the state folder."""
        return self.results.database or state_folder() / "results.db"


def load_config(path: Path | None = None) -> DeviceConfig:
    """The configuration at `path`, else the system's, else the user's, else all defaults.

    Raises:
        UsageError: when a named file is missing, is not TOML, or holds unknown keys or wrong values (all listed).
    """
    config = draft_config(path)
    refuse(config)
    return config


def refuse(config: DeviceConfig) -> None:
    """Raise UsageError with all that was wrong with the file that a configuration came from."""
    if config.faults:
        raise UsageError("; ".join(config.faults.values()))


def draft_config(path: Path | None = None) -> DeviceConfig:
    """As `load_config`, but what is wrong with the file is left out and told in `faults`; nothing is raised."""
    if path is None:
        path = next((p for p in (SYSTEM_CONFIG, user_config()) if os.path.isfile(p)), None)
        if path is None:
            return DeviceConfig()
    try:
        plain = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        return DeviceConfig().with_faults({"": f"{path}: expected a configuration file, cannot read it "
                                               f"({error.strerror})"})
    except RecursionError:
        return DeviceConfig().with_faults({"": f"{path}: not valid TOML (too many brackets in each other)"})
    except ValueError as error:  # of the parser, of UTF-8, and of numbers of thousands of digits
        return DeviceConfig().with_faults({"": f"{path}: not valid TOML ({error})"})
    try:
        return DeviceConfig.model_validate(plain)
    except ValidationError as error:
        return _without_faults(path, plain, error)


def user_config() -> Path:
    """The user's own configuration file, whether or not it exists."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "alledge" / "config.toml"


def state_folder() -> Path:
    """Where results and installed models live: the system's when this user may write there, else the user's."""
    if os.path.isdir(SYSTEM_STATE) and os.access(SYSTEM_STATE, os.W_OK):
        return SYSTEM_STATE
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "alledge"


def _without_faults(path: Path, plain: dict[str, Any], error: ValidationError) -> DeviceConfig:
    """What is right of a file that is partly wrong; its first fault says which file it is."""
    rest, found = deepcopy(plain), dict[str, dict[str, None]]()
    for fault in error.errors():
        key = _key_of(plain, fault["loc"])
        found.setdefault(".".join(key), {})[_fault(key, fault)] = None
        _take_out(rest, key)
    faults = {key: "; ".join(said) for key, said in found.items()}
    first = next(iter(faults))
    return DeviceConfig.model_validate(rest).with_faults({**faults, first: f"{path}: {faults[first]}"})


def _key_of(plain: dict[str, Any], where: tuple[int | str, ...]) -> tuple[str, ...]:
    """The key that a fault is about; pydantic goes on to places in a list, and to what else a value might have been."""
    inner: Any = plain
    for depth, part in enumerate(where):
        if not isinstance(inner, dict) or part not in inner:
            return tuple(map(str, where[:depth]))
        inner = inner[part]
    return tuple(map(str, where))


def _take_out(plain: dict[str, Any], key: tuple[str, ...]) -> None:
    *sections, name = key
    for section in sections:
        plain = plain.get(section, {})
    plain.pop(name, None)


def _fault(key: tuple[str, ...], fault: Any) -> str:
    name, received = ".".join(key), f"received {fault['input']!r}"
    if fault["type"] == "extra_forbidden":
        return f"key {name} is unknown, allowed are {', '.join(_allowed(key[:-1]))}"
    if fault["type"] == "value_error":
        return f"{name}: {str(fault['ctx']['error']).removeprefix(name.replace('.', ' ') + ': ')}"
    if fault["type"] == "model_type":
        return f"{name}: expected a table [{name}] with {', '.join(_allowed(key))}, {received}"
    if fault["type"] in _TOML:
        return f"{name}: expected {_TOML[fault['type']]}, {received}"
    if "options" in key[:-1]:
        return f"{name}: expected a text, a number, true or false, {received}"
    return f"{name}: {fault['msg'][:1].lower()}{fault['msg'][1:]}, {received}"


def _allowed(section: tuple[str, ...]) -> list[str]:
    """Keys of a section; the sections themselves at the top."""
    model: type[BaseModel] = DeviceConfig
    for name in section:
        model = type(getattr(model(), name))
    return [".".join([*section, key]) for key in model.model_fields]
