"""What a device would say before and after conversion, abstention and domain gate included."""

import numpy as np
import pytest

from alledge.calibration import Calibration
from alledge.convert.judgement import Judgement
from alledge.convert.trained import Outputs, open_trained
from alledge.convert.verdicts import changes, verdicts
from alledge.quiet import quiet

UNGATED = Calibration(abstain_below=0.75)


@pytest.fixture(scope="module")
def trained(trained_run):
    with quiet():
        return open_trained(trained_run)


def outputs(trained, confidence, shifted=0):
    """Everything called rightly with this confidence; the first `shifted` tiles another class."""
    truth = trained.held_out.truth.copy()
    truth[:shifted] = (truth[:shifted] + 1) % 4
    probs = np.where(np.eye(4)[truth] > 0, confidence, (1 - confidence) / 3).astype(np.float32)
    return Outputs(probs, np.zeros((len(truth), 16), np.float32))


def said(trained, before, after):
    record = trained.record.model_copy(update={"calibration": UNGATED})
    trained = type(trained)(**{**vars(trained), "record": record})
    return verdicts(trained, Judgement({}, before, after, 0.0), UNGATED)


def test_a_network_that_became_unsure_agrees_and_is_still_told(trained):
    found = said(trained, outputs(trained, 0.9), outputs(trained, 0.6))
    assert (found["same"], found["other_class"], found["answered"]) == (0.0, 0, {"float": 1.0, "converted": 0.0})
    assert found["ece"] == {"float": pytest.approx(0.1, abs=1e-6), "converted": pytest.approx(0.4, abs=1e-6)}
    (line,) = changes(found)
    assert "0.0% of" in line
    assert "100.0% before conversion" in line


def test_verdicts_of_another_class_are_counted(trained):
    found = said(trained, outputs(trained, 0.9), outputs(trained, 0.9, shifted=3))
    assert found["other_class"] == 3
    assert "names another class" in changes(found)[0]
    assert changes(said(trained, outputs(trained, 0.9), outputs(trained, 0.9))) == []


def test_every_conversion_records_them(conversion):
    done = conversion("cpu")
    found = done.bundle.manifest.metrics["verdicts"]
    assert found["n"] == len(done.trained.held_out.truth)
    assert 0 <= found["same"] <= 1
