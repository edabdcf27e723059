"""What this machine has, what is missing, and the exact command that mends it."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL

from alledge import backends
from alledge.bundle import Bundle
from alledge.config import DeviceConfig
from alledge.errors import AlledgeError, BackendMissing, UsageError

from . import machine, status_led
from .admission import open_bundle
from .archive import open_storage
from .engine import IN_A_CHILD, open_engine, stand_in
from .faults import EngineFault
from .selftest import replay

RELEASED = datetime(2025, 1, 1, tzinfo=timezone.utc)  # a clock before this was never set
LIBRARIES = {"tflite": ("ai-edge-litert", "tflite-runtime"), "onnx": ("onnxruntime",), "gpio": ("gpiozero",)}
UNIT, PROGRAM = Path("/etc/systemd/system/alledge.service"), Path("/opt/alledge/bin/python")
HOMES = ("/home", "/root", "/run/user")  # what ProtectHome=yes of the units makes empty
_AGAIN = "copy or convert the bundle again, or update alledge on this machine"
_GOOGLE_LINES = ("1.", "2.")  # versions of Google's pycoral; what PyPI has under that name is another project


@dataclass(frozen=True)
class Check:
    """One finding. fix: the command or action that mends it; needed: whether alledge cannot do without."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def examine(config: DeviceConfig) -> list[Check]:
    """Look at everything; with a bundle configured, its goldens too. Never raises for what it looks for."""
    about = machine.describe()
    found = [
        Check("machine", True, f"{about['board'] or about['cpu']}, {about['cores']} cores, {about['os']}"),
        Check("python", sys.version_info >= (3, 10), str(about["python"]), "install Python 3.10 or later", True),
        Check("libraries", True, f"numpy {np.__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}"),
        *_engines(),
        *(_backend(kind, name, config) for kind in ("camera", "display", "sink", "trigger")
          for name in backends.names(kind)),
        _led(config),
        *_impostor(),
        *_service(),
        _disk(config),
        _clock(),
    ]
    return found if config.bundle.path is None else [*found, *_goldens(config)]


def judge(checks: Sequence[Check]) -> None:
    """Raise when something needed is missing.

    Raises:
        AlledgeError: naming it and what mends it.
    """
    missing = [c for c in checks if c.needed and not c.ok]
    if missing:
        raise AlledgeError(f"this machine is not ready: {'; '.join(f'{c.name}: {c.found}' for c in missing)}; "
                           f"first: {missing[0].fix}")


def table(checks: Sequence[Check]) -> list[str]:
    """The findings for a person."""
    lines = []
    for check in checks:
        mark = "ok" if check.ok else "MISSING" if check.needed else "absent"
        lines.append(f"{mark:<8} {check.name:<28} {check.found}")
        if not check.ok and check.fix:
            lines.append(f"{'':<8} {'':<28} -> {check.fix}")
    return lines


def _engines() -> list[Check]:
    """Each engine on its own may be absent, but one must be there."""
    checks = [_backend("engine", name, DeviceConfig()) for name in backends.names("engine")]
    present = [c.name.removeprefix("engine ") for c in checks if c.ok]
    return [*checks, Check("an engine", bool(present), ", ".join(present) or "none", "pip install 'alledge[device]'",
                           True)]


def _backend(kind: str, name: str, config: DeviceConfig) -> Check:
    """One back end, needed when it is the configured one, and then with its configured options."""
    uri = (config.camera.uri or "").partition("://")[0]
    chosen = {"camera": uri, "display": config.display.name, "trigger": config.trigger.name}.get(kind) == name
    return replace(_found(kind, name, _options(kind, config) if chosen else {}), needed=chosen)


def _options(kind: str, config: DeviceConfig) -> Mapping[str, object]:
    return {"display": config.display.options, "trigger": config.trigger.options}.get(kind, {})


def _found(kind: str, name: str, options: Mapping[str, object]) -> Check:
    """A back end that has an extra of its name needs it; what the others need comes with alledge."""
    versions = [f"{library} {v}" for library in LIBRARIES.get(name, ()) if (v := _version(library))]
    try:
        create = backends.load(kind, name)
        present = getattr(sys.modules[create.__module__], "present", None)
        found = None if present is None else ", ".join(present())
        lack = backends.missing(kind, name, options) if kind in ("display", "trigger") else None
    except UsageError as error:
        return Check(f"{kind} {name}", False, str(error), "set it right in the configuration; docs/displays.md")
    except EngineFault as error:
        return Check(f"{kind} {name}", False, f"{error.fault.says} ({error.detail})", error.fault.remedy)
    except BackendMissing as error:
        if error.fix:
            return Check(f"{kind} {name}", False, str(error).removesuffix(f": {error.fix}"), error.fix)
        extra = name in (metadata.metadata("alledge").get_all("Provides-Extra") or ())
        fix = f"pip install 'alledge[{name}]'" if extra else "pip install --force-reinstall alledge"
        return Check(f"{kind} {name}", False, str(error), fix)
    if lack is not None:
        return Check(f"{kind} {name}", False, lack.what, lack.remedy)
    if found is not None:  # what is plugged in, where the back end can tell
        return Check(f"{kind} {name}", bool(found), found or "none is plugged in", "plug it in, then look again")
    return Check(f"{kind} {name}", True, ", ".join(versions) or "built in")


