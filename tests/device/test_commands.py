"""`inspect`, `doctor` and `results` through the command line."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alledge.bundle import Bundle
from alledge.config import DeviceConfig
from alledge.device import doctor
from alledge.device.predict import BundleJudge
from alledge.synthetic import draw_field

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_inspect(alledge: Cli, tflite_bundle: Bundle) -> None:
    document = json.loads(alledge("inspect", tflite_bundle.path, "--json").stdout)
    assert (document["id"], document["verified"], document["bytes"]) == (tflite_bundle.id, True, tflite_bundle.size)
    assert document["input"]["dtype"] == "uint8"
    assert [m["name"] for m in document["members"]] == [m.name for m in tflite_bundle.manifest.members]
    text = alledge("inspect", tflite_bundle.path).stdout
    assert "  accuracy" in text
    assert all(f"  {warning}" in text for warning in tflite_bundle.manifest.metrics.get("warnings", []))
    assert tflite_bundle.id in text


def test_inspect_refuses_an_altered_bundle(alledge: Cli, onnx_bundle: Bundle, tmp_path: Path) -> None:
    content = bytearray(onnx_bundle.path.read_bytes())
    content[content.index(b"IDAT") + 60] ^= 1
    (tmp_path / "altered.alledge").write_bytes(content)
    done = alledge("inspect", tmp_path / "altered.alledge")
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1


def test_doctor(alledge: Cli, onnx_bundle: Bundle, tmp_path: Path, bundle_of: Any, onnx_of: Any) -> None:
    done = alledge("doctor", onnx_bundle.path, "--json", env={"XDG_STATE_HOME": str(tmp_path / "new")})
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert {"python", "libraries", "engine onnx", "camera file", "display png", "sink sqlite", "clock"} <= set(checks)
    assert checks[f"goldens of {onnx_bundle.path}"]["found"] == "1 reproduced on onnx"
    assert not (tmp_path / "new").exists()
    liar = bundle_of(tmp_path / "liar.alledge", onnx_of(), probabilities=[0.25] * 4)
    bad = alledge("doctor", liar.path)
    assert bad.returncode == 1
    assert "probabilities differ" in bad.stdout
    assert bad.stderr.startswith("error: this machine is not ready")


def test_doctor_names_the_command_that_mends_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from alledge.config import DeviceConfig
    from alledge.device.doctor import examine, table
    from alledge.device.engine import onnx

    assert onnx.OnnxEngine.name == "onnx"
    monkeypatch.delitem(sys.modules, "alledge.device.engine.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what an import of an absent library looks like
    checks = {check.name: check for check in examine(DeviceConfig())}
    assert not checks["engine onnx"].ok
    assert checks["engine onnx"].fix == "pip install 'alledge[onnx]'"
    assert any("-> pip install 'alledge[onnx]'" in line for line in table(list(checks.values())))
    assert checks["an engine"].ok


@pytest.mark.parametrize(("python", "ok", "said"), [
    ("usr/bin/python3", True, "usr/bin/python3"), ("home/jo/.pyenv/python3", False, "lies in a home folder"),
    (None, False, "is not there")])
def test_doctor_looks_whether_the_units_see_their_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                          python: str | None, ok: bool, said: str) -> None:
    """The units see no home folder; a virtual environment's Python is a link, which may lead into one."""
    unit, program = tmp_path / "alledge.service", tmp_path / "opt" / "alledge" / "bin" / "python"
    monkeypatch.setattr(doctor, "UNIT", unit)
    monkeypatch.setattr(doctor, "PROGRAM", program)
    monkeypatch.setattr(doctor, "HOMES", (str(tmp_path / "home"),))

    def looked() -> list[doctor.Check]:
        return [check for check in doctor.examine(DeviceConfig()) if check.name == "program of the units"]

    assert looked() == []  # no unit is installed
    unit.touch()
    if python is not None:
        for path in (tmp_path / python, program):
            path.parent.mkdir(parents=True)
        (tmp_path / python).touch()
        program.symlink_to(tmp_path / python)
    (check,) = looked()
    assert (check.ok, said in check.found, check.needed) == (ok, True, True)


def test_doctor_names_no_extra_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from alledge.config import DeviceConfig
    from alledge.device.doctor import examine

    monkeypatch.setitem(sys.modules, "alledge.device.sink.jsonl", None)
    sink = next(check for check in examine(DeviceConfig()) if check.name == "sink jsonl")
    assert (sink.ok, sink.fix) == (False, "pip install --force-reinstall alledge")


