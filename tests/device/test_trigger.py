"""Buttons, keys and beats: each kind of press, through the real gpiozero (mock pins), a real terminal, a clock."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alledge.bundle import Bundle
from alledge.device.status_led import Light, StatusLed
from alledge.device.trigger import Press, open_trigger
from alledge.device.trigger._contact import Contact
from alledge.device.trigger.interval import IntervalTrigger
from alledge.device.trigger.keyboard import KeyboardTrigger
from alledge.errors import BackendMissing, UsageError

gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'alledge[gpio]'")
DEBOUNCE, LONG = 0.03, 1.5


def told(edges: list[tuple[float, bool]], until: float = 10.0, step: float | None = None) -> list[tuple[float, Press]]:
    """(time, press) that a contact tells of edges, asked at every edge and every `step` seconds between."""
    contact, presses = Contact(DEBOUNCE, LONG), []
    looks = [] if step is None else [i * step for i in range(int(until / step))]
    for at, pressed in sorted([*((at, None) for at in looks), *edges, (until, None)], key=lambda e: e[0]):
        if pressed is not None:
            contact.edge(pressed, at)
        while (press := contact.press(at)) is not None:
            presses.append((at, press))
    return presses


def kinds(edges: list[tuple[float, bool]]) -> list[Press]:
    return [press for _, press in told(edges)]


def bounce(at: float, level: bool, times: int = 5, gap: float = 0.004) -> list[tuple[float, bool]]:
    """A contact that settles on a level after bouncing."""
    return [(at + i * gap, level if i % 2 == 0 else not level) for i in range(2 * times + 1)]


@pytest.mark.parametrize(("edges", "wanted"), [
    ([(1, True), (1.2, False)], [Press.FIELD]),
    ([*bounce(1, True), *bounce(1.2, False)], [Press.FIELD]),
    ([(1, True), (1.02, False)], []),  # a spark
    ([(1, True), (1.2, False), (1.21, True), (1.4, False)], [Press.FIELD]),  # let go for less than the debounce time
    ([(1, True), (1.2, False), (1.3, True), (1.5, False)], [Press.FIELD] * 2),
    ([(1, True), (3, False)], [Press.CLOSE_SAMPLE]),
    ([*bounce(1, True), *bounce(3, False)], [Press.CLOSE_SAMPLE]),
    ([(1, True), (2.49, False)], [Press.FIELD]),  # let go just before it was long
    ([(1, True), (1.7, False), (1.71, True), (2.6, False)], [Press.CLOSE_SAMPLE]),  # a bounce does not start it anew
    ([(1, True)], [Press.CLOSE_SAMPLE]),  # told while it is still held, and once
    ([(1, False), (2, True), (2, True), (2.5, False), (2.6, False)], [Press.FIELD]),
])
def test_contact(edges: list[tuple[float, bool]], wanted: list[Press]) -> None:
    assert kinds(edges) == wanted


def test_a_long_press_is_told_while_it_is_held() -> None:
    assert told([(1, True), (9, False)], step=0.01) == [(pytest.approx(1 + LONG, abs=0.011), Press.CLOSE_SAMPLE)]


@given(st.lists(st.tuples(st.floats(0.0005, 0.2), st.floats(0.0005, 0.2)), max_size=20), st.booleans())
def test_contact_tells_the_same_however_often_it_is_asked(gaps: list[tuple[float, float]], often: bool) -> None:
    edges, at = [], 0.0
    for up, down in gaps:
        edges += [(at + up, True), (at + up + down, False)]
        at += up + down
    assert [p for _, p in told(edges, step=0.01 if often else 0.5)] == kinds(edges)
    settled = sum(down >= DEBOUNCE for _, down in gaps)
    assert len(kinds(edges)) <= settled + sum(up < DEBOUNCE for up, _ in gaps)  # no press out of nothing


def test_contact_says_when_to_look_again() -> None:
    contact = Contact(DEBOUNCE, LONG)
    assert contact.next_look == float("inf")
    contact.edge(True, 1)
    assert contact.next_look == pytest.approx(1 + DEBOUNCE)
    assert contact.press(1.1) is None
    assert contact.next_look == pytest.approx(1 + LONG)
    assert contact.press(3) == Press.CLOSE_SAMPLE
    assert contact.next_look == float("inf")


@pytest.fixture
def pins() -> Iterator[object]:
    """gpiozero's stand-in pins; real gpiozero devices on them."""
    from gpiozero.pins.mock import MockFactory

    gpiozero.Device.pin_factory = MockFactory()
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.reset()
    gpiozero.Device.pin_factory = None