def _led(config: DeviceConfig) -> Check:
    """The status LED; none can be seen, but its pins can."""
    lack, pin = status_led.missing(), config.led.pin
    if lack is not None:
        return Check("status LED", False, lack.what, lack.remedy, pin is not None)
    return Check("status LED", True, "none in the configuration, pins can be reached" if pin is None else f"GPIO{pin}")


def _impostor() -> list[Check]:
    """PyPI's `pycoral` is not Google's and does not drive an Edge TPU."""
    version = _version("pycoral")
    if not version or version.startswith(_GOOGLE_LINES):
        return []
    return [Check("pycoral", False, f"{version} from PyPI is an unrelated project, not Google's Edge TPU library",
                  "pip uninstall pycoral")]


def _service() -> list[Check]:
    """Where the units are installed: do they see the program? They see no home folder, and a virtual environment made
    with a Python that lies in one (pyenv, uv, conda) starts for its user and not for them.
    """
    if not UNIT.exists():
        return []
    python = PROGRAM.resolve()
    seen, fix = python.exists(), f"make {PROGRAM.parents[1]} with the system's Python: docs/daemon.md, `The units`"
    if any(python.is_relative_to(home) for home in HOMES):
        return [Check("program of the units", False, f"{python} lies in a home folder: hidden from them", fix, True)]
    return [Check("program of the units", seen, str(python) if seen else f"{PROGRAM} is not there", fix, True)]


def _disk(config: DeviceConfig) -> Check:
    """What `alledge run` asks before each field."""
    storage = open_storage(config)
    free = " and ".join(f"{shutil.disk_usage(place).free / 1e9:.1f} GB free at {place}" for place in storage.places)
    fault = storage.fault()
    return Check("disk for results", fault is None, free if fault is None else f"{fault.says}: {free}",
                 f"free {config.results.floor} MB there, or set another [results] floor, quota or place", True)


def _clock() -> Check:
    now = datetime.now(timezone.utc)
    return Check("clock", now >= RELEASED, now.isoformat(timespec="seconds"), "sudo timedatectl set-ntp true")


def _goldens(config: DeviceConfig) -> list[Check]:
    """The bundle's goldens on its engine, and on the one that would stand in for it."""
    name = f"goldens of {config.bundle.path}"
    try:
        bundle = open_bundle(config.bundle.path or Path(), config.bundle)
    except AlledgeError as error:
        return [Check(name, False, str(error), _AGAIN, True)]
    chosen = config.engine.name or bundle.manifest.engine
    checks = [_replayed(name, bundle, config.engine.name, config.engine.threads)]
    if chosen in IN_A_CHILD:
        spare = stand_in(bundle.manifest, chosen)
        aboard = Check("", False, "the bundle carries no model for a CPU", _AGAIN) if spare is None else \
            _replayed("", bundle, spare, config.engine.threads)
        checks.append(replace(aboard, name="stand-in on the CPU", needed=False))
    return checks


def _replayed(name: str, bundle: Bundle, engine_name: str | None, threads: int) -> Check:
    try:
        with closing(open_engine(bundle, engine_name, threads)) as engine:
            faults = replay(bundle, engine)
            found = faults[0] if faults else f"{len(bundle.manifest.goldens)} reproduced on {engine.name}"
            found += f"; {bundle.caveat} in conversion" if bundle.caveat else ""
    except BackendMissing as error:  # its sentence names the way out
        fix = error.fix or "convert for another target, or name an [engine] that is here"
        return Check(name, False, str(error).removesuffix(f": {error.fix}"), fix, True)
    except EngineFault as error:
        return Check(name, False, f"{error.fault.says} ({error.detail})", error.fault.remedy, True)
    except AlledgeError as error:
        faults, found = [str(error)], str(error)
    return Check(name, not faults, found, _mended(bundle, engine_name), True)


def _mended(bundle: Bundle, engine_name: str | None) -> str:
    """What to do about a bundle that does not run here. One that no compiler has seen is as good as it can be."""
    if (engine_name or bundle.manifest.engine) != "coral" or bundle.manifest.compiled:
        return _AGAIN
    return (f"alledge convert --finish {bundle.path} (on x86-64 Linux with Google's compiler); until then the CPU: "
            "`alledge run --engine tflite`, or name = \"tflite\" under [engine]")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