def test_doctor_looks_at_buses_and_pins_and_needs_those_that_are_configured(monkeypatch: pytest.MonkeyPatch,
                                                                           tmp_path: Path) -> None:
    pytest.importorskip("luma.oled", reason="luma.oled is not installed: pip install 'alledge[ssd1306]'")
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'alledge[gpio]'")
    from gpiozero.pins.mock import MockFactory

    from alledge.config import DeviceConfig, DisplaySettings, LedSettings, TriggerSettings
    from alledge.device import nodes
    from alledge.device.doctor import examine

    monkeypatch.setattr(nodes, "DEV", tmp_path)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "lgpio")
    config = DeviceConfig(display=DisplaySettings(name="ssd1306", options={"port": 3}), led=LedSettings(pin=5),
                          trigger=TriggerSettings(name="gpio"))
    absent = {check.name: check for check in examine(config)}
    for name, found, fix in (("display ssd1306", "i2c-3 is not there", "sudo raspi-config nonint do_i2c 0"),
                             ("display sh1106", "i2c-1 is not there", "sudo raspi-config nonint do_i2c 0"),
                             ("display framebuffer", "fb0 is not there", "connect a screen"),
                             ("trigger gpio", "gpiochip* is there", "trigger keyboard or interval"),
                             ("status LED", "gpiochip* is there", "no [led]")):
        assert (absent[name].ok, found in absent[name].found, fix in absent[name].fix) == (False, True, True), name
    assert [name for name, check in absent.items() if check.needed and not check.ok] == [
        "display ssd1306", "trigger gpio", "status LED"]
    for node in ("i2c-3", "fb0"):
        (tmp_path / node).touch()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", MockFactory())
    here = {check.name: check for check in examine(config)}
    assert all(here[name].ok for name in ("display ssd1306", "display framebuffer", "trigger gpio", "status LED"))
    assert not here["display sh1106"].ok


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, onnx_bundle: Bundle, alledge: Cli) -> Path:
    path = tmp_path_factory.mktemp("results") / "r.db"
    done = alledge("run", onnx_bundle.path, "--camera", "synthetic://?size=96", "--frames", 3, "--results", path)
    assert done.returncode == 0, done.stderr
    return path


def test_results_list_and_show(alledge: Cli, database: Path) -> None:
    rows = json.loads(alledge("results", "list", "--results", database, "--json").stdout)["results"]
    assert [row["sequence"] for row in rows] == [1, 2, 3]
    last = json.loads(alledge("results", "list", "--results", database, "--last", 1, "--json").stdout)["results"]
    assert last == rows[2:]
    assert json.loads(alledge("results", "show", 2, "--results", database, "--json").stdout) == rows[1]
    none = alledge("results", "list", "--results", database, "--verdict", "inconclusive", "--json")
    assert json.loads(none.stdout) == {"results": []}
    assert alledge("results", "list", "--results", database, "--verdict", "sick").returncode == 2
    missing = alledge("results", "show", 9, "--results", database)
    assert missing.returncode == 2
    assert "holds no result 9" in missing.stderr
    assert alledge("results", "show", 2**64, "--results", database).returncode == 2


def test_results_export(alledge: Cli, database: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "json"):
        done = alledge("results", "export", tmp_path / f"out.{suffix}", "--results", database, "--json")
        assert json.loads(done.stdout)["results"] == 3
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    exported = json.loads((tmp_path / "out.json").read_text())
    assert [int(row["sequence"]) for row in rows] == [r["sequence"] for r in exported["results"]] == [1, 2, 3]
    assert float(rows[0]["p_pre_b"]) == pytest.approx(exported["results"][0]["probabilities"]["pre_b"])
    assert {row["notice"] for row in rows} == {exported["notice"]} == {"RESEARCH USE ONLY"}
    assert alledge("results", "export", tmp_path / "out.xlsx", "--results", database).returncode == 2


def test_a_bundle_judges_as_a_device_would(onnx_bundle: Bundle) -> None:
    fields = [draw_field("pre_b", i, 96).rgb for i in range(2)] + [np.full((96, 96, 3), 225, np.uint8)]
    judge = BundleJudge(onnx_bundle.path)
    probs, answered = judge(fields)
    judge.close()
    assert probs.shape == (3, 4)
    assert answered.tolist() == [True, True, False]
    assert judge.identity == {"id": onnx_bundle.id, "target": "onnx", "engine": "onnx"}
    np.testing.assert_allclose(probs.sum(1), 1)
