"""A watched camera names every fault, gives no faulty frame out, and comes back by itself."""

import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from alledge.device.camera import Camera, Frame, FrameError, FrameFault, _damage, open_camera
from alledge.device.camera.emulated import FAULTS as EMULATED
from alledge.device.faults import FAULTS, CameraFault
from alledge.device.pixels import Seen, fault_of, measure
from alledge.device.watched import Patience, WatchedCamera, open_watched
from alledge.errors import CameraError, UsageError
from alledge.images import write_png
from alledge.synthetic import draw_field

HASTY = Patience(read_s=1.0, open_s=10.0, pause_s=0.02, longest_pause_s=0.2, bad=3)
SMEARS = "synthetic://?seed=1&size=96&fields=12"
OF_A_FRAME = {"black", "saturated", "wrong-size", "wrong-format", "colourless", "cut-short", "frozen", "torn", "noisy",
              "colour-drift"}


def watch(camera: WatchedCamera, until: Callable[[list[str]], bool], limit_s: float = 20) -> list[str]:
    """What each read came to: `sound`, or the name of the fault."""
    told: list[str] = []
    first: dict[str, bool] = {}
    end = time.monotonic() + limit_s
    while not until(told) and time.monotonic() < end:
        try:
            frame = camera.read()
            assert frame is not None
            assert frame.metadata["emulated"] in ("no fault", "stalled"), "a spoiled frame was given out"
            told.append("sound")
        except CameraFault as fault:
            told.append(fault.fault.name)
            first.setdefault(fault.fault.name, isinstance(fault, FrameFault))
    assert first == {name: name.removeprefix("camera-") in OF_A_FRAME for name in first}
    return told


def test_every_camera_fault_can_be_emulated_and_says_what_to_do() -> None:
    rows = {name: row for name, row in FAULTS.items() if name.startswith("camera-")}
    assert {f"camera-{name}" for name in EMULATED} == set(rows) - {"camera-opening"}  # that one is not a camera's doing
    assert len(rows) >= 12
    assert len({row.says for row in rows.values()}) == len(rows)
    assert all(row.remedy and row.says[:1].islower() and row.says[-1] != "." for row in rows.values())
    assert max(len(row.sentence) for row in rows.values()) <= 58  # three lines of the smallest display


def test_the_documented_table_is_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cameras.md").read_text("utf-8")
    written = re.findall(r"^\| `(camera-[a-z-]+)` \| (.+?) \| (.+?) \| .+ \|$", text, re.M)
    assert written == [(row.name, row.says, row.remedy) for row in FAULTS.values() if row.name.startswith("camera-")]


@pytest.mark.parametrize("fault", EMULATED)
def test_fault_is_named_held_back_and_over_when_it_is_over(fault: str) -> None:
    last = 40 if fault == "stale" else 12
    order = f"{fault}@1s-3s" if fault == "stalled" else f"{fault}@9-{last}"
    smears = SMEARS.partition("&fields")[0]  # else what comes after a stall may be what came before it, and is frozen
    with closing(open_watched(f"emulated://{order}/{smears}", HASTY)) as camera:
        told = watch(camera, lambda told: "sound" in told and told[-1] == "sound" and told[-3:] != told[:3]
                     and len(set(told)) > 1)
    before, after = told.index(f"camera-{fault}"), len(told) - 1
    assert told[:before] == ["sound"] * before
    assert set(told[before:after]) == {f"camera-{fault}"}
    assert fault == "stalled" or before == 8


def test_a_few_old_frames_are_passed_by_without_a_word() -> None:
    with closing(open_watched(f"emulated://stale@3-9/{SMEARS}", HASTY)) as camera:
        frames = [camera.read() for _ in range(4)]
    assert [frame and frame.metadata["emulated"] for frame in frames] == ["no fault"] * 4


def test_faults_that_last_are_named_all_the_time() -> None:
    with closing(open_watched(f"emulated://disconnected@4-9999/{SMEARS}", HASTY)) as camera:
        start = time.monotonic()
        told = watch(camera, lambda told: len(told) >= 12)
        assert time.monotonic() - start > 1, "trying again must not spin"
    assert told == ["sound"] * 3 + ["camera-disconnected"] * 9


