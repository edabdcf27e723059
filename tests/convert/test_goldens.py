"""Goldens: drawn larger than the model's input, the same everywhere, and never more tolerant than the target."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from alledge.bundle import Bundle
from alledge.convert import remedies
from alledge.convert.converted import INT8_TOLERANCE
from alledge.convert.goldens import CANDIDATES, frame_height, make_goldens
from alledge.convert.trained import Outputs
from alledge.errors import GateNotMet
from alledge.images import decode_image
from alledge.labels import LABELS
from alledge.preprocess import Preprocessing, resize
from alledge.synthetic import draw_field

from .conftest import convert_quietly

PREPROCESSING = Preprocessing(size=64)


def shifted(run, off):
    """A kernel set whose first probability is `off(call)` higher; it is called once per candidate."""
    calls = iter(range(1000))

    def shifted_run(tensors):
        outputs = run(tensors)
        first = np.zeros(4, np.float32)
        first[0] = off(next(calls))
        return Outputs(outputs.probs + first, outputs.embedding)

    return shifted_run


def with_other_kernels(converted, off):
    return replace(converted, kernels={"one": converted.run, "other": shifted(converted.run, off)})


def test_the_first_field_on_which_the_kernel_sets_agree_is_taken(conversion):
    converted = conversion("cpu").converted
    plain = make_goldens(with_other_kernels(converted, lambda call: 0), PREPROCESSING)
    undecided = make_goldens(with_other_kernels(converted, lambda call: 0.3 if call == 0 else 0), PREPROCESSING)
    assert undecided.spread <= converted.tolerance
    first, *rest = (f"goldens/{label}.png" for label in LABELS)
    assert undecided.members[first] != plain.members[first]
    assert all(undecided.members[name] == plain.members[name] for name in rest)


def test_when_none_agrees_the_least_spread_is_told(conversion):
    converted = conversion("cpu").converted
    goldens = make_goldens(with_other_kernels(converted, lambda call: 0.2 + 0.1 * (call % CANDIDATES)), PREPROCESSING)
    assert goldens.spread == pytest.approx(0.2, abs=1e-6)


def test_goldens_that_do_not_repeat_are_refused_and_never_widen_the_tolerance(trained_run, tmp_path, monkeypatch):
    load = remedies.load_target

    def unlike(target):
        def convert(trained, options):
            converted = load(target)(trained, options)
            wrong = shifted(converted.run, lambda call: 0.2 if call else 0)  # call 0 judges the held-out tiles
            return replace(converted, kernels={"one": converted.run, "other": wrong}, slow_kernels=frozenset())
        return convert

    monkeypatch.setattr(remedies, "load_target", unlike)
    out = tmp_path / "model.alledge"
    with pytest.raises(GateNotMet, match="golden field"):
        convert_quietly(trained_run, "cpu", out)
    assert not out.exists()
    manifest = convert_quietly(trained_run, "cpu", out, allow_drop=True).bundle.manifest
    assert manifest.tolerance == INT8_TOLERANCE
    assert manifest.metrics["allow_drop"] is True
    assert any("--allow-drop: goldens" in line for line in manifest.metrics["warnings"])


def test_goldens_are_larger_than_the_input_and_wider_than_high(conversion):
    bundle = Bundle.open(conversion("cpu").bundle.path)
    for golden in bundle.manifest.goldens:
        height, width = decode_image(bundle.read(golden.image), golden.image).shape[:2]
        assert bundle.manifest.preprocessing.size < height < width


@pytest.mark.parametrize("size", [96, 112, 224, 240])
def test_shrinking_a_golden_is_exact_so_that_no_compiler_can_change_it(size):
    side = frame_height(size)
    rgb = draw_field(LABELS[0], 5, side).rgb
    edges = np.arange(size)[:, None] * side, np.arange(side)[None] * size
    overlap = (np.minimum(edges[0] + side, edges[1] + size) - np.maximum(*edges)).clip(0)
    exact = np.einsum("ij,jkc,lk->ilc", overlap, rgb.astype(np.int64), overlap, optimize=True) / side**2
    cv2.setUseOptimized(False)
    try:
        plain = resize(rgb, size)
    finally:
        cv2.setUseOptimized(True)
    assert (resize(rgb, size) == np.rint(exact)).all()
    assert (plain == np.rint(exact)).all()
