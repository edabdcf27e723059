"""`alledge run` as a user runs it: verdicts, faults, exit codes, and that nothing acknowledged is lost."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from alledge.bundle import Bundle
from alledge.calibration import Calibration
from alledge.config import BundleSettings, CameraSettings, DeviceConfig, DisplaySettings, ResultSettings
from alledge.device.camera import Frame
from alledge.device.pipeline import Pipeline
from alledge.device.run import judge, run
from alledge.device.store.rows import read_results
from alledge.errors import NoVerdict
from alledge.images import write_png
from alledge.labels import LABELS
from alledge.synthetic import draw_field
from alledge.verdict import Verdict

KEYS = {"sequence", "taken_at", "verdict", "confidence", "probabilities", "reasons", "quality", "coverage",
        "timings_ms", "engine", "bundle_id", "source", "caveat", "faults", "gates", "camera", "note", "frame_sha256",
        "mask_sha256", "sample", "software", "boot_id", "uptime_s", "hash", "notes"}
Cli = Callable[..., subprocess.CompletedProcess[str]]
SMEARS = "synthetic://?seed=1&size=96"


def config(bundle: Bundle, folder: Path, camera: str = SMEARS, **sections: Any) -> DeviceConfig:
    return DeviceConfig(bundle=BundleSettings(path=bundle.path), camera=CameraSettings(uri=camera),
                        **{"results": ResultSettings(database=folder / "results.db"), **sections})


def description(path: Path, size: tuple[int, int]) -> str:
    """The words that go along with a screen of that size."""
    with Image.open(path) as image:
        assert image.size == size
        return str(image.info["Description"])


def refused(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    """One line, the right exit code, no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_json_lines_are_the_contract_and_the_database_agrees(alledge: Cli, tflite_bundle: Bundle,
                                                             tmp_path: Path) -> None:
    done = alledge("run", tflite_bundle.path, "--camera", SMEARS, "--frames", 4, "--results", tmp_path / "r.db",
                   "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["sequence"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert set(line) == KEYS
        assert set(line["timings_ms"]) == {"capture", "segment", "infer", "display", "log", "total"}
        assert set(line["probabilities"]) == set(LABELS)
        assert line["verdict"] in LABELS
        assert (line["engine"], line["bundle_id"]) == ("tflite", tflite_bundle.id)
        assert sum(v for k, v in line["timings_ms"].items() if k != "total") <= line["timings_ms"]["total"] + 0.01
    listed = alledge("results", "list", "--results", tmp_path / "r.db", "--json")
    stored = json.loads(listed.stdout)["results"]
    for line, row in zip(lines, stored, strict=True):
        assert {"capture", "segment", "infer", "total"} == set(row.pop("timings_ms"))
        del line["timings_ms"]
        assert row == line


def test_terminal_and_png(alledge: Cli, onnx_bundle: Bundle, tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path)}
    shown = alledge("run", onnx_bundle.path, "--camera", SMEARS, "--frames", 2, env=state)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("RESEARCH USE ONLY") == 2
    done = alledge("run", onnx_bundle.path, "--camera", SMEARS, "--frames", 2, "--display", "png", env=state)
    assert done.returncode == 0, done.stderr
    last = max((tmp_path / "alledge" / "screens").iterdir())
    assert "field 4" in description(last, (240, 240))
    assert "RESEARCH USE ONLY" in description(last, (240, 240))
    assert [row.sequence for row in read_results(tmp_path / "alledge" / "results.db")] == [1, 2, 3, 4]


WALL = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "onnx", "tf2onnx"}:
            raise ImportError(f"{name} is behind the wall", name=name)
