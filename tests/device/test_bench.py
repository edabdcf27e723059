"""`alledge bench`: real fields through the real stages, emulated boards for what this machine cannot say of itself."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from alledge.bundle import Bundle
from alledge.config import (
    BundleSettings,
    CameraSettings,
    DeviceConfig,
    DisplaySettings,
    EngineSettings,
    ResultSettings,
    load_config,
)
from alledge.device import machine
from alledge.device.bench import processes
from alledge.device.bench.compare import compare
from alledge.device.bench.doubts import doubts
from alledge.device.bench.measure import bench, near
from alledge.device.bench.page import as_page
from alledge.device.bench.plan import Plan
from alledge.device.bench.report import STAGES, Report, drift, stages_of
from alledge.device.bench.rows import COLUMNS
from alledge.device.bench.sensors import Reading, Sensors, output_of, sensors
from alledge.device.bench.starts import as_toml
from alledge.device.bench.watch import LOOKS_LEAST, Conditions, Watch, filesystem
from alledge.errors import EngineError, UsageError
from alledge.images import write_png
from alledge.synthetic import draw_field

from .boards import NANO, ORIN, PI4, Says, emulated

Cli = Callable[..., subprocess.CompletedProcess[str]]
QUIET = Conditions(("performance",), 1800.0, "", (), "ext4", (0.0, 1.0), (Reading(1800.0, celsius=50.0),) * 2, (), (),
                   {}, 0.01, 0.0)


@pytest.fixture(scope="module")
def measured(onnx_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """60 fields on an emulated Raspberry Pi 4 whose firmware slows it down at some time while it is measured."""
    root = emulated(tmp_path_factory.mktemp("pi4"), PI4)
    config = DeviceConfig(bundle=BundleSettings(path=onnx_bundle.path),
                          results=ResultSettings(database=tmp_path_factory.mktemp("results") / "results.db"))
    flags = iter(("throttled=0x0\n", "throttled=0x50000\n"))  # before and after: bits 16 and 18 are new
    board = Sensors(root, lambda command: next(flags) if command == ("vcgencmd", "get_throttled") else "")
    report = bench(config, Plan(frames=60, warm_up=4, starts=2), board, root)
    assert not list(config.database.parent.iterdir())  # what was written there is gone
    return report


def test_every_stage_has_a_figure_and_all_samples_are_kept(measured: Report) -> None:
    assert tuple(measured.stages) == STAGES
    for stage, figures in measured.stages.items():
        kept = measured.samples[stage][5:]
        assert figures["n"] == len(kept) == 60
        assert 0 < figures["p50"] <= figures["p90"] <= figures["p95"] <= figures["p99"] <= figures["max"] == max(kept)
    parts = [sum(values) for values in zip(*(measured.samples[s] for s in STAGES if s != "total"), strict=True)]
    assert parts == pytest.approx(measured.samples["total"], abs=0.01)
    assert measured.samples["at_s"] == sorted(measured.samples["at_s"])


def test_start_warm_up_and_steady_state_are_apart(measured: Report) -> None:
    assert measured.samples["warm"] == [0.0] * 5 + [1.0] * 60
    assert measured.cold == {stage: measured.samples[stage][0] for stage in STAGES}
    assert measured.cold_ms == measured.cold["total"]
    assert measured.warm_up["total"]["n"] == 4
    assert len(measured.starts_ms) == 2
    assert measured.first_verdict_ms > measured.start_ms > 0
    assert measured.first_verdict_ms > 100  # Python itself, NumPy and OpenCV
    assert measured.throughput_fps > 1
    assert 20 < measured.rss_mib <= measured.peak_rss_mib
    assert measured.cpu_ms["side_by_side"] > 0


def test_the_report_says_what_the_board_said(measured: Report) -> None:
    assert measured.machine["board"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert measured.machine["governor"] == "ondemand"
    assert measured.conditions["usb_mbit"] == (5000,)
    assert {reading["mhz"] for reading in measured.conditions["readings"]} == {1800.0}
    said = " ".join(measured.warnings)
    assert "slowed itself down (under-voltage, throttled): these are figures of a supply fault" in said
    assert "governor is ondemand" in said
    assert "60 fields are too few" in said


def test_the_page_needs_nothing_else_and_shows_every_field(measured: Report) -> None:
    samples = {name: values * 50 for name, values in measured.samples.items()}  # 3,250 fields
    samples["total"][1234] = 98765.0
    page = as_page(replace(measured, samples=samples)).decode()
    found = Elements(page)
    assert page.count("<svg") == 2
    assert not found.outside
    assert "98765" not in page  # nothing printed it; it is drawn, at the top
    assert min(float(y) for y in found.heights) == pytest.approx(12, abs=3)
    assert len(found.heights) < 1400
    assert "RESEARCH USE ONLY" in page
    assert "under-voltage" in page


class Elements(HTMLParser):
    """Dots of the second drawing, and addresses of anything outside of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.drawings, self.heights, self.outside = 0, list[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.drawings += tag == "svg"
        if tag == "circle" and self.drawings == 2:
            self.heights.append(given["cy"] or "")
        self.outside += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:")]


def test_the_command_writes_a_folder_a_row_and_a_verdict_on_speed(alledge: Cli, onnx_bundle: Bundle,
                                                                 tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "deep" / "board.csv"
    done = alledge("bench", onnx_bundle.path, "--frames", 12, "--warm-up", 2, "--starts", 1, "--out", out, "--csv",
                   table, "--power-command", "echo 4.5 W", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert json.loads((out / "bench.json").read_text()) == document
    assert b"<svg" in (out / "bench.html").read_bytes()
    assert (out / "bench.csv").read_text() == table.read_text()
    with table.open() as file:
        row, = csv.DictReader(file)
    assert tuple(row) == COLUMNS
    assert (row["n"], row["threads"]) == ("12", "1")
    assert float(row["total_p50_ms"]) == pytest.approx(document["stages"]["total"]["p50"], abs=1e-3)
    assert {reading["watts"] for reading in document["conditions"]["readings"]} == {4.5}
    fast = {**row, "total_p50_ms": float(row["total_p50_ms"]) / 1000, "throughput_fps": 1e-3, "board": "a Pi"}
    with (tmp_path / "fast.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow(fast)
    again = alledge("bench", onnx_bundle.path, "--frames", 3, "--warm-up", 0, "--starts", 1, "--csv", table,
                    "--compare", tmp_path / "fast.csv", "--band", 900)
    assert again.returncode == 6
    assert again.stderr.splitlines()[-1].startswith("error: outside the band of 10.00 against")
    assert "total_p50_ms" in again.stderr
    assert "throughput_fps" not in again.stderr  # far better is no fault
    assert "p99" in again.stdout
    assert "differs: board was a Pi, is " in again.stdout
    assert len(table.read_text().splitlines()) == 3  # written all the same


@pytest.mark.parametrize(("options", "words"), [
    (("--csv", "other.csv"), "expected a benchmark table that starts with date,"),
    (("--csv", "/dev/full"), "expected a file to append to"),
    (("--compare", "other.csv"), "found none of their figures"),
    (("--compare", "absent.json"), "cannot read it"),
    (("--compare", "other.json"), "expected a bench.json of this version"),
    (("--power-command", "echo lots"), "expected a command that prints watts"),
])
def test_a_wrong_file_is_refused_before_anything_is_measured(alledge: Cli, tmp_path: Path, options: tuple[str, str],
                                                             words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("name,song\n")
    (tmp_path / "other.json").write_text('{"stages": {}}')
    done = alledge("bench", *options)
    assert (done.returncode, words in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert done.stdout == ""
    assert (tmp_path / "other.csv").read_text() == "name,song\n"


def test_seconds_instead_of_a_count_and_a_camera_of_ones_own(onnx_bundle: Bundle, tmp_path: Path) -> None:
    config = DeviceConfig(bundle=BundleSettings(path=onnx_bundle.path), engine=EngineSettings(threads=2),
                          results=ResultSettings(database=tmp_path / "r.db"))
    shown = tmp_path / "shown"
    plan = Plan(seconds=0.3, warm_up=0, starts=1, camera="synthetic://?size=96&fields=2",
                display=DisplaySettings(name="png", options={"path": str(shown), "size": "128x64"}))
    report = bench(config, plan)
    first, last = report.samples["at_s"][0], report.samples["at_s"][-1]
    assert last - first >= 0.3
    assert report.samples["at_s"][-2] - first < 0.3
    assert (report.threads, report.camera, report.display) == (2, plan.camera, "png")
    assert report.warm_up == {}
    assert len(list(shown.iterdir())) >= len(report.samples["total"])
    with pytest.raises(UsageError, match="gave 2 fields: expected more than 21"):
        bench(config, Plan(starts=1, camera=f"file://{_two(tmp_path)}"))


def _two(folder: Path) -> Path:
    for number in range(2):
        write_png(folder / "two" / f"{number}.png", draw_field("pre_b", number, 96).rgb)
    return folder / "two"


def test_a_field_that_fails_ends_a_benchmark(bundle_of: Any, onnx_of: Any, tmp_path: Path) -> None:
    broken = bundle_of(tmp_path / "nan.alledge", onnx_of(nan_below=10.0), probabilities=[0.25] * 4)
    with pytest.raises(EngineError, match="alledge run` gave no verdict: "):
        bench(DeviceConfig(bundle=BundleSettings(path=broken.path)), Plan(frames=2, starts=1))


def test_a_configuration_is_written_as_the_file_it_could_have_come_from(tmp_path: Path) -> None:
    config = DeviceConfig(bundle=BundleSettings(trusted_keys=("ab" * 32,), board="Käfer \"1\""),
                          camera=CameraSettings(uri="file:///srv/a b"), engine=EngineSettings(name="onnx", threads=3),
                          display=DisplaySettings(name="png", rate=0.0, options={"path": "x\\y", "on": True, "n": 3}),
                          results=ResultSettings(database=tmp_path / "r.db", floor=0))
    (tmp_path / "c.toml").write_text(as_toml(config), "utf-8")
    assert load_config(tmp_path / "c.toml") == config


def test_a_raspberry_pi(tmp_path: Path) -> None:
    says = Says(vcgencmd="throttled=0x50005\n")
    board = Sensors(emulated(tmp_path, PI4), says)
    assert board.read() == Reading(mhz=1800.0, celsius=pytest.approx(61.342))
    assert board.firmware_flags() == (("under-voltage", "throttled"), ("under-voltage", "throttled"))
    assert (board.most_mhz, board.usb_mbit(), board.power_mode(), board.slowdowns()) == (1800.0, [5000], "", {})
    says.answers["vcgencmd"] = "throttled=0xe0008\n"
    now, since = board.firmware_flags()
    assert now == ("soft temperature limit",)
    assert since == ("clock capped by the firmware", "throttled", "soft temperature limit")
    (tmp_path / "sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq").write_text("600000\n")
    assert board.read().mhz == 600.0
    assert machine.describe(tmp_path)["cpu"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert filesystem(Path("/tmp"), tmp_path) == "tmpfs"
    assert filesystem(Path("/var"), tmp_path) == "ext4"


def test_a_jetson_nano(tmp_path: Path) -> None:
    board = Sensors(emulated(tmp_path, NANO), Says(nvpmodel="NV Power Mode: MAXN\n0\n"))
    assert board.read() == Reading(1479.0, pytest.approx(921.6), 44.5, pytest.approx(4.285))  # neither PMIC nor fan
    assert board.power_mode() == "MAXN"
    assert Sensors(tmp_path, Says(meter="3.25 W\n"), ("meter",)).read().watts == 3.25


def test_an_orin(tmp_path: Path) -> None:
    board = Sensors(emulated(tmp_path, ORIN), Says(nvpmodel="NV Power Mode: 15W\n0\n"))
    assert board.read() == Reading(pytest.approx(1113.6), 624.75, pytest.approx(51.406), pytest.approx(5.04))
    assert board.slowdowns() == {"over-current oc3": 7}
    cooler = {"sys/class/thermal/cooling_device2/type": "cpufreq-cpu0\n",
              "sys/class/thermal/cooling_device2/cur_state": "2\n"}
    assert Sensors(emulated(tmp_path, cooler), Says()).read().slowed == ("cpufreq-cpu0",)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    board = Sensors(tmp_path, Says())
    assert board.read() == Reading()
    assert (board.firmware_flags(), board.slowdowns(), board.usb_mbit(), board.most_mhz) == (((), ()), {}, [], None)
    assert output_of(("no-such-program-here",)) == ""
    assert output_of((sys.executable, "-c", "print(3); exit(1)")) == ""
    assert sensors("echo 3").read().watts == 3.0


def test_what_happens_while_one_looks_is_seen(tmp_path: Path) -> None:
    says = Says(vcgencmd="throttled=0x20000\n")
    root = emulated(tmp_path, {**PI4, **ORIN})
    with Watch(Sensors(root, says), root, period_s=0.01) as watch:
        _until(lambda: len(watch._looks) > LOOKS_LEAST)
        held = _heated(root, says, watch)
    assert held.slowed == ("throttled",)
    assert held.slowed_before == ("clock capped by the firmware",)
    assert held.slowdowns == {"over-current oc3": 2}
    assert (min(held.seen("celsius")), max(held.seen("celsius"))) == (pytest.approx(51.406), 85.0)
    assert held.watts(0.0, 60.0) == pytest.approx(5.04)
    assert held.watts(60.0, 61.0) is None
    assert 0 <= (held.others or 0.0) <= 1


def _heated(root: Path, says: Says, watch: Watch) -> Conditions:
    (root / "sys/class/thermal/thermal_zone0/temp").write_text("85000\n")
    (root / "sys/class/hwmon/hwmon3/oc3_event_cnt").write_text("9\n")
    says.answers["vcgencmd"] = "throttled=0x60000\n"
    seen = len(watch._looks)
    _until(lambda: len(watch._looks) > seen + 1)
    return watch.conditions(root)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(("change", "words"), [
    ({"governors": ("ondemand", "performance")}, "governor is ondemand, so the clock follows the load"),
    ({"slowed": ("throttled",)}, "figures of a cooling fault"),
    ({"slowed": ("under-voltage",)}, "its own power supply"),
    ({"slowed_before": ("under-voltage",)}, "before this, since the machine started"),
    ({"slowdowns": {"over-current oc3": 2}}, "over-current oc3 2 times"),
    ({"readings": (Reading(1700.0),)}, "the clock fell to 1700 of 1800 MHz"),
    ({"readings": (Reading(1800.0, celsius=80.0),)}, "it was 80 °C hot"),
    ({"readings": (Reading(),)}, "neither clock nor temperature"),
    ({"others": 0.11}, "other processes took 11% of the processors"),
    ({"stolen": 0.03}, "the host of this virtual machine took 3%"),
    ({"filesystem": "tmpfs"}, "written to memory (tmpfs)"),
    ({"usb_mbit": (480,)}, "a port of 480 Mbit/s, USB 2"),
])
def test_what_makes_a_figure_worth_less_is_said(change: dict[str, Any], words: str) -> None:
    said = list(doubts(replace(QUIET, **change), 100, 1.0))
    assert len(said) == 1
    assert words in said[0]


def test_a_quiet_machine_is_not_doubted() -> None:
    assert list(doubts(QUIET, 100, 1.09)) == []
    assert "not steady: the last fifth of the fields took 1.20" in next(doubts(QUIET, 100, 1.2))
    assert "99 fields are too few" in next(doubts(QUIET, 99, None))
    assert drift([1.0] * 10 + [2.0] * 10) == 2.0
    assert drift([1.0] * 19) is None


def test_the_rest_is_what_no_stage_has() -> None:
    told = {"capture": 1.0, "segment": 2.0, "infer": 3.0, "display": 0.5, "log": 0.25, "total": 8.0}
    assert stages_of(told)["rest"] == pytest.approx(1.25)
    assert stages_of({**told, "total": 6.7})["rest"] == 0.0  # rounded to microseconds, stage by stage


def test_children_count(tmp_path: Path) -> None:
    hog = ("import time; x = bytearray(50_000_000); t = time.process_time()\n"
           "while time.process_time() < t + .3: pass\nprint('done', flush=True); input()")
    cpu, rss = processes.cpu_s(), processes.rss_mib()
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", hog], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert processes.rss_mib() - rss > 45
        assert processes.peak_rss_mib() - rss > 45
        lived = processes.cpu_s() - cpu
        child.communicate("\n")
    assert lived > 0.25
    assert processes.cpu_s() - cpu >= lived - 0.02  # one that has ended is not forgotten


def test_the_share_of_others_is_what_this_process_has_not_taken() -> None:
    before = processes.Usage(busy=100.0, stolen=1.0, whole=1000.0, own=5.0)
    after = processes.Usage(busy=106.0, stolen=1.5, whole=1010.0, own=9.0)
    assert after.share_of_others(before) == pytest.approx(0.2)
    assert after.share_stolen(before) == pytest.approx(0.05)


def test_what_was_measured_with_another_engine_is_not_compared(measured: Report) -> None:
    with pytest.raises(UsageError, match=r"expected a benchmark of engine onnx with 1 thread\(s\), found 1 of others"):
        compare(measured, [{"engine": "tflite", "threads": "1", "total_p50_ms": "3"}], "x.csv", 1.2)


def test_results_are_written_on_the_disk_they_would_go_to(tmp_path: Path) -> None:
    assert near(tmp_path / "not" / "yet" / "there" / "results.db") == tmp_path


def test_threads_of_the_configuration(alledge: Cli, onnx_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[engine]\nthreads = 2\n")
    done = alledge("bench", onnx_bundle.path, "--frames", 1, "--warm-up", 0, "--starts", 1, "--config",
                   tmp_path / "c.toml", "--json")
    assert json.loads(done.stdout)["threads"] == 2
