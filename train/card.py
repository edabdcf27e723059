"""The model card: what a run is for and not for, and what was measured, in the order of the CLAIM checklist.

Numbers are those of CLAIM (Mongan, Moy and Kahn, Radiology: Artificial Intelligence 2020;2:e200029). Items that a
machine can know are filled in; the others are listed, so that nobody takes silence for an answer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alledge.dataset import SUBSETS
from alledge.files import write_bytes
from alledge.labels import LABELS, TITLES
from alledge.predictions import PREDICTIONS, read_column, read_predictions
from alledge.runfolder import MODEL_CARD, REPORT, TrainingRecord

from .findings import Judged, confusions, interval, percent, proves, share, unlearned

_BY_HAND = """- 1, 2 Title and abstract. 3, 4 Background, aim, clinical role. 5, 6 Study design and goal.
- 7, 8 Where the images come from, and who was eligible. 10, 11 Choice of subsets of the data, definitions.
- 12, 13 De-identification; missing data.
- 14 to 18 Reference standard: who named the classes, by what method, with what training and agreement.
- 19 Intended sample size. 34 Age, sex, disease and treatment of the patients in each subset.
- 32 Testing on another laboratory's images. 39 to 42 Implications, registration, protocol, funding."""


def write_card(run: Path, record: TrainingRecord) -> None:
    """Write `model_card.md` into the run folder, which must hold the predictions already."""
    judged = Judged(*read_predictions(run / PREDICTIONS), read_column(run / PREDICTIONS, "file"))
    write_bytes(run / MODEL_CARD, model_card(record, judged).encode())


def model_card(record: TrainingRecord, judged: Judged) -> str:
    """Markdown text; no image and no name of an image goes in, because the card travels in every bundle."""
    options = record.options
    return f"""# Model card: run {record.run_id}

**RESEARCH USE ONLY. Not a medical device. It must not decide about a patient.**

## Intended use

Research on sorting microscope fields of stained blood or marrow smears into {', '.join(TITLES[c] for c in LABELS)},
and on running such networks on small boards. An answer is a hint to a person who reads the smear anyway; "inconclusive"
means that there is no hint.

**Not for** diagnosis, screening or triage; another microscope, stain, magnification or laboratory than the training
images came from; any other leukemia or disease; children or adults whom those images do not represent. The domain gate
refuses part of that, not all of it.

## Data (items 9, 20, 21, 33)

{_composition(record)}

{proves(record)[0]}
Split {record.provenance.get('split_sha256', 'unknown')[:12]}. Every field is cut to its central square and brought to
{record.preprocessing.size} px; segmentation `{record.preprocessing.segment}`.

## Model and training (items 22 to 27)

- Network: {options.get('backbone')} with head `{options.get('head')}`, weights from
  {Path(str(options.get('weights'))).name}. One network, no ensemble.
- Training: loss {options.get('loss')}, up to {options.get('epochs')} epochs, batch {options.get('batch')}, seed
  {options.get('seed')}. {_kept(record.history)}
- Software: {_software(record.provenance)}.

## Results on the test rows (items 28, 29, 35, 36)

{_results(record)}

Robustness to cast, stain, exposure, blur, noise, compression and a covered scale bar (item 30): in `{REPORT}` of the
run, where it was measured. Attention maps and Grad-CAM (item 31): `alledge explain`.

## Failures (item 37)

{_failures(judged, record.metrics)}

## Limits (item 38)

One data set, and the question how much colour alone gives away in it, stand above. Confidence is calibrated on images
like those of the data set and means nothing for others.

## To be written by a person

{_BY_HAND}
"""


def _composition(record: TrainingRecord) -> str:
    made_of = record.provenance.get("composition")
    if made_of is None:
        return "Images per class and subset were not recorded."
    lines = [f"| subset | {' | '.join(TITLES[label] for label in LABELS)} | groups |", "|---|---|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(str(made_of['per_class'][name][label]) for label in LABELS)} | "
              f"{made_of['groups'][name] if made_of['groups'] else 'not named'} |" for name in SUBSETS]
    return "\n".join(lines)


def _kept(history: Mapping[str, list[float]]) -> str:
    if not history.get("val_loss"):
        return ""
    epoch = min(range(len(history["val_loss"])), key=history["val_loss"].__getitem__)
    known = f", accuracy {percent(history['val_accuracy'][epoch])}" if history.get("val_accuracy") else ""
    return (f"Lowest validation loss: {history['val_loss'][epoch]:.3f}{known} (epoch {epoch + 1} of "
            f"{len(history['val_loss'])}).")


def _software(provenance: Mapping[str, Any]) -> str:
    names = ("alledge", "keras", "keras_backend", "numpy", "python", "machine")
    return ", ".join(f"{name.replace('_', ' ')} {provenance[name]}" for name in names if name in provenance)


def _results(record: TrainingRecord) -> str:
    return f"""In brackets: 95 % intervals.

| figure | value |
|---|---|
{_figures(record.metrics)}

| class | images | recall | specificity | precision |
|---|---|---|---|---|
{_classes(record.metrics)}

{_list([*filter(None, [unlearned(record.metrics)]), *proves(record)[1:]])}"""


def _figures(m: Mapping[str, Any]) -> str:
    malignant = m["malignant"]
    rows = [
        (f"accuracy, all {m['n']} images", share(m, "accuracy")),
        ("a colour histogram alone, same rows", percent(m["baseline_histogram_accuracy"])),
        ("answered", f"{percent(1 - m['abstained'] / m['n'])} {interval(m, 'answered')}"),
        ("accuracy when answered", share(m, "accuracy_when_answered")),
        ("malignant found (sensitivity)", share(malignant, "sensitivity")),
        ("benign recognised (specificity)", share(malignant, "specificity")),
        ("malignant answered as benign", f"{malignant['missed']} images"),
        *((told, "no case" if m[key] is None else f"{m[key]:.3f} {interval(m, key, '.3f')}") for told, key in
          (("macro F1", "macro_f1"), ("AUC", "auc"), ("loss", "loss"), ("expected calibration error", "ece"))),
    ]
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


def _classes(m: Mapping[str, Any]) -> str:
    return "\n".join(f"| {TITLES[label]} | {s['n']} | {share(s, 'recall')} | {share(s, 'specificity')} | "
                     f"{share(s, 'precision')} |" for label, s in m["per_class"].items())


def _failures(judged: Judged, m: Mapping[str, Any]) -> str:
    found = confusions(judged)
    if not found:
        return "No test image was misread."
    lines = [f"- {TITLES[LABELS[c.truth]]} called {TITLES[LABELS[c.called]]}: {c.n}, of which {c.withheld} withheld as "
             "inconclusive." for c in found]
    sure = judged.confidence[~judged.right & judged.answered]
    worst = f"The surest wrong answer had a confidence of {percent(float(sure.max()))}." if sure.size else \
        "No wrong answer was given: all were withheld."
    return "\n".join([*lines, "", f"{worst} Malignant images answered as benign: {m['malignant']['missed']}."])


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
