"""What makes a benchmark's figures worth less than they look: one sentence each, with the way out."""

from collections.abc import Iterator

from .watch import Conditions

DRIFT_MOST = 1.1  # last fifth over first fifth
OTHERS_MOST = 0.1  # share of all processor time that others may take
STOLEN_MOST = 0.02  # share that the host of a virtual machine may take
CLOCK_LEAST = 0.95  # of the highest clock; under "performance" it should never be less
HOT_CELSIUS = 80.0  # where a Raspberry Pi 4 and 5 begin to slow down (raspberrypi.com, frequency management)
FIELDS_LEAST = 100  # for a p99 that is not simply the slowest field
_IN_MEMORY = ("tmpfs", "ramfs", "rootfs")
_USB3 = 5000  # Mbit/s
_UNDER_POWERED = "under-voltage"


def doubts(held: Conditions, fields: int, drift: float | None) -> Iterator[str]:
    """Sentences on a measurement of so many steady fields; none when it may be published as it is."""
    yield from _clock(held)
    yield from _company(held)
    if drift is not None and not 1 / DRIFT_MOST <= drift <= DRIFT_MOST:
        yield (f"not steady: the last fifth of the fields took {drift:.2f} times what the first took; "
               f"{'cool it' if drift > 1 else 'use more --warm-up'}, and see with --seconds 600 where it settles")
    if held.filesystem in _IN_MEMORY:
        yield (f"results were written to memory ({held.filesystem}), which says nothing of a disk or card; configure "
               "[results] database on the disk that a device uses")
    if any(speed < _USB3 for speed in held.usb_mbit):
        yield (f"the Edge TPU is on a port of {min(held.usb_mbit)} Mbit/s, USB 2: its published figures are of USB 3; "
               "use a blue port and a USB 3 cable")
    if fields < FIELDS_LEAST:
        yield (f"{fields} fields are too few for a p99, which is close to their slowest; use --frames {FIELDS_LEAST} "
               "or more")


def _clock(held: Conditions) -> Iterator[str]:
    if held.slowed:
        yield (f"the machine slowed itself down ({', '.join(held.slowed)}): these are figures of a "
               f"{'supply' if _UNDER_POWERED in held.slowed else 'cooling'} fault, not of the board; "
               f"{'use its own power supply' if _UNDER_POWERED in held.slowed else 'cool it'} and measure again")
    if held.slowdowns:
        counts = ", ".join(f"{what} {times} times" for what, times in held.slowdowns.items())
        yield f"the hardware counted slowdowns while it was measured ({counts}): cool it, or give it a stronger supply"
    if held.slowed_before and not held.slowed:
        yield (f"before this, since the machine started, there was: {', '.join(held.slowed_before)}; it may come "
               "again, so restart and watch that it stays away")
    other = [name for name in held.governors if name != "performance"]
    if other:
        yield (f"the frequency governor is {', '.join(other)}, so the clock follows the load and no second run need be "
               "alike; `echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`")
    clocks, hot = held.seen("mhz"), max(held.seen("celsius"), default=0.0)
    if clocks and held.most_mhz and not other and min(clocks) < CLOCK_LEAST * held.most_mhz:
        yield (f"the clock fell to {min(clocks):.0f} of {held.most_mhz:.0f} MHz although the governor is performance: "
               "heat, supply or a power mode holds it back")
    if hot >= HOT_CELSIUS:
        yield f"it was {hot:.0f} °C hot; from {HOT_CELSIUS:.0f} °C a Raspberry Pi slows down: cool it"
    if not clocks and not hot:
        yield ("neither clock nor temperature can be read here, as in most virtual machines: nobody can tell whether "
               "it was slowed down")


def _company(held: Conditions) -> Iterator[str]:
    if held.others is not None and held.others > OTHERS_MOST:
        yield (f"other processes took {held.others:.0%} of the processors: every figure is too high, tails most of "
               "all; end them, and stop the daemon (`sudo systemctl stop alledge`)")
    if held.stolen is not None and held.stolen > STOLEN_MOST:
        yield f"the host of this virtual machine took {held.stolen:.0%} of its processors for others: measure elsewhere"