def test_a_frame_fault_that_lasts_has_the_camera_opened_again() -> None:
    opened: list[int] = []

    class Stuck:
        """Stand-in: repeats one picture until it is opened anew."""

        def __init__(self) -> None:
            opened.append(1)
            self._rgb = draw_field("pre_b", len(opened), 96).rgb

        def read(self) -> Frame:
            return Frame(self._rgb, "now")

        def close(self) -> None:
            opened.append(-1)

    told = []
    with closing(WatchedCamera(Stuck, True, HASTY)) as camera:
        for _ in range(8):
            try:
                camera.read()
                told.append("sound")
            except FrameFault as fault:
                told.append(fault.fault.name)
    assert told == ["sound", *["camera-frozen"] * 3] * 2
    assert opened[:3] == [1, -1, 1]


def test_a_driver_that_hangs_for_good_costs_three_threads_and_no_more() -> None:
    release, readers = threading.Event(), []

    class Hanging:
        """Stand-in: a driver whose read never returns."""

        def read(self) -> Frame | None:
            readers.append(threading.current_thread())
            release.wait()
            return None

        def close(self) -> None:
            pass

    camera = WatchedCamera(Hanging, True, Patience(read_s=0.05, pause_s=0.01, longest_pause_s=0.02))
    for _ in range(12):
        with pytest.raises(CameraFault, match="sends no pictures"):
            camera.read()
    assert len(readers) == 3
    camera.close()
    release.set()
    for reader in readers:
        reader.join(5)
        assert not reader.is_alive()


def test_a_device_that_is_slow_to_let_go_is_not_opened_while_it_is_held() -> None:
    held: list[object] = []

    class Exclusive:
        """Stand-in: fails once, takes its time to close, and cannot be opened twice."""

        def __init__(self) -> None:
            if held:
                raise CameraError("Device or resource busy")
            held.append(self)
            self.reads = 0

        def read(self) -> Frame:
            self.reads += 1
            if self.reads == 2:
                raise RuntimeError("lost")
            return Frame(draw_field("pre_b", int(time.monotonic_ns() % 1000), 96).rgb, "now")

        def close(self) -> None:
            time.sleep(0.6)
            held.clear()

    with closing(WatchedCamera(Exclusive, True, Patience(pause_s=0.4))) as camera:
        assert camera.read() is not None
        with pytest.raises(CameraFault, match="driver failed"):
            camera.read()
        assert camera.read() is not None


def test_reading_returns_in_time_although_opening_takes_long() -> None:
    gate = threading.Event()
    gate.set()

    class Slow:
        """Stand-in: gone at the second read, then slow to open."""

        def __init__(self) -> None:
            gate.wait()
            self.reads = 0

        def read(self) -> Frame:
            self.reads += 1
            if self.reads == 2:
                gate.clear()
                raise CameraError("gone")
            return Frame(draw_field("pre_b", int(time.monotonic_ns() % 1000), 96).rgb, "now")

        def close(self) -> None:
            pass

    with closing(WatchedCamera(Slow, True, HASTY)) as camera:
        camera.read()
        for said, name in (("gone", "disconnected"), ("is being opened", "opening"), ("is being opened", "opening")):
            start = time.monotonic()
            with pytest.raises(CameraFault, match=said) as caught:
                camera.read()
            assert time.monotonic() - start < 2
            assert caught.value.fault.name == f"camera-{name}"
        gate.set()
        assert camera.read() is not None


def test_pictures_on_disk_may_repeat_and_change(tmp_path: Path) -> None:
    same, other = draw_field("pre_b", 1, 96).rgb, draw_field("benign", 2, 64).rgb
    for i, rgb in enumerate([same, same, other, np.zeros_like(same), 255 - same]):
        write_png(tmp_path / f"{i}.png", rgb)
    (tmp_path / "2.jpg").write_bytes(b"\xff\xd8 broken")
    seen: list[Frame] = []
    with closing(open_watched(f"file://{tmp_path}", HASTY)) as camera:
        with pytest.raises(FrameError) as caught:
            seen.extend(iter(camera.read, None))
        assert not isinstance(caught.value, CameraFault)
        seen.extend(iter(camera.read, None))
    assert [frame.rgb.shape[0] for frame in seen] == [96, 96, 64, 96, 96]


def test_a_film_cut_short_is_not_opened_again(cut_film: Path) -> None:
    with closing(open_watched(f"video://{cut_film}", HASTY)) as camera:
        seen: list[object] = []
        with pytest.raises(CameraError, match="expected 30 frames") as caught:
            seen.extend(iter(camera.read, None))
        assert not isinstance(caught.value, CameraFault)
        with pytest.raises(CameraError, match=f"received {len(seen)}"):
            camera.read()


