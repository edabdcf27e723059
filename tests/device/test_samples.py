"""Fields of one slide through a whole run: marked, added up, told, exported."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from alledge.bundle import Bundle
from alledge.config import (
    BundleSettings,
    CameraSettings,
    DeviceConfig,
    DisplaySettings,
    ResultSettings,
    SampleSettings,
    TriggerSettings,
)
from alledge.device import station
from alledge.device.run import run
from alledge.device.store.rows import read_results
from alledge.device.stored import export
from alledge.device.trigger import Press
from alledge.images import write_png
from alledge.pooling import pool
from alledge.sample import SampleVerdict
from alledge.synthetic import draw_field

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Seven fields in a folder."""
    folder = tmp_path / "slide"
    for i in range(7):
        write_png(folder / f"{i}.png", draw_field("pre_b", i, 96).rgb)
    return folder


class Pressed:
    """Stands in for a button: the presses of a list, then nothing."""

    def __init__(self, presses: list[Press]) -> None:
        self._presses = presses

    def wait(self, seconds: float = 0) -> Press | None:
        return self._presses.pop(0) if self._presses else Press.STOP

    def close(self) -> None:
        """Nothing is held."""


def test_a_named_sample_is_kept_with_every_field_and_told_at_the_end(alledge: Cli, tflite_bundle: Bundle, slide: Path,
                                                                     tmp_path: Path) -> None:
    ask = ("run", tflite_bundle.path, "--camera", f"file://{slide}", "--results", tmp_path / "r.db", "--sample",
           "h26-0017")
    done = alledge(*ask, "--json")
    assert done.returncode == 0, done.stderr
    fields = [json.loads(line) for line in done.stdout.splitlines()]
    assert {field["sample"] for field in fields} == {"H26-0017"}
    assert "Sample H26-0017: " in done.stderr
    plain = alledge(*ask[:-1], "H26-0018").stdout
    assert "Sample H26-0018: " in plain
    assert "RESEARCH USE ONLY" in plain.splitlines()[-1]
    alledge("results", "export", tmp_path / "out.html", "--format", "html", "--sample", "H26-0017", "--results",
            tmp_path / "r.db")
    assert "Together: " in (tmp_path / "out.html").read_text("utf-8")


@pytest.mark.parametrize("entered", ["Jane Doe", "1990-01-31", "S/1", "x" * 40])
def test_what_may_be_a_person_is_no_sample(alledge: Cli, tflite_bundle: Bundle, slide: Path, entered: str) -> None:
    done = alledge("run", tflite_bundle.path, "--camera", f"file://{slide}", "--sample", entered)
    assert done.returncode == 2
    assert "never a patient's name" in done.stderr
    assert entered not in done.stderr