sys.meta_path.insert(0, Wall())
from alledge.cli import main
sys.argv = ["alledge", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("engine", ["tflite", "onnx"])
def test_runs_behind_an_import_wall(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> None:
    bundle: Bundle = request.getfixturevalue(f"{engine}_bundle")
    done = subprocess.run([sys.executable, "-c", WALL, "run", bundle.path, "--camera", SMEARS, "--frames", "1",
                           "--json", "--results", tmp_path / "r.db"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] in LABELS


def test_a_corrupt_picture_costs_one_field(onnx_bundle: Bundle, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        write_png(tmp_path / "in" / name, draw_field("pro_b", 1, 96).rgb)
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:-500])
    told: list[Verdict] = []
    summary = run(config(onnx_bundle, tmp_path, f"file://{tmp_path / 'in'}"), tell=told.append)
    judge(summary)
    assert (summary.fields, summary.conclusive, summary.unreadable) == (3, 2, 1)
    assert [v.conclusive for v in told] == [True, False, True]
    assert "does not decode" in told[1].reasons[0]
    assert told[1].source.endswith("b.png")
    rows = list(read_results(tmp_path / "results.db"))
    assert [(r.sequence, r.verdict, r.source, r.reasons) for r in rows] == [
        (v.sequence, v.verdict, v.source, v.reasons) for v in told]


def test_nan_in_one_field_is_kept_shown_and_makes_the_run_fail(alledge: Cli, tmp_path: Path, bundle_of: Any,
                                                              onnx_of: Any) -> None:
    bundle = bundle_of(tmp_path / "b.alledge", onnx_of(nan_below=0.0))
    rgb = draw_field("pro_b", 1, 96).rgb
    write_png(tmp_path / "in" / "a.png", rgb)
    write_png(tmp_path / "in" / "b.png", rgb // 3)
    write_png(tmp_path / "in" / "c.png", rgb)
    done = alledge("run", bundle.path, "--camera", f"file://{tmp_path / 'in'}", "--results", tmp_path / "r.db",
                   "--json")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["verdict"] == "inconclusive" for line in lines] == [False, True, False]
    assert "received [nan, nan, nan, nan]" in lines[1]["reasons"][0]
    assert "received [nan, nan, nan, nan]" in done.stderr
    assert [row.verdict for row in read_results(tmp_path / "r.db")] == [line["verdict"] for line in lines]


def test_a_model_of_nan_does_not_start(alledge: Cli, tmp_path: Path, bundle_of: Any, onnx_of: Any) -> None:
    bundle = bundle_of(tmp_path / "b.alledge", onnx_of(nan_below=9.0), probabilities=[0.25] * 4)
    refused(alledge("run", bundle.path, "--camera", SMEARS, "--results", tmp_path / "r.db"), 1, "received [nan")


def test_no_verdict_is_exit_code_3(tmp_path: Path, bundle_of: Any, onnx_of: Any) -> None:
    bundle = bundle_of(tmp_path / "b.alledge", onnx_of(unsure=True), calibration=Calibration(abstain_below=0.9))
    summary = run(config(bundle, tmp_path), 3)
    with pytest.raises(NoVerdict, match="none of 3 fields") as caught:
        judge(summary)
    assert caught.value.exit_code == 3
    assert all("not sure enough" in row.reasons[0] for row in read_results(tmp_path / "results.db"))


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["--camera", "file:///no/such/folder"], 1, "expected an image or a folder"),
    (["--camera", "v4l2:///dev/video77"], 1, "there is no /dev/video77; plug the camera in"),
    ([], 2, "no camera was given"),
    (["--camera", SMEARS, "--engine", "tensorrt"], 2, "cannot run a onnx bundle"),
    (["--camera", SMEARS, "--engine", "tflite"], 2, "cannot run a onnx bundle"),
    (["--camera", SMEARS, "--display", "hologram"], 2, "expected one of framebuffer, png, sh1106"),
    (["--camera", SMEARS, "--results", "/proc/alledge/r.db"], 1, "results cannot be kept there"),
    (["--camera", SMEARS, "--results", "/dev/full"], 1, "results cannot be kept there"),
])
def test_refusals(alledge: Cli, onnx_bundle: Bundle, tmp_path: Path, arguments: list[str], code: int,
                  said: str) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    refused(alledge("run", onnx_bundle.path, *arguments, env=state), code, said)