def test_gpio_button(pins: "gpiozero.pins.mock.MockFactory") -> None:
    with closing(open_trigger("gpio", {"pin": 22, "debounce": 0.1, "long_press": 0.5})) as trigger:
        pin = pins.pin(22)
        assert trigger.wait(0.02) is None
        for _ in range(3):  # bounces
            pin.drive_low()
            pin.drive_high()
        pin.drive_low()
        time.sleep(0.2)
        pin.drive_high()
        assert trigger.wait(1) == Press.FIELD  # made while nobody waited, and only one of it
        assert trigger.wait(0.05) is None
        pin.drive_low()
        start = time.monotonic()
        assert trigger.wait() == Press.CLOSE_SAMPLE
        assert time.monotonic() - start >= 0.45
        pin.drive_high()
        assert trigger.wait(0.05) is None
    with closing(open_trigger("gpio", {"pin": 22})):  # given back
        pass


def test_gpio_button_to_3v3_and_one_held_from_the_start(pins: "gpiozero.pins.mock.MockFactory") -> None:
    pin = pins.pin(17)
    pin.drive_low()
    with closing(open_trigger("gpio", {"pull_up": False, "debounce": 0.03})) as trigger:
        pin.drive_high()
        time.sleep(0.1)
        pin.drive_low()
        assert trigger.wait(1) == Press.FIELD


def test_a_pin_serves_one_device_only(pins: object) -> None:
    with (closing(open_trigger("gpio", {"pin": 17})),
          pytest.raises(UsageError, match="GPIO17 cannot serve the status LED")):
        StatusLed(17)


def test_no_pins_is_one_sentence_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nothing")
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BackendMissing, match=r"'gpio': .*(is there|may not use|cannot be reached).*: "):
            open_trigger("gpio")


