"""What a machine tells about its own speed: clocks, heat, throttling, power. Linux's files, and two vendors' commands.

Formats: the kernel's Documentation/admin-guide/pm/cpufreq.rst, Documentation/driver-api/thermal/sysfs-api.rst,
Documentation/ABI/testing/sysfs-class-hwmon; Raspberry Pi's `vcgencmd get_throttled`; NVIDIA's Jetson Linux Developer
Guide (INA3221 rails, over-current counters, nvpmodel).
"""

import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alledge.errors import UsageError

from ..engine.coral import USB_IDS
from ..machine import ROOT, number, read

COMMAND_S = 5.0  # longest that a command is waited for
_THROTTLED = ("under-voltage", "clock capped by the firmware", "throttled", "soft temperature limit")  # bits 0-3
_SINCE_START = 16  # the same four, since the machine started, from this bit on
_INPUT_RAILS = ("VDD_IN", "POM_5V_IN")  # what a whole Orin Nano, or a whole Nano, draws
_CONSTANT_ZONE = "PMIC-Die"  # a Jetson's always says 50 or 100 degrees
_GPUS = ("*.gpu", "*.ga10b", "*.gv11b", "*.gp10b")  # a Jetson's, below sys/class/devfreq
_CPU_COOLING = re.compile("cpufreq|cpu-|processor|thermal-throttle", re.I)

Command = Callable[[Sequence[str]], str]


def output_of(command: Sequence[str]) -> str:
    """What a command prints; "" where there is none, or it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=COMMAND_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


@dataclass(frozen=True)
class Reading:
    """One moment of a machine; None for what it does not tell.

    Attributes:
        mhz: clock of the slowest processor; gpu_mhz: of a Jetson's GPU.
        celsius: of the hottest zone.
        watts: what the whole board draws.
        slowed: what holds its clock back just now.
    """

    mhz: float | None = None
    gpu_mhz: float | None = None
    celsius: float | None = None
    watts: float | None = None
    slowed: tuple[str, ...] = ()


class Sensors:
    """Of one machine.

    Args:
        root: where Linux's `sys` and `proc` are.
        command: runs a program and gives what it prints.
        power: a command of the user's that prints watts, for a meter that Linux knows nothing of.
    """

    def __init__(self, root: Path = ROOT, command: Command = output_of, power: Sequence[str] = ()) -> None:
        self._root, self._command, self._power = root, command, power
        cpus = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq"))
        self._clocks = [cpu / "scaling_cur_freq" for cpu in cpus]
        self.most_mhz = _least([_scaled(cpu / "cpuinfo_max_freq", 1e-3) for cpu in cpus])
        self._gpus = [gpu / "cur_freq" for name in _GPUS for gpu in root.glob(f"sys/class/devfreq/{name}")]
        self._zones = [zone / "temp" for zone in root.glob("sys/class/thermal/thermal_zone*")
                       if read(zone / "type") != _CONSTANT_ZONE]
        self._coolers = [cooler for cooler in root.glob("sys/class/thermal/cooling_device*")
                         if _CPU_COOLING.search(read(cooler / "type"))]
        self._meter = _meter(root)

    def read(self) -> Reading:
        """How the machine is now."""
        slowed = tuple(read(cooler / "type") for cooler in self._coolers if (number(cooler / "cur_state") or 0) > 0)
        return Reading(_least([_scaled(clock, 1e-3) for clock in self._clocks]),
                       _least([_scaled(gpu, 1e-6) for gpu in self._gpus]),
                       max(filter(None, (_scaled(zone, 1e-3) for zone in self._zones)), default=None),
                       self.watts(), tuple(sorted(set(slowed))))

    def watts(self) -> float | None:
        """What the board draws: as the user's command says, else as its own meter does."""
        if self._power:
            words = self._command(self._power).split()
            try:
                return float(words[0]) if words else None
            except ValueError:
                return None
        return self._meter()

    def firmware_flags(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What slows a Raspberry Pi down just now, and what has since it started."""
        found = re.search(r"throttled=(0x[0-9a-fA-F]+)", self._command(("vcgencmd", "get_throttled")))
        bits = int(found[1], 16) if found else 0
        return tuple(_names(bits)), tuple(_names(bits >> _SINCE_START))

    def slowdowns(self) -> dict[str, int]:
        """How often the hardware has slowed itself down since the machine started: what -> count."""
        heat = [number(file) for file in
                self._root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")]
        counts = {"processor too hot": int(sum(filter(None, heat)))} if heat else {}
        for file in sorted(self._root.glob("sys/class/hwmon/hwmon*/oc[0-9]*_event_cnt")):
            counts[f"over-current {file.name.split('_')[0]}"] = int(number(file) or 0)
        return counts

    def power_mode(self) -> str:
        """A Jetson's, e.g. "MAXN"; "" elsewhere."""
        found = re.search(r"NV Power Mode:\s*(\S+)", self._command(("nvpmodel", "-q")))
        return found[1] if found else ""

    def usb_mbit(self) -> list[int]:
        """Megabits a second of the port of each Edge TPU stick: 480 is USB 2, 5000 USB 3."""
        devices = sorted(self._root.glob("sys/bus/usb/devices/*/idVendor"))
        return [int(number(file.parent / "speed") or 0) for file in devices
                if f"{read(file)}:{read(file.with_name('idProduct'))}" in USB_IDS]


def sensors(power_command: str | None = None) -> Sensors:
    """Of this machine.

    Raises:
        UsageError: when the user's command for the power does not print a number.
    """
    found = Sensors(power=shlex.split(power_command or ""))
    if power_command is not None and found.watts() is None:
        raise UsageError(f"--power-command {power_command!r}: expected a command that prints watts, such as 3.2, "
                         f"received {output_of(shlex.split(power_command)).strip()[:40]!r}")
    return found


def _meter(root: Path) -> Callable[[], float | None]:
    """Watts of the rail that feeds the whole board, from its INA3221."""
    for label in root.glob("sys/class/hwmon/hwmon*/in[0-9]*_label"):
        if read(label) in _INPUT_RAILS:
            channel = label.name.removeprefix("in").removesuffix("_label")
            volts, amperes = label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input")
            return lambda: _product(_scaled(volts, 1e-3), _scaled(amperes, 1e-3))
    for name in root.glob("sys/bus/i2c/drivers/ina3221x/*/iio*device*/rail_name_*"):  # JetPack 4
        if read(name) in _INPUT_RAILS:
            power = name.with_name(f"in_power{name.name.rpartition('_')[2]}_input")
            return lambda: _scaled(power, 1e-3)
    return lambda: None


def _names(bits: int) -> list[str]:
    return [name for bit, name in enumerate(_THROTTLED) if bits >> bit & 1]


def _scaled(path: Path, unit: float) -> float | None:
    value = number(path)
    return None if value is None else value * unit


def _product(volts: float | None, amperes: float | None) -> float | None:
    return None if volts is None or amperes is None else volts * amperes


def _least(values: Sequence[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
