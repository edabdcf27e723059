"""The pure part: quality, decision, and the front door `Pipeline(bundle, engine)(rgb)`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest

import alledge
from alledge.bundle import Bundle
from alledge.calibration import Calibration, DomainGate, gate_width
from alledge.device import quality
from alledge.device.camera import Frame
from alledge.device.decide import decide
from alledge.device.engine import Output, open_engine
from alledge.device.pipeline import Pipeline
from alledge.device.quality import complaints, measure
from alledge.device.selftest import replay
from alledge.device.stages import Answer, Shot, infer, prepare
from alledge.errors import BundleRefused, UsageError
from alledge.labels import LABELS
from alledge.palette import FIGURES
from alledge.synthetic import draw_field

GOOD = measure(draw_field("pre_b", 3, 224).rgb)


def output(*probs: float, at: float = 0.0) -> Output:
    return Output(np.array(probs, np.float32), np.full(2, at, np.float32))


@pytest.mark.parametrize("seed", range(12))
def test_clean_fields_are_not_complained_about(seed: int) -> None:
    field = draw_field(LABELS[seed % 4], seed, 224)
    assert complaints(measure(field.rgb)) == ()


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda rgb: cv2.GaussianBlur(rgb, (0, 0), 5), "out of focus"),
    (lambda rgb: (rgb * 0.3).astype(np.uint8), "too dark"),
    (lambda rgb: np.where(np.arange(224)[:, None, None] < 100, 0, rgb).astype(np.uint8), "partly black"),
    (lambda rgb: np.clip(rgb.astype(int) + 90, 0, 255).astype(np.uint8), "overexposed"),
    (lambda rgb: np.minimum.reduce([np.rot90(rgb, turn) for turn in range(4)]), "crowded or too thick"),
])
def test_a_spoiled_field_is_complained_about(spoil: Callable[[Any], Any], said: str) -> None:
    found = complaints(measure(spoil(draw_field("pre_b", 3, 224).rgb)))
    assert said in " ".join(found)


def test_quality_figures_of_a_known_picture() -> None:
    tile = np.zeros((64, 64, 3), np.uint8)
    tile[:16] = 255
    figures = measure(tile)
    assert figures["black"] == pytest.approx(0.75)
    assert figures["saturated"] == pytest.approx(0.25)
    assert figures["level"] == pytest.approx(255 / 4)
    assert figures["glass"] == pytest.approx(0.25)


def test_a_confident_field_gets_its_class() -> None:
    verdict = decide(output(0.02, 0.03, 0.9, 0.05), Calibration(abstain_below=0.6))
    assert (verdict.verdict, verdict.reasons) == ("pre_b", ())
    assert verdict.confidence == pytest.approx(0.9, abs=1e-6)


def test_temperature_softens_before_the_threshold_is_applied() -> None:
    verdict = decide(output(0.02, 0.03, 0.9, 0.05), Calibration(temperature=4.0, abstain_below=0.6))
    assert verdict.verdict == "inconclusive"
    assert "not sure enough" in verdict.reasons[0]
    assert 0.25 < verdict.confidence < 0.6


def test_a_reason_shows_that_the_figures_differ() -> None:
    close, far = (decide(output(0.02, 0.03, p, 0.95 - p), Calibration(abstain_below=0.75)) for p in (0.747, 0.5))
    assert close.reasons == ("not sure enough: confidence 74.70%, this model answers from 75.00%",)
    assert far.reasons == ("not sure enough: confidence 50%, this model answers from 75%",)


@pytest.mark.parametrize(("at", "conclusive"), [(0.0, True), (0.7, True), (0.8, False)])
def test_the_domain_gate_refuses_what_is_far(at: float, conclusive: bool) -> None:
    gate = DomainGate(means=[[0.0, 0.0]], whiten=[[1.0, 0.0], [0.0, 1.0]], threshold=1.0)
    verdict = decide(output(0.9, 0.05, 0.03, 0.02, at=at), Calibration(gate=gate))
    assert verdict.conclusive == conclusive
    assert conclusive or "not like the smears" in verdict.reasons[0]


class Answering:
    """An engine nobody checks, which always says the same."""

    name = "answering"

    def __init__(self, said: Output) -> None:
        self.said = said

    def infer(self, tensor: Any) -> Output:
        return self.said

    def close(self) -> None:
        pass


@pytest.mark.parametrize("said", [
    output(np.nan, np.nan, np.nan, np.nan), output(0.1, np.inf, 0.1, 0.1), output(0.97, 0.01, 0.01, 0.01, at=np.nan),
    output(0.97, 0.01, 0.01, 0.01, at=-np.inf),
])
def test_numbers_that_are_not_finite_are_never_a_verdict(onnx_bundle: Bundle, said: Output) -> None:
    verdict = Pipeline(onnx_bundle, Answering(said))(draw_field("pre_b", 3, 128).rgb)
    assert (verdict.verdict, verdict.confidence, verdict.probabilities) == ("inconclusive", 0.0, {})
    assert "not finite" in verdict.reasons[-1]
    assert verdict.coverage > 0


def test_a_stain_far_darker_than_that_of_the_class_it_is_taken_for_is_refused() -> None:
    covariance = np.diag([1.0, 0.04])  # of one number of the embedding, and of blue contrast
    gate = DomainGate(means=[[0.0, -2.5]] * 3 + [[0.0, -1.0]], whiten=np.linalg.cholesky(
        np.linalg.inv(covariance)).tolist(), threshold=1e3)
    dark, usual = np.array([-1.8]), np.array([-2.4])
    assert quality.stained(np.array([0.9, 0.1, 0, 0]), dark, gate)["stain"] == pytest.approx(3.5)
    (sentence,) = complaints({**GOOD, **quality.stained(np.array([0.9, 0.1, 0, 0]), dark, gate)})
    assert sentence.startswith("stained too darkly: 3.5 standard deviations")
    assert not complaints({**GOOD, **quality.stained(np.array([0.9, 0.1, 0, 0]), usual, gate)})
    assert not complaints({**GOOD, **quality.stained(np.array([0, 0, 0, 1.0]), dark, gate)})  # usual for that one


def test_no_gate_or_one_that_lacks_a_class_says_nothing_of_the_stain() -> None:
    gate = DomainGate(means=[[0.0, -2.5]], whiten=[[1.0, 0.0], [0.0, 1.0]], threshold=1.0)
    assert quality.stained(np.ones(4), np.ones(1), None) == quality.stained(np.ones(4), np.ones(1), gate) == {}
    empty = DomainGate(means=[[0.0, 0.0]] * 4, whiten=[[1.0, 0.0], [0.0, 0.0]], threshold=1.0)
    assert quality.stained(np.ones(4), np.ones(1), empty) == {"stain": 0.0}


def test_a_gate_that_computes_nan_refuses() -> None:
    gate = DomainGate(means=[[0.0, 0.0]], whiten=[[1.0, 0.0], [0.0, 1.0]], threshold=1.0)
    spoiled = gate.model_copy(update={"whiten": [[np.nan, 0.0], [0.0, 1.0]]})
    verdict = decide(output(0.97, 0.01, 0.01, 0.01), Calibration().model_copy(update={"gate": spoiled}))
    assert "not like the smears" in " ".join(verdict.reasons)


def test_a_temperature_that_computes_nan_refuses() -> None:
    with np.errstate(all="ignore"):
        verdict = decide(output(0.9, 0.05, 0.03, 0.02), Calibration().model_copy(update={"temperature": np.nan}))
    assert "not sure enough" in " ".join(verdict.reasons)


def test_every_doubt_is_a_reason_and_the_probabilities_stay() -> None:
    verdict = decide(output(0.97, 0.01, 0.01, 0.01), Calibration(), ["hardly any nucleus: 0.10% of the field"])
    assert verdict.verdict == "inconclusive"
    assert verdict.reasons == ("hardly any nucleus: 0.10% of the field",)
    assert verdict.probabilities["benign"] > 0.9


def test_quality_is_measured_while_the_model_is_busy(onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, measured = Event(), Event()

    class Slow(Answering):
        def infer(self, tensor: Any) -> Output:
            busy.set()
            assert measured.wait(20)
            return self.said

    def slowly(tile: Any) -> dict[str, float]:
        assert busy.wait(20)
        figures = measure(tile)
        measured.set()
        return figures

    monkeypatch.setattr(quality, "measure", slowly)
    pipeline = Pipeline(onnx_bundle, Slow(output(0.97, 0.01, 0.01, 0.01)))
    shot = Shot(Frame(draw_field("pre_b", 3, 128).rgb, ""), "drawn", "", 0.0, {})
    with ThreadPoolExecutor(1) as model:
        (answer,) = infer(pipeline, prepare(pipeline, [shot], model))
    assert isinstance(answer, Answer)
    assert answer.sight.look is not None
    assert answer.sight.look.quality == measure(answer.sight.look.tile)
    assert answer.output is not None


def test_front_door(onnx_bundle: Bundle) -> None:
    with closing(open_engine(onnx_bundle)) as engine:
        pipeline = alledge.Pipeline(onnx_bundle, engine)
        verdict = pipeline(draw_field("pre_b", 3, 128).rgb)
        again = pipeline(draw_field("pre_b", 3, 128).rgb)
        with pytest.raises(UsageError, match="uint8"):
            pipeline(np.zeros((64, 64), np.uint8))
    assert verdict == again
    assert verdict.conclusive
    assert sum(verdict.probabilities.values()) == pytest.approx(1)
    assert (verdict.engine, verdict.bundle_id) == ("onnx", onnx_bundle.id)
    assert 0 < verdict.coverage < 1
    assert verdict.timings_ms == {}


def test_an_empty_field_is_inconclusive(onnx_bundle: Bundle) -> None:
    with closing(open_engine(onnx_bundle)) as engine:
        verdict = Pipeline(onnx_bundle, engine)(np.full((128, 128, 3), 225, np.uint8))
    assert not verdict.conclusive
    assert any("no stained cell" in reason for reason in verdict.reasons)


def test_an_embedding_wider_than_the_gate_is_measured_as_in_training(
        tmp_path: Path, bundle_of: Any, onnx_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alledge.calibration.WIDEST", 2)
    width = gate_width(100)
    gate = DomainGate(means=[[0.0] * width] * 4, whiten=np.eye(width).tolist(), threshold=1e6)
    bundle = bundle_of(tmp_path / "b.alledge", onnx_of(), calibration=Calibration(gate=gate))
    with closing(open_engine(bundle)) as engine:
        verdict = Pipeline(bundle, engine)(draw_field("pre_b", 1).rgb)
    assert width == 2 + FIGURES < bundle.manifest.embedding.shape[-1] + FIGURES
    assert verdict.gates["distance"] < verdict.gates["distance_most"]


def test_a_gate_that_does_not_fit_is_refused(tmp_path: Path, bundle_of: Any, onnx_of: Any) -> None:
    gate = DomainGate(means=[[0.0, 0.0]], whiten=[[1.0, 0.0], [0.0, 1.0]], threshold=1.0)
    bundle = bundle_of(tmp_path / "b.alledge", onnx_of(), calibration=Calibration(gate=gate))
    with closing(open_engine(bundle)) as engine, pytest.raises(BundleRefused, match="expected a domain gate of"):
        Pipeline(bundle, engine)


def test_goldens_hold_and_a_wrong_claim_is_found(tmp_path: Path, bundle_of: Any, onnx_of: Any,
                                                 onnx_bundle: Bundle) -> None:
    with closing(open_engine(onnx_bundle)) as engine:
        assert replay(onnx_bundle, engine) == []
        liar = bundle_of(tmp_path / "b.alledge", onnx_of(), probabilities=[0.25] * 4)
        assert "probabilities differ" in replay(liar, engine)[0]
        assert "tensor differs" in replay(promising(onnx_bundle, tensor_sha256="0" * 64), engine)[0]
        image = onnx_bundle.manifest.goldens[0].image
        assert "mask differs" in replay(promising(onnx_bundle, mask=image), engine)[0]


@pytest.mark.parametrize(("promised", "said"), [
    ([np.nan] * 4, "differ by nan"),
    ([np.nan, 0.0, 0.0, 0.0], "differ by nan"),
    ([0.25], "1 probabilities are promised"),
    ([0.2] * 5, "5 probabilities are promised"),
    ([], "0 probabilities are promised"),
])
def test_a_golden_that_promises_nothing_sensible_is_a_fault(onnx_bundle: Bundle, promised: list[float],
                                                            said: str) -> None:
    wide = onnx_bundle.manifest.model_copy(update={"tolerance": 0.999})  # so that no mere difference can be the fault
    loose = promising(Bundle(onnx_bundle.path, wide, contents(onnx_bundle)), probabilities=promised)
    with closing(open_engine(onnx_bundle)) as engine:
        assert said in replay(loose, engine)[0]


def promising(bundle: Bundle, **changes: Any) -> Bundle:
    """The same bundle with another golden, as no writer would write it."""
    golden = bundle.manifest.goldens[0].model_copy(update=changes)
    return Bundle(bundle.path, bundle.manifest.model_copy(update={"goldens": [golden]}), contents(bundle))


def contents(bundle: Bundle) -> dict[str, bytes]:
    return {member.name: bundle.read(member.name) for member in bundle.manifest.members}
