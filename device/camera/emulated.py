"""A camera with faults on order, around any other one: for tests and demos. Every frame says that it is emulated.

`emulated://black@3-5,stalled@8s-12s/synthetic://?seed=1`: after the scheme, which fault from when to when, then the
URI of the camera that gives the pictures. Faults have the names of `FAULTS` without `camera-`. `3-5` counts fields from
1, both ends included, and a refused opening counts like a field; `8s-12s` are seconds since the first opening. Without
an end it is that one field or that one second.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from alledge.errors import CameraError, UsageError

from ..faults import CameraFault
from . import Camera, Frame, _damage, check_camera
from . import opener as camera_opener

HOLD_S = 5.0  # how long a stalled read blocks, unless its seconds are over earlier
_OLD_S = 10.0
_TROUBLE = ("stalled", "disconnected", "failed", "unsettled", "stale")
FAULTS = (*_TROUBLE, "frozen", *_damage.DAMAGE)
_RULE = re.compile(r"(?P<fault>[a-z-]+)@(?P<first>\d+)(?P<unit>s?)(?:-(?P<last>\d+)(?P=unit))?")


@dataclass(frozen=True)
class Order:
    """One fault, from when to when: numbers of fields, or seconds."""

    fault: str
    first: int
    last: int
    seconds: bool

    def on(self, field: int, elapsed_s: float) -> bool:
        """Whether it is time."""
        return self.first <= elapsed_s < self.last if self.seconds else self.first <= field <= self.last


def create(rest: str) -> Camera:
    """Open `emulated://` followed by faults and another camera's URI.

    Raises:
        UsageError: for an unknown fault or range, or whatever that URI has wrong.
        CameraError: when that camera cannot be opened.
    """
    return opener(rest)()


def opener(rest: str) -> Callable[[], Camera]:
    """What opens it again and again; fields and time run on in between, as a real device's do."""
    return _Device(parse(rest), camera_opener(rest.partition("/")[2])).open


def parse(rest: str) -> tuple[Order, ...]:
    """What is ordered by `emulated://` + rest.

    Raises:
        UsageError: for all in it that cannot be used, that of the camera within included.
        BackendMissing: when that camera's library is not installed.
    """
    wanted, _, uri = rest.partition("/")
    rules = [rule for rule in wanted.split(",") if rule]
    faults = [f"{rule!r} {fault}" for rule in rules if (fault := _fault_of(rule))]
    try:
        check_camera(uri)
    except UsageError as error:
        faults.append(str(error))
    if faults:
        raise UsageError(f"camera 'emulated://{rest}': {'; '.join(faults)}")
    return tuple(_order(rule) for rule in rules)


def _fault_of(rule: str) -> str:
    found = _RULE.fullmatch(rule)
    if found is None or found["fault"] not in FAULTS:
        return (f"is not understood, expected FAULT@FIRST-LAST (fields) or FAULT@FROMs-TOs (seconds), FAULT one of "
                f"{', '.join(FAULTS)}")
    return "ends before it begins" if found["last"] and int(found["last"]) < int(found["first"]) else ""


def _order(rule: str) -> Order:
    found = _RULE.fullmatch(rule)
    assert found is not None
    first, seconds = int(found["first"]), bool(found["unit"])
    return Order(found["fault"], first, int(found["last"] or first + seconds), seconds)


class _Device:
    """What goes on whether or not anybody holds it open: its fields are counted, its time passes."""

    def __init__(self, orders: tuple[Order, ...], open: Callable[[], Camera]) -> None:
        self._orders, self._open = orders, open
        self._field = 0
        self._since: float | None = None
        self.taken: Frame | None = None
        self.sent: Frame | None = None

    def open(self) -> "EmulatedCamera":
        if self._since is None:
            self._since = time.monotonic()
        if "disconnected" in self._on(self._field + 1):
            self._field += 1
            raise CameraError("emulated: there is no such device")
        return EmulatedCamera(self, self._open())

    def next_field(self) -> tuple[int, tuple[str, ...]]:
        """Its number and the faults on it."""
        self._field += 1
        return self._field, self._on(self._field)

    def hold(self, field: int) -> None:
        """Block as a driver does that waits for a frame, and then gives up."""
        end = time.monotonic() + HOLD_S
        while "stalled" in self._on(field):
            if time.monotonic() > end:
                raise CameraFault("camera-stalled", "emulated")
            time.sleep(0.01)

    def _on(self, field: int) -> tuple[str, ...]:
        elapsed = time.monotonic() - (self._since or 0.0)
        return tuple(order.fault for order in self._orders if order.on(field, elapsed))


class EmulatedCamera:
    """Passes frames on, and does to them and to its reader what was ordered."""

    def __init__(self, device: _Device, inner: Camera) -> None:
        self._device, self._inner = device, inner

    def read(self) -> Frame | None:
        """The next frame, spoiled as ordered."""
        field, faults = self._device.next_field()
        _fail(self._device, field, faults)
        frame = self._inner.read()
        if frame is None:
            return None
        device = self._device
        rgb = _spoiled(frame.rgb, (device.taken or frame).rgb, faults)
        if "frozen" in faults:
            rgb = (device.sent or frame).rgb
        sent = replace(frame, rgb=rgb, encoded=frame.encoded if rgb is frame.rgb else b"",
                       exposed_at=time.monotonic() - _OLD_S if "stale" in faults else frame.exposed_at)
        device.taken, device.sent = frame, sent
        return replace(sent, metadata={
            **frame.metadata, "source": f"emulated: {frame.metadata.get('source', '')}",
            "emulated": ", ".join(faults) or "no fault"})

    def close(self) -> None:
        """Close the camera within."""
        self._inner.close()


def _spoiled(rgb: _damage.Pixels, before: _damage.Pixels, faults: tuple[str, ...]) -> _damage.Pixels:
    for fault, spoil in _damage.DAMAGE.items():
        if fault in faults:
            rgb = spoil(rgb, before)
    return rgb


def _fail(device: _Device, field: int, faults: tuple[str, ...]) -> None:
    if "stalled" in faults:
        device.hold(field)
    if "disconnected" in faults:
        raise CameraError("emulated: the device is gone")
    if "failed" in faults:
        raise RuntimeError("emulated: the driver fails")
    if "unsettled" in faults:
        raise CameraFault("camera-unsettled", "emulated")