def test_a_disk_that_answers_late_loses_no_picture() -> None:
    class Late:
        """Stand-in: a network folder that takes its time once."""

        def __init__(self) -> None:
            self.reads = 0

        def read(self) -> Frame | None:
            self.reads += 1
            if self.reads == 2:
                time.sleep(1.5)
            return None if self.reads > 3 else Frame(np.full((32, 32, 3), self.reads, np.uint8), "now")

        def close(self) -> None:
            pass

    told: list[object] = []
    with closing(WatchedCamera(Late, False, HASTY)) as camera:
        while not told or told[-1] is not None:
            try:
                frame = camera.read()
                told.append(None if frame is None else int(frame.rgb[0, 0, 0]))
            except CameraFault as fault:
                told.append(fault.fault.name)
    assert told == [1, "camera-stalled", 2, 3, None]


def test_any_picture_can_be_measured() -> None:
    random, seen = np.random.default_rng(0), Seen()
    for i in range(200):
        height, width = random.integers(8, 90, 2)
        rgb = random.integers(0, 256, (height, width, 3), np.uint8)
        rgb = (rgb, rgb[:, ::-1], np.asfortranarray(rgb), np.full_like(rgb, i), np.tile(rgb[:1], (height, 1, 1)))[i % 5]
        figures = measure(rgb)
        assert np.isfinite([figures.dark, figures.lost, figures.tear, figures.noise, *figures.colour]).all()
        assert fault_of(figures, seen) in {None, *FAULTS}
        seen = seen.after(figures, i % 3 == 0)


def test_any_faults_can_come_together(tmp_path: Path) -> None:
    for i, size in enumerate((96, 64, 80)):
        write_png(tmp_path / f"{i}.png", draw_field("pre_b", i, size).rgb)
    order = ",".join(f"{fault}@2-3" for fault in _damage.DAMAGE) + ",frozen@3"
    with closing(open_camera(f"emulated://{order}/file://{tmp_path}")) as camera:
        frames = [camera.read() for _ in range(4)]
    assert [frame and frame.rgb.shape for frame in frames] == [(96, 96, 3), (32, 32), (32, 32), None]


@pytest.mark.parametrize(("uri", "error", "said"), [
    ("emulated://lost@3/synthetic://", UsageError, "'lost@3' is not understood, expected FAULT@FIRST-LAST"),
    ("emulated://black@3-2/synthetic://", UsageError, "ends before it begins"),
    ("emulated://black@3s-9/synthetic://", UsageError, "not understood"),
    ("emulated://black@3/synthetic://?seed=x", UsageError, "seed=x is out of range"),
    ("emulated://black@3/", UsageError, "is not a URI"),
    ("emulated://disconnected@1/synthetic://", CameraError, "there is no such device"),
])
def test_emulation_refuses_what_it_cannot_do(uri: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        open_watched(uri, HASTY)


def test_an_emulated_frame_says_so() -> None:
    camera: Camera
    with closing(open_camera("emulated://black@2,noisy@2/synthetic://?seed=1&class=pre_b&size=96")) as camera:
        frames = [camera.read() for _ in range(2)]
    assert [frame and frame.metadata for frame in frames] == [
        {"source": "emulated: synthetic pre_b seed 1", "emulated": "no fault"},
        {"source": "emulated: synthetic pre_b seed 2", "emulated": "black, noisy"}]


def test_what_is_on_disk_is_read_ahead() -> None:
    read: SimpleQueue[int] = SimpleQueue()

    class Folder:
        """Stand-in: three pictures, and what was read of them."""

        given = 0

        def read(self) -> Frame | None:
            self.given += 1
            read.put(self.given)
            return None if self.given > 3 else Frame(np.full((64, 64, 3), self.given, np.uint8), "")

        def close(self) -> None:
            pass

    with closing(WatchedCamera(Folder, live=False)) as camera:
        for number in (1, 2, 3):
            frame = camera.read()
            assert frame is not None
            assert frame.rgb[0, 0, 0] == number
            assert read.get(timeout=20) == number
        assert read.get(timeout=20) == 4  # nobody has asked for it yet
        assert camera.read() is None
