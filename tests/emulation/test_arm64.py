"""What the arm64 proof compares and how it judges. The emulation itself: tests/emulation/arm64/run.py."""

import datetime
import importlib
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alledge import reference
from alledge.bundle import Bundle

ARM64 = Path(__file__).parent / "arm64"
MODULES = ("replay", "comparison", "kernel_sets", "page")
EXACT = "tflite (XNNPACK)"


@pytest.fixture(scope="module")
def proof():
    """The script's modules by name, taken away again: `page` and the like are nobody else's names."""
    sys.path.insert(0, str(ARM64))
    found = {name: importlib.import_module(name) for name in MODULES}
    sys.path.remove(str(ARM64))
    for name in MODULES:
        del sys.modules[name]
    return found


@pytest.fixture
def answers(proof):
    random = np.random.default_rng(0)
    return proof["replay"].Answers(
        "id", EXACT, 0.02, 2, np.array([], np.str_), np.array(["f1", "f2"]), np.array(["t1", "t2"]),
        random.random((2, 8, 8)) > 0.5, random.random((2, 4), np.float32), random.random((2, 6), np.float32),
        np.array(["pre_b", "inconclusive; blurred"]))


def test_equal_answers_hold(proof, answers):
    found = proof["comparison"].compare(answers, replace(answers))
    assert found.holds
    counted = {found.frames, found.masks, found.tensors, found.probs, found.embeddings, found.verdicts}
    assert (counted, found.apart, found.goldens) == ({2}, 0.0, 2)


@pytest.mark.parametrize("what", ["frames", "masks", "tensors", "probs", "embeddings", "verdicts"])
def test_one_differing_field_is_counted(proof, answers, what):
    there = getattr(answers, what).copy()
    there[1] = np.nextafter(there[1], np.float32(2)) if there.dtype == np.float32 else \
        ~there[1] if there.dtype == bool else "x"
    found = proof["comparison"].compare(answers, replace(answers, **{what: there}))
    assert getattr(found, what) == 1
    assert found.holds is (what == "embeddings")  # of which only the verdict that follows from it counts


@pytest.mark.parametrize(("engine", "apart", "holds"), [(EXACT, 1e-6, False), ("onnx", 0.019, True),
                                                        ("onnx", 0.021, False), ("onnx", np.nan, False),
                                                        ("tflite (built-in)", 0.019, True)])
def test_only_integer_kernels_must_be_equal_and_nan_never_passes(proof, answers, engine, apart, holds):
    here = replace(answers, engine=engine)
    there = replace(here, probs=here.probs + np.float32(apart))
    assert proof["comparison"].compare(here, there).holds is holds


def test_an_answer_refused_on_both_sides_is_equal_and_counted_and_on_one_side_is_not(proof, answers):
    refused = replace(answers, probs=answers.probs.copy())
    refused.probs[0] = np.nan
    both, one = (proof["comparison"].compare(here, refused) for here in (replace(refused), answers))
    assert (both.refused, both.probs, both.apart, both.holds) == (1, 2, 0.0, True)
    assert (one.refused, one.probs, one.apart, one.holds) == (1, 1, np.inf, False)


def test_a_golden_that_does_not_come_out_is_a_failure(proof, answers):
    found = proof["comparison"].compare(answers, replace(answers, faults=np.array(["golden g0.png: its mask differs"])))
    assert (found.golden_faults, found.holds) == (1, False)


@pytest.mark.parametrize(("change", "words"), [({"engine": "tflite (built-in)"}, "engine"), ({"bundle": "b"}, "bundle"),
                                               ({"frames": np.array(["f1"])}, "shape of frames"),
                                               ({"goldens": 1}, "goldens")])
def test_answers_to_something_else_are_not_compared(proof, answers, change, words):
    with pytest.raises(ValueError, match=f"{words}: .* here, .* there; nothing to compare"):
        proof["comparison"].compare(answers, replace(answers, **change))


def test_no_field_and_no_golden_prove_nothing(proof, answers):
    nothing = replace(answers, **{name: getattr(answers, name)[:0] for name in proof["comparison"].COUNTED})
    assert not proof["comparison"].compare(nothing, nothing).holds
    without = replace(answers, goldens=0)
    assert not proof["comparison"].compare(without, without).holds


MANIFEST = Bundle.open(reference.BUNDLE).manifest.model_copy(update={"tolerance": 0.02})


def test_sets_of_kernels_are_held_against_the_tolerance_on_goldens(proof):
    one, other = np.full((5, 4), 0.25, np.float32), np.full((5, 4), 0.25, np.float32)
    other[4, 0] = 0.4  # a field
    found = proof["kernel_sets"].measure("reference", one, other, 2, MANIFEST)
    assert (found.fields, found.equal, found.holds) == (3, 2, True)
    assert found.apart == pytest.approx(0.15)
    other[1, 0] = 0.28  # a golden
    assert not proof["kernel_sets"].measure("reference", one, other, 2, MANIFEST).holds
    assert not proof["kernel_sets"].measure("reference", one, other * np.nan, 2, MANIFEST).holds


def test_no_set_of_kernels_may_give_another_verdict(proof):
    one, other = np.full((3, 4), 0.25, np.float32), np.full((3, 4), 0.25, np.float32)
    one[2], other[2] = np.eye(4)[[0, 1]]
    found = proof["kernel_sets"].measure("reference", one, other, 2, MANIFEST)
    assert (found.contradictions, found.holds) == (1, False)


def test_a_replay_of_the_reference_survives_its_file_and_names_its_kernels(proof, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="needs the extra `tflite`")
    bundle, picture = Bundle.open(reference.BUNDLE), tmp_path / "golden.png"
    picture.write_bytes(bundle.read(bundle.manifest.goldens[0].image))
    found = proof["replay"].answer(bundle.path, [picture])
    found.save(tmp_path / "a.npz")
    again = proof["replay"].Answers.load(tmp_path / "a.npz")
    assert (again.bundle, again.engine, again.goldens) == (bundle.id, EXACT, len(bundle.manifest.goldens))
    assert again.tensors.tolist() == [bundle.manifest.goldens[0].tensor_sha256]
    assert not len(again.faults)
    assert proof["comparison"].compare(found, again).holds


def test_the_page_says_emulated_and_names_what_does_not_hold(proof, answers):
    there = proof["comparison"].compare(answers, replace(answers, probs=answers.probs + np.float32(0.5)))
    about = {"machine": "aarch64", "system": "Debian", "python": "3.13.5",
             **dict.fromkeys(proof["replay"].LIBRARIES, "1.0")}
    kernels = proof["kernel_sets"].measure("reference", answers.probs, answers.probs, 1, MANIFEST)
    run = proof["page"].Run(about, {"trixie-cortex-a76": {**about, "cpu": "cortex-a76", "board": "Raspberry Pi 5"}},
                            "qemu-aarch64 version 10", {"trixie-cortex-a76": {"reference": there}},
                            {"reference": [kernels]}, {"reference": 2})
    text = proof["page"].page(run, 3.0, datetime.date(2026, 1, 2))
    assert (run.holding, run.tried) == (1, 2)
    assert "Emulated (qemu-user), not measured on a board" in text
    assert re.search(r"\| trixie-cortex-a76 \| reference \|.*\| 0 \| 2 \| 2 \|.*\*\*no\*\* \|", text)
    assert " ms" not in text