def test_bundles_that_are_missing_truncated_or_for_another_engine(alledge: Cli, onnx_bundle: Bundle, tmp_path: Path,
                                                                  bundle_of: Any, onnx_of: Any) -> None:
    common = ("--camera", SMEARS, "--results", tmp_path / "r.db")
    refused(alledge("run", tmp_path / "none.alledge", *common), 2, "found no such file")
    cut = tmp_path / "cut.alledge"
    cut.write_bytes(onnx_bundle.path.read_bytes()[:-100])
    refused(alledge("run", cut, *common), 5, "truncated")
    other = bundle_of(tmp_path / "rt.alledge", onnx_of(), "tensorrt", target="jetson-nano", precision="fp16",
                      probabilities=[0.25] * 4)
    refused(alledge("run", other.path, *common), 4, "until then this bundle runs with --engine onnx")
    liar = bundle_of(tmp_path / "liar.alledge", onnx_of(), probabilities=[0.25] * 4)
    refused(alledge("run", liar.path, *common), 5, "does not reproduce")
    assert not (tmp_path / "r.db").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(onnx_bundle: Bundle, tmp_path: Path, alledge: Cli) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    refused(alledge("run", onnx_bundle.path, "--camera", SMEARS, "--results", tmp_path / "locked" / "r.db"), 1,
            "results cannot be kept there")


