"""Heat maps of a report: what a bundle answers when parts of a field that it has judged are covered."""

import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alledge.bundle import Bundle
from alledge.config import BundleSettings
from alledge.device.archive import Storage
from alledge.device.camera import Frame
from alledge.device.engine import open_engine
from alledge.device.occlusion import GRID, open_occluder
from alledge.device.pipeline import Pipeline
from alledge.device.sink import open_sink
from alledge.device.stored import export
from alledge.errors import DataError, UsageError
from alledge.images import encode_png
from alledge.verdict import Verdict

ROW, COLUMN, SIDE = 2, 5, 64
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def field() -> NDArray[np.uint8]:
    """A grey glass, and one black square: the tests' network asks for the mean colour, so nothing else can matter."""
    edges = np.linspace(0, SIDE, GRID + 1).round().astype(int)
    rgb = np.full((SIDE, SIDE, 3), 128, np.uint8)
    rgb[edges[ROW]:edges[ROW + 1], edges[COLUMN]:edges[COLUMN + 1]] = 0
    return rgb


@pytest.fixture
def judged(onnx_bundle: Bundle, field: NDArray[np.uint8]) -> Verdict:
    """That field's own verdict."""
    with closing(open_engine(onnx_bundle)) as engine:
        return replace(Pipeline(onnx_bundle, engine)(field), sample="S-0001", taken_at="2026-01-02T03:04:05+00:00")


def test_only_the_square_that_matters_changes_the_answer(onnx_bundle: Bundle, field: NDArray[np.uint8],
                                                         judged: Verdict) -> None:
    with closing(open_occluder(onnx_bundle.path, BundleSettings())) as occlude, \
            closing(open_engine(onnx_bundle)) as engine:
        found = occlude(judged, field)
        bare = Pipeline(onnx_bundle, engine)(np.full_like(field, 128)).probabilities[found.label]
    assert judged.probabilities[found.label] == max(judged.probabilities.values()) == pytest.approx(found.probability)
    wanted = np.zeros((GRID, GRID))
    wanted[ROW, COLUMN] = bare - found.probability
    assert abs(wanted[ROW, COLUMN]) > 0.05
    np.testing.assert_allclose(found.change, wanted, atol=1e-6)


def test_no_map_is_made_of_an_answer_that_does_not_come_again(onnx_bundle: Bundle, field: NDArray[np.uint8],
                                                              judged: Verdict) -> None:
    with closing(open_occluder(onnx_bundle.path, BundleSettings())) as occlude:
        with pytest.raises(DataError, match=r"asked again, the model gives .*% where .*% is stored"):
            occlude(judged, np.full_like(field, 60))
        with pytest.raises(DataError, match=r"bundle 0{16} judged this field"):
            occlude(replace(judged, bundle_id="0" * 16), field)
        with pytest.raises(DataError, match="gave this field no probabilities"):
            occlude(replace(judged, probabilities={}), field)


@pytest.fixture
def kept(tmp_path: Path, field: NDArray[np.uint8], judged: Verdict) -> tuple[Path, Path]:
    """A database and archive with the field as it was judged, and once with an answer that is not its own."""
    database, archive = tmp_path / "r.db", tmp_path / "captures"
    frame = Storage(database, archive).keep(Frame(field, judged.taken_at, encoded=encode_png(field)))
    other = dict(zip(judged.probabilities, reversed(judged.probabilities.values()), strict=True))
    with closing(open_sink("sqlite", database)) as sink:
        for row in (judged, replace(judged, probabilities=other)):
            sink.write(replace(row, frame_sha256=frame.frame_sha256))
    return database, archive


def test_a_report_has_a_map_where_the_answer_comes_again(kept: tuple[Path, Path], onnx_bundle: Bundle, tmp_path: Path,
                                                         alledge: Cli) -> None:
    done = alledge("results", "export", tmp_path / "out.html", "--sample", "S-0001", "--results", kept[0], "--archive",
                   kept[1], "--heat-map", onnx_bundle.path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out.html").read_text("utf-8")
    assert page.count("alt='heat map of field 1'") == 1
    assert page.count("alt='heat map of field") == 1
    assert page.count("<p class=note>No heat map: asked again") == 1
    assert page.count("Do not read a diagnosis from it") == 1
    export(kept[0], tmp_path / "plain.html", archive=kept[1])
    assert "eat map" not in (tmp_path / "plain.html").read_text("utf-8")


def test_a_map_that_cannot_be_made_is_refused(kept: tuple[Path, Path], onnx_bundle: Bundle, tmp_path: Path,
                                              bundle_of: Callable[..., Bundle], onnx_of: Callable[..., bytes]) -> None:
    with closing(open_occluder(onnx_bundle.path, BundleSettings())) as occlude:
        for out, form, archive, why in ((tmp_path / "o.csv", None, kept[1], "--format html with it, received csv"),
                                        (tmp_path / "o", "fhir", kept[1], "--format html with it, received fhir"),
                                        (tmp_path / "o", "html", None, "needs the archived pictures")):
            with pytest.raises(UsageError, match=why):
                export(kept[0], out, form, archive=archive, occlude=occlude)
    other = bundle_of(tmp_path / "other.alledge", onnx_of(unsure=True))
    with closing(open_occluder(other.path, BundleSettings())) as occlude, \
            pytest.raises(UsageError, match=f"{other.id} judged none of these fields, {onnx_bundle.id} did"):
        export(kept[0], tmp_path / "o", "html", archive=kept[1], occlude=occlude)
    assert not (tmp_path / "o").exists()