def test_status_led(pins: "gpiozero.pins.mock.MockFactory") -> None:
    with closing(StatusLed(5)) as led:
        pin = pins.pin(5)
        assert not pin.state
        led.show(Light.READY)
        assert pin.state
        led.show(Light.FAULT)
        time.sleep(0.35)
        changes = len(pin.states)
        led.show(Light.FAULT)  # goes on blinking
        assert changes >= 4
        led.show(Light.READY)
        assert pin.state
    assert not pin.state


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_interval_keeps_its_beat_and_catches_nothing_up() -> None:
    clock = Clock()
    trigger = IntervalTrigger(5, clock, clock.sleep)
    assert (trigger.wait(), clock.now) == (Press.FIELD, 100)
    clock.now += 1.5
    assert trigger.wait(2) is None
    assert clock.now == 103.5
    assert (trigger.wait(2), clock.now) == (Press.FIELD, 105)
    clock.now += 12  # the beats of 110 and 115 went by
    assert (trigger.wait(), clock.now) == (Press.FIELD, 117)
    assert (trigger.wait(), clock.now) == (Press.FIELD, 120)
    assert trigger.wait(0) is None
    trigger.close()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A real pseudo-terminal: the user's end and the program's."""
    user, program = pty.openpty()
    yield user, program
    for end in (user, program):
        with suppress(OSError):
            os.close(end)


def test_keyboard_keys(terminal: tuple[int, int]) -> None:
    user, program = terminal
    before = termios.tcgetattr(program)
    with closing(KeyboardTrigger(program)) as trigger:
        assert trigger.wait(0.01) is None
        assert not termios.tcgetattr(program)[3] & (termios.ECHO | termios.ICANON)
        os.write(user, b"x \x1b[Asq\n")
        assert [trigger.wait(1) for _ in range(4)] == [Press.FIELD, Press.CLOSE_SAMPLE, Press.STOP, Press.FIELD]
        os.write(user, b"abc")
        assert trigger.wait(0.05) is None
    assert termios.tcgetattr(program) == before


def test_keyboard_that_goes_away_says_stop(terminal: tuple[int, int]) -> None:
    user, program = terminal
    with closing(KeyboardTrigger(program)) as trigger:
        os.close(user)
        assert trigger.wait(5) == Press.STOP


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "raise ValueError", "import os; os.kill(os.getpid(), 2)"])
def test_the_terminal_gets_its_mode_back_however_the_program_ends(terminal: tuple[int, int], end: str) -> None:
    _, program = terminal
    before = termios.tcgetattr(program)
    code = f"from alledge.device.trigger import open_trigger; open_trigger('keyboard').wait(0)\n{end}"
    done = subprocess.run([sys.executable, "-c", code], stdin=program, capture_output=True, check=False)
    assert done.returncode not in (0, 2)
    assert termios.tcgetattr(program) == before


@pytest.mark.parametrize(("camera", "ends"), [
    ("synthetic://?size=96", b" \x03"),  # Ctrl-C, as a terminal sends it
    ("synthetic://?size=96", b" \x03\x03"),
    ("synthetic://?size=96", signal.SIGTERM),
    ("file:///nowhere", b""),  # a run that ends by an error after the keys were taken
])
def test_a_run_gives_the_terminal_back_however_it_ends(camera: str, ends: bytes | signal.Signals, tmp_path: Path,
                                                       onnx_bundle: Bundle, terminal: tuple[int, int]) -> None:
    user, program = terminal
    before = termios.tcgetattr(program)
    command = [sys.executable, "-m", "alledge", "run", onnx_bundle.path, "--camera", camera, "--trigger", "keyboard",
               "--results", tmp_path / "r.db"]
    process = subprocess.Popen(command, stdin=program, stdout=program, stderr=program, start_new_session=True,
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                               env={**os.environ, "TERM": "xterm"})
    said = b""
    while ends and termios.tcgetattr(program) == before:  # until the keys are taken
        said += os.read(user, 65536)
    if isinstance(ends, bytes):
        os.write(user, ends)
    else:
        process.send_signal(ends)
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:  # somebody has to read, or it cannot write on
        if select.select([user], [], [], 0.05)[0]:
            said += os.read(user, 65536)
    assert process.poll() is not None
    assert termios.tcgetattr(program) == before
    while select.select([user], [], [], 0.2)[0]:
        said += os.read(user, 65536)
    assert said.rfind(b"\x1b[?25h") > said.rfind(b"\x1b[?25l")  # the cursor, too


def test_no_keyboard_without_a_terminal() -> None:
    code = "from alledge.device.trigger import open_trigger; open_trigger('keyboard')"
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    assert "needs a terminal, and stdin is none" in done.stderr


@pytest.mark.parametrize(("name", "options", "said"), [
    ("interval", {"seconds": 0}, "option seconds: input should be greater than or equal to 0.1, received 0"),
    ("interval", {"seconds": "5"}, "option seconds: input should be a valid number, received '5'"),
    ("gpio", {"pin": 40, "debounce": True, "colour": 1}, "option pin: .*received 40; option debounce: .*received True; "
                                                         "option colour is unknown, expected pin, pull_up, debounce"),
    ("keyboard", {"key": "x"}, "option key is unknown, expected no options at all"),
    ("foot", {}, "trigger 'foot' is unknown: expected one of gpio, interval, keyboard"),
])
def test_wrong_options_are_all_named(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_trigger(name, options)


