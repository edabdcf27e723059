"""The model card: what the model is for, what it is not for, and what was measured."""

from pathlib import Path
from typing import Any

from alledge.files import write_bytes
from alledge.labels import TITLES
from alledge.runfolder import MODEL_CARD, TrainingRecord


def write_card(run: Path, record: TrainingRecord) -> None:
    """Write `model_card.md` into the run folder."""
    write_bytes(run / MODEL_CARD, model_card(record).encode())


def model_card(record: TrainingRecord) -> str:
    """Markdown text made of the record alone."""
    m, p = record.metrics, record.provenance
    low, high = m["accuracy_ci95"]
    return f"""# Model card: run {record.run_id}

**RESEARCH USE ONLY. Not a medical device. It must not decide about a patient.**

- Network: {record.options['backbone']} with a {record.options['head']} self-attention head, loss
  {record.options['loss']}, weights from {Path(record.options['weights']).name}.
- Input: {record.preprocessing.size} px square, segmentation `{record.preprocessing.segment}`.
- Classes: {', '.join(TITLES[label] for label in record.labels)}.
- Data: {p['images']['train']} training, {p['images']['val']} validation and {p['images']['test']} test images,
  split {p['split_sha256'][:12]}. How far the subsets are disjoint (images, slides, patients, stains) is a property
  of the split that was passed; this file cannot vouch for it.

## Measured on the test rows

- Accuracy {m['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}, fields treated as independent) on {m['n']}
  images; a colour histogram without any shape reaches {m['baseline_histogram_accuracy']:.1%} on the same rows.
- Answered {1 - m['abstained'] / m['n']:.1%} of them; accuracy when answered {_percent(m['accuracy_when_answered'])}.
- Malignant against benign: sensitivity {_percent(m['malignant']['sensitivity'])}, specificity
  {_percent(m['malignant']['specificity'])}. Expected calibration error {m['ece']:.3f}.

| class | precision | recall | images |
|---|---|---|---|
{_rows(m)}

## Not for

Another microscope, stain, magnification or laboratory than the training images came from; bone marrow when trained on
blood; children or adults not represented in the data; any other leukemia. The domain gate catches part of that,
not all of it.
"""


def _rows(metrics: dict[str, Any]) -> str:
    return "\n".join(f"| {TITLES[label]} | {_percent(s['precision'])} | {_percent(s['recall'])} | {s['n']} |"
                     for label, s in metrics["per_class"].items())


def _percent(value: float | None) -> str:
    return "no case" if value is None else f"{value:.1%}"