def test_a_disk_that_fills_up_stops_the_run_and_keeps_what_was_told(onnx_bundle: Bundle, tmp_path: Path) -> None:
    limit = 100_000  # bytes a file may grow to: stands for a full disk
    done = subprocess.run(
        [sys.executable, "-m", "alledge", "run", onnx_bundle.path, "--camera", SMEARS, "--frames", "500", "--json",
         "--results", tmp_path / "r.db"], capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert done.returncode == 1
    assert "results cannot be kept there" in done.stderr
    acknowledged = [json.loads(line)["sequence"] for line in done.stdout.splitlines()]
    assert len(acknowledged) > 3
    assert [row.sequence for row in read_results(tmp_path / "r.db")][:len(acknowledged)] == acknowledged


def test_a_full_second_sink_shows_on_the_display(onnx_bundle: Bundle, tmp_path: Path) -> None:
    from alledge.errors import SinkError

    told: list[Verdict] = []
    display = DisplaySettings(name="png", options={"path": str(tmp_path / "now.png"), "size": "128x64"})
    results = ResultSettings(database=tmp_path / "results.db", jsonl=Path("/dev/full"))
    with pytest.raises(SinkError, match="/dev/full"):
        run(config(onnx_bundle, tmp_path, display=display, results=results), 2, told.append)
    assert told == []
    assert "Broke off: /dev/full" in description(tmp_path / "now.png", (128, 64))
    assert len(list(read_results(tmp_path / "results.db"))) >= 1  # kept, but nobody was told


def test_start_up_failure_is_shown_on_the_display(onnx_bundle: Bundle, tmp_path: Path) -> None:
    from alledge.errors import CameraError

    display = DisplaySettings(name="png", options={"path": str(tmp_path)})
    with pytest.raises(CameraError):
        run(config(onnx_bundle, tmp_path, "file:///no/such", display=display))
    assert "found nothing there" in description(tmp_path / "0001.png", (240, 240))


@pytest.mark.parametrize("failure", [cv2.error("assertion failed"), OSError(5, "Input/output error"), MemoryError()])
def test_no_failure_leaves_a_verdict_on_the_glass(onnx_bundle: Bundle, tmp_path: Path, failure: Exception) -> None:
    glass = tmp_path / "now.png"
    display = DisplaySettings(name="png", rate=0, options={"path": str(glass)})

    def fail(verdict: Verdict) -> None:
        assert "Broke off" not in description(glass, (240, 240))
        raise failure

    with pytest.raises(type(failure)) as caught:
        run(config(onnx_bundle, tmp_path, display=display), 2, fail)
    assert caught.value is failure
    assert description(glass, (240, 240)).startswith("Broke off: ")


def test_a_display_that_fails_as_well_does_not_hide_the_cause(onnx_bundle: Bundle, tmp_path: Path) -> None:
    screens = tmp_path / "screens"
    display = DisplaySettings(name="png", rate=0, options={"path": str(screens)})

    def fail(verdict: Verdict) -> None:
        shutil.rmtree(screens)
        screens.write_text("in the way")
        raise NoVerdict("the cause")

    with pytest.raises(NoVerdict, match="the cause"):
        run(config(onnx_bundle, tmp_path, display=display), 2, fail)


class FixedCamera:
    """Gives the frames it was made with, whatever they are."""

    def __init__(self, *pictures: Any) -> None:
        self._frames = [Frame(rgb, "2026-01-02T03:04:05.678+00:00", {"source": f"fixed {i}"})
                        for i, rgb in enumerate(pictures)]

    def read(self) -> Frame | None:
        return self._frames.pop(0) if self._frames else None

    def close(self) -> None:
        pass


def test_a_frame_that_cannot_be_prepared_costs_one_field(onnx_bundle: Bundle, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    good = draw_field("pro_b", 1, 96).rgb
    grey, empty, real, refused = good[..., 0], good[:0], good.astype(np.float32), good[:64]
    camera = FixedCamera(grey, empty, real, refused, good)
    monkeypatch.setattr("alledge.device.station.open_watched", lambda uri: camera)
    monkeypatch.setattr(Pipeline, "prepare", lambda self, rgb, prepare=Pipeline.prepare: prepare(
        self, cv2.resize(rgb, (0, 0)) if rgb is refused else rgb))
    summary = run(config(onnx_bundle, tmp_path))
    assert (summary.fields, summary.conclusive, summary.unreadable) == (5, 1, 4)
    rows = list(read_results(tmp_path / "results.db"))
    assert [row.source for row in rows] == [f"fixed {i}" for i in range(5)]
    assert [row.conclusive for row in rows] == [False] * 4 + [True]
    assert all("uint8" in row.reasons[0] for row in rows[:3])
    assert "OpenCV cannot prepare it" in rows[3].reasons[0]


def test_a_film_cut_short_fails_the_run_and_keeps_its_fields(onnx_bundle: Bundle, tmp_path: Path,
                                                            cut_film: Path) -> None:
    from alledge.errors import CameraError

    told: list[Verdict] = []
    with pytest.raises(CameraError, match="expected 30 frames"):
        run(config(onnx_bundle, tmp_path, f"video://{cut_film}"), tell=told.append)
    assert 0 < len(told) < 30
    assert len(list(read_results(tmp_path / "results.db"))) == len(told)


def test_ctrl_c_stops_cleanly(onnx_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "alledge", "run", onnx_bundle.path, "--camera", SMEARS, "--json", "--results",
               tmp_path / "r.db"]
    told = tmp_path / "told.jsonl"  # a file: `readline` on a pipe would read ahead what `communicate` then never sees
    with told.open("w") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)
        while not told.stat().st_size and running.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 0, err
    assert "Traceback" not in err
    acknowledged = [json.loads(line)["sequence"] for line in told.read_text().splitlines()]
    assert acknowledged
    stored = [row.sequence for row in read_results(tmp_path / "r.db")]
    assert stored == acknowledged  # what was captured is finished, kept and told
    assert not (tmp_path / "r.db-wal").exists()


def test_the_shipped_configuration_runs(alledge: Cli, onnx_bundle: Bundle, tmp_path: Path) -> None:
    from importlib import resources

    shipped = tmp_path / "desktop.toml"
    with resources.as_file(resources.files("alledge.firmware_configs") / "desktop.toml") as path:
        shutil.copy(path, shipped)
    done = alledge("run", onnx_bundle.path, "--config", shipped, "--frames", 1, env={"XDG_STATE_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
