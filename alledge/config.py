"""A device's own settings: one TOML schema, checked as a whole before anything starts.

What belongs to a model (preprocessing, thresholds) travels in its bundle and has no key here.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from alledge.errors import UsageError
from alledge.pooling import LEAST_FIELDS
from alledge.sample import check_sample_id

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SYSTEM_CONFIG = Path("/etc/alledge/config.toml")
SYSTEM_STATE = Path("/var/lib/alledge")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _sample_id(text: str) -> str:
    return check_sample_id(text) if text else ""


class BundleSettings(_Section):
    """`[bundle]`. path: bundle to run when the command line names none and none is installed.

    trusted_keys: public keys in 64 hex digits; when there are any, only bundles that one of them signed are run.
    board: this board's name; bundles that name others are refused.
    """

    path: Path | None = None
    trusted_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()
    board: str = Field(default="", max_length=60)


class CameraSettings(_Section):
    """`[camera]`. uri: where fields come from, e.g. "file:///srv/smears" or "synthetic://?seed=1"."""

    uri: str | None = None


class EngineSettings(_Section):
    """`[engine]`. name: another engine than the bundle's own; threads: CPU threads it may use."""

    name: str | None = None
    threads: int = Field(default=1, ge=1, le=64)


class DisplaySettings(_Section):
    """`[display]`. name: a display of `alledge.device.display`, or "none"; options: what that one takes.

    rate: screens a second at most, always the newest result; 0 shows every result, and judging waits for it.
    """

    name: str | None = None
    rate: float = Field(default=5.0, ge=0, le=60)
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


class TriggerSettings(_Section):
    """`[trigger]`. name: "gpio", "keyboard" or "interval", and without one every frame is judged; options: its own."""

    name: str | None = None
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


class SampleSettings(_Section):
    """`[sample]`. id: of the slide whose fields are taken first, without it the next number; least: conclusive fields
    that a sample's verdict takes.
    """

    id: Annotated[str, AfterValidator(_sample_id)] = ""
    least: int = Field(default=LEAST_FIELDS, ge=2, le=1000)


class LedSettings(_Section):
    """`[led]`. pin: BCM number of a status LED's pin, 2-27; none when left out."""

    pin: int | None = Field(default=None, ge=2, le=27)


class ResultSettings(_Section):
    """`[results]`. database: SQLite file; jsonl: a file of JSON lines beside it, "-" for standard output.

    archive: folder that keeps each frame and mask; quota: megabytes it may grow to; floor: megabytes that stay free
    where results go: with less, no field is captured. mqtt: a broker to which results are delivered when it is there.
    note: the operator's, kept beside every result.
    """

    database: Path | None = None
    jsonl: Path | None = None
    archive: Path | None = None
    quota: int | None = Field(default=None, ge=1)
    floor: int = Field(default=500, ge=0)
    mqtt: str | None = Field(default=None, pattern=r"^mqtts?://\S+$")
    note: str = Field(default="", max_length=200)


class DeviceConfig(_Section):
    """Everything a device may be told; every key may be left out."""

    bundle: BundleSettings = BundleSettings()
    camera: CameraSettings = CameraSettings()
    engine: EngineSettings = EngineSettings()
    display: DisplaySettings = DisplaySettings()
    trigger: TriggerSettings = TriggerSettings()
    sample: SampleSettings = SampleSettings()
    led: LedSettings = LedSettings()
    results: ResultSettings = ResultSettings()

    @property
    def database(self) -> Path:
        """Where results go: as configured, else `results.db` in the state folder."""
        return self.results.database or state_folder() / "results.db"


def load_config(path: Path | None = None) -> DeviceConfig:
    """The configuration at `path`, else the system's, else the user's, else all defaults.

    Raises:
        UsageError: when a named file is missing, is not TOML, or holds unknown keys or wrong values (all listed).
    """
    if path is None:
        path = next((p for p in (SYSTEM_CONFIG, user_config()) if os.path.isfile(p)), None)
        if path is None:
            return DeviceConfig()
    try:
        return DeviceConfig.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: expected a configuration file, cannot read it ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML ({error})") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {'; '.join(_fault(f) for f in error.errors())}") from error


def user_config() -> Path:
    """The user's own configuration file, whether or not it exists."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "alledge" / "config.toml"


def state_folder() -> Path:
    """Where results and installed models live: the system's when this user may write there, else the user's."""
    if os.path.isdir(SYSTEM_STATE) and os.access(SYSTEM_STATE, os.W_OK):
        return SYSTEM_STATE
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "alledge"


def _fault(fault: Any) -> str:
    where = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        return f"key {'.'.join(where)} is unknown, allowed are {', '.join(_allowed(where[:-1]))}"
    return f"{'.'.join(where)}: {fault['msg'][:1].lower()}{fault['msg'][1:]}, received {fault['input']!r}"


def _allowed(section: list[str]) -> list[str]:
    """Keys of a section; the sections themselves at the top."""
    model: type[BaseModel] = DeviceConfig
    for name in section:
        model = type(getattr(model(), name))
    return [".".join([*section, key]) for key in model.model_fields]