def test_a_long_press_closes_a_sample_and_the_next_has_the_next_number(tflite_bundle: Bundle, slide: Path,
                                                                       tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    presses = [*[Press.FIELD] * 3, Press.CLOSE_SAMPLE, Press.CLOSE_SAMPLE, *[Press.FIELD] * 2]
    monkeypatch.setattr(station, "open_trigger", lambda name, options: Pressed(presses))
    database = tmp_path / "r.db"
    settings = DeviceConfig(bundle=BundleSettings(path=tflite_bundle.path), camera=CameraSettings(uri=f"file://{slide}"),
                            results=ResultSettings(database=database), trigger=TriggerSettings(name="keyboard"),
                            sample=SampleSettings(least=2))
    told: list[SampleVerdict] = []
    summary = run(settings, tell_sample=told.append)
    assert summary.fields == 5
    stored = list(read_results(database))
    assert [row.sample for row in stored] == ["S-0001"] * 3 + ["S-0002"] * 2
    assert [(verdict.sample, verdict.fields) for verdict in told] == [("S-0001", 3), ("S-0002", 2)]
    for verdict in told:
        answered = [row for row in stored if row.sample == verdict.sample and row.conclusive]
        assert verdict.answered == len(answered)
        mean = {label: sum(row.probabilities[label] for row in answered) / len(answered)
                for label in answered[0].probabilities}
        assert verdict.probabilities == pytest.approx(mean)
    assert all(row.gates["fields_least"] == 2 for row in stored)
    for sample, verdict in zip(("S-0001", "S-0002"), told, strict=True):
        page = tmp_path / f"{sample}.html"
        export(database, page, sample=sample)
        assert f"Together: {verdict.title}" in page.read_text("utf-8")
    monkeypatch.setattr(station, "open_trigger", lambda name, options: Pressed([Press.FIELD]))
    run(settings)
    assert list(read_results(database))[-1].sample == "S-0003"


def test_a_sample_goes_on_in_the_next_run_with_what_it_had(tflite_bundle: Bundle, slide: Path, tmp_path: Path) -> None:
    told: list[SampleVerdict] = []
    settings = DeviceConfig(bundle=BundleSettings(path=tflite_bundle.path), camera=CameraSettings(uri=f"file://{slide}"),
                            results=ResultSettings(database=tmp_path / "r.db"), sample=SampleSettings(id="H26-1"))
    for _ in range(2):
        run(settings, 3, tell_sample=told.append)
    assert [verdict.fields for verdict in told] == [3, 6]
    stored = list(read_results(tmp_path / "r.db"))
    assert told[-1] == pool("H26-1", stored)
    stricter = settings.model_copy(update={"sample": SampleSettings(id="H26-1", least=9)})
    run(stricter, 1, tell_sample=told.append)
    assert told[-1] == pool("H26-1", read_results(tmp_path / "r.db"))
    assert told[-1].missing == 9 - told[-1].answered > 0


def test_a_report_of_only_some_of_a_samples_fields_is_refused(alledge: Cli, tflite_bundle: Bundle, slide: Path,
                                                              tmp_path: Path) -> None:
    run(DeviceConfig(bundle=BundleSettings(path=tflite_bundle.path), camera=CameraSettings(uri=f"file://{slide}"),
                     results=ResultSettings(database=tmp_path / "r.db"), sample=SampleSettings(id="H26-1")), 2)
    ask = ("results", "export", "--results", tmp_path / "r.db", "--verdict", "inconclusive")
    assert alledge(*ask, tmp_path / "r.csv").returncode == 0
    refused = alledge(*ask, tmp_path / "r.html")
    assert (refused.returncode, "about all of its fields" in refused.stderr) == (2, True)


def test_fields_that_nobody_asked_for_stand_alone(tflite_bundle: Bundle, slide: Path, tmp_path: Path) -> None:
    told: list[SampleVerdict] = []
    settings = DeviceConfig(bundle=BundleSettings(path=tflite_bundle.path), camera=CameraSettings(uri=f"file://{slide}"),
                            results=ResultSettings(database=tmp_path / "r.db"))
    run(settings, tell_sample=told.append)
    assert not told
    assert {row.sample for row in read_results(tmp_path / "r.db")} == {""}


@pytest.mark.parametrize(("presses", "last"), [
    ([Press.FIELD, Press.FIELD], "Sample S-0001: "),  # the end of the run closes it
    ([Press.FIELD, Press.CLOSE_SAMPLE], "Sample S-0001: "),
    ([], "Stopped: "),
])
def test_a_samples_verdict_stays_on_the_glass(tflite_bundle: Bundle, slide: Path, tmp_path: Path, presses: list[Press],
                                              last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station, "open_trigger", lambda name, options: Pressed(presses))
    run(DeviceConfig(bundle=BundleSettings(path=tflite_bundle.path), camera=CameraSettings(uri=f"file://{slide}"),
                     display=DisplaySettings(name="png", options={"path": str(tmp_path / "screen.png")}),
                     results=ResultSettings(database=tmp_path / "r.db"), trigger=TriggerSettings(name="keyboard")))
    with Image.open(tmp_path / "screen.png") as shown:
        assert shown.info["Description"].startswith(last)
