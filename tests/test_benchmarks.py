"""The benchmarks of speed run, and two runs of them can be compared. What they measure here is worth nothing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
MODULES = {"cuts", "engine_loop", "fields", "mutations", "pages", "turns"}  # what scripts import or start

pytest.importorskip("ai_edge_litert", reason="the shipped bundle's engine")


def run(script, *arguments, **options):
    return subprocess.run([sys.executable, "-W", "error", BENCHMARKS / f"{script}.py", *map(str, arguments)],
                          capture_output=True, text=True, check=False, **options)


def quick(folder, *names):
    return run("all", "--quick", "--out", folder, "--only", *names,
               env={**os.environ, "PYTHONWARNINGS": "error"})


@pytest.mark.parametrize("name", ["segmentation", "capture", "startup", "results_sink", "worker"])
def test_a_benchmark_writes_its_page(name, tmp_path):
    if name == "segmentation":
        pytest.importorskip("kmeans1d", reason="the peers of the extra `bench`")
        pytest.importorskip("skimage", reason="the peers of the extra `bench`")
    done = quick(tmp_path, name)
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.glob("*.md")
    text = page.read_text("utf-8")
    assert f"`python benchmarks/{name}.py" in text
    assert str(tmp_path) not in text
    assert "Load average" in text
    assert re.search(r"\| \d[\d.]*x( \(|  ?\|)", text), "a page without a ratio"
    assert "nan" not in text


def test_engines_that_are_there_are_measured_and_the_others_named(tmp_path):
    from alledge import reference
    from alledge.bundle import Bundle
    from alledge.preprocess import prepare_field
    from alledge.synthetic import draw_field

    bundle = Bundle.open(reference.BUNDLE)
    (tmp_path / "int8.tflite").write_bytes(bundle.cpu_model)
    shutil.copy(reference.BUNDLE, tmp_path / "int8.alledge")
    field = prepare_field(draw_field("pre_b", 1).rgb, bundle.manifest.preprocessing)
    np.save(tmp_path / "image.npy", field.tensor[None])
    done = run("engines", "--rounds", 2, "--models", tmp_path, "--tflite-runtime", tmp_path / "absent", "--out",
               tmp_path / "page.md")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.md").read_text("utf-8")
    assert text.count("| LiteRT | ") == 2
    assert text.count("| alledge `engine.infer` (LiteRT) | ") == 2
    assert "tflite_runtime is not measured here" in text
    assert "LiteRT cannot run float32.tflite" in text
    assert "ONNX Runtime cannot run int8.onnx" in text


PAGE = """# Some page

## Ways

| frame | way | CPU ms | of a copy | of another |
| --- | --- | --- | --- | --- |
| 224x224 | ours | {ratio} | {ratio}x (1.9-2.1) | 7x |
| 224x224 | a copy | 1.5 | 1.00x (1.00-1.00) | 3x |

| target | asked for | measured | met |
| --- | --- | --- | --- |
| ours at 224x224 | 1.5x or less | 2.00x (1.9-2.1) | **no** |
"""


def test_a_second_run_that_says_something_else_is_seen(tmp_path):
    for folder, ratio in (("first", "2.00"), ("second", "2.30"), ("third", "2.50")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.md").write_text(PAGE.format(ratio=ratio), "utf-8")
    same = run("again", tmp_path / "first", tmp_path / "second")
    assert same.returncode == 0, same.stdout
    assert "4 of 4 ratios within 20%" in same.stdout
    other = run("again", tmp_path / "first", tmp_path / "third")
    assert other.returncode == 1
    assert "page.md, Ways: 224x224, ours, column 4, of a copy: 2x, then 2.5x" in other.stdout
    nothing = run("again", tmp_path / "first", tmp_path)
    assert nothing.returncode == 1
    assert "no ratio in common" in nothing.stderr


def test_every_benchmark_is_listed():
    listed = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    scripts = {path.stem for path in BENCHMARKS.glob("*.py")} - MODULES
    assert not [name for name in sorted(scripts) if f"benchmarks/{name}.py" not in listed]
