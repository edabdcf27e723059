"""One self-contained HTML page per run: what it can do, how sure that is, where it fails, and what it was made of."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from alledge.calibration import apply_temperature
from alledge.dataset import SUBSETS, Item
from alledge.files import write_bytes
from alledge.images import encode_png
from alledge.labels import LABELS, TITLES
from alledge.metrics import expected_calibration_error
from alledge.page import html_page
from alledge.perturb import PERTURBATIONS
from alledge.predictions import PREDICTIONS, read_column, read_predictions
from alledge.runfolder import REPORT, ROBUSTNESS, Tiles, TrainingRecord, read_record

from . import plots
from .batches import read_tiles
from .findings import Judged, certainty, confusions, interval, lead, percent, proves, share

GALLERY = 24  # misread images shown at most
_GLOSSARY = {
    "95 % interval": "If the whole study were done again and again with other smears of the same kind, about 19 of 20 "
                     "such intervals would hold the true figure. A wide one says: too few images to know.",
    "colour histogram": "A simple model that knows only how much of each colour is in a picture, and no shape. What it "
                        "reaches is no sign of having understood a cell.",
    "inconclusive": "The network was not sure enough, or the image was unlike those it learned from: no answer is "
                    "given.",
    "sensitivity": "Of the malignant images, the share called malignant (any of the three classes).",
    "specificity": "Of the benign images, the share called benign.",
    "precision, recall": "Of the images called X, the share that is X; of the images that are X, the share called X.",
    "AUC": "How well the network ranks images of a class above all others: 0.5 is chance, 1 perfect.",
    "loss": "How surprised the network was by the truth, on average; lower is better.",
    "calibration error": "How far its confidence is from how often it is right: at 0.02, two points on average.",
}


def write_report(run: Path, record: TrainingRecord, test: Tiles) -> None:
    """Write `report.html`; it holds images of the user's data and stays in the run folder.

    Args:
        run: folder with `predictions.csv`, and `robustness.json` where that was measured.
        record: of this run.
        test: tiles of the test rows, in the order of the predictions.
    """
    judged = Judged(*read_predictions(run / PREDICTIONS), read_column(run / PREDICTIONS, "file"))
    levels = json.loads((run / ROBUSTNESS).read_text("utf-8")) if (run / ROBUSTNESS).exists() else None
    m = record.metrics
    sections = [
        f"<p class=lead>{escape(lead(m))}</p>",
        _facts(m, judged, record.calibration.temperature),
        _section("What these figures can and cannot prove", "".join(f"<p>{escape(line)}" for line in proves(record))),
        _section("Learning", f"<div class=plots>{_learning(record.history)}</div>"),
        _section("Right and wrong", f"<div class=plots>{_matrices(m)}</div>{_classes(m)}{_confusions(judged)}"),
        _section("Knowing when not to answer", f"<div class=plots>{_doubt(m, judged, record)}</div>" + _DOUBT_NOTE),
        _section("Worse pictures", _robustness(levels)),
        _section("Misread images", _gallery(test, judged)),
        _section("Made of", _provenance(record)),
        _section("Words", "<dl>" + "".join(f"<dt>{word}<dd>{told}" for word, told in _GLOSSARY.items()) + "</dl>"),
    ]
    write_bytes(run / REPORT, html_page(f"Training run {record.run_id}", "\n".join(sections)).encode())


def renew_report(run: Path, items: Sequence[Item], levels: Sequence[Mapping[str, Any]]) -> bool:
    """Put a robustness sweep into a finished run's report.

    Returns:
        False, and nothing is written, when the sweep was on other images than the report is about.
    """
    if read_column(run / PREDICTIONS, "md5") != [item.md5 for item in items]:
        return False
    write_bytes(run / ROBUSTNESS, json.dumps(levels, indent=1).encode())
    record = read_record(run)
    write_report(run, record, read_tiles(items, record.preprocessing))
    return True


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _facts(m: Mapping[str, Any], judged: Judged, temperature: float) -> str:
    """The six figures a reader looks for first."""
    before = expected_calibration_error(_uncalibrated(judged, temperature), judged.truth)
    malignant, baseline = m["malignant"], m["baseline_histogram_accuracy"]
    facts = [
        ("Accuracy, all images", percent(m["accuracy"]), interval(m, "accuracy"),
         f"colour alone: {percent(baseline)}" if baseline is not None else "colour alone: not measured"),
        ("Right when it answers", percent(m["accuracy_when_answered"]), interval(m, "accuracy_when_answered"),
         f"{m['n'] - m['abstained']} images"),
        ("Answered", percent(1 - m["abstained"] / m["n"]), interval(m, "answered"), f"{m['abstained']} inconclusive"),
        ("Malignant found", percent(malignant["sensitivity"]), interval(malignant, "sensitivity"),
         f"{malignant['missed']} answered as benign"),
        ("Benign recognised", percent(malignant["specificity"]), interval(malignant, "specificity"),
         f"{m['per_class']['benign']['n']} benign images"),
        ("Calibration error", f"{m['ece']:.3f}", interval(m, "ece", ".3f"), f"before temperature: {before:.3f}"),
    ]
    return "<div class=facts>" + "".join(
        f"<div><span>{name}</span><b>{value}</b><span>{bounds}</span><span>{note}</span></div>"
        for name, value, bounds, note in facts) + "</div>"


def _learning(history: Mapping[str, Sequence[float]]) -> str:
    kept = 1 + int(np.argmin(history["val_loss"])) if history.get("val_loss") else 1
    return "".join(plots.picture(f"{metric} of training and validation rows over the epochs", 4.6, 2.9,
                                 plots.curves(history, metric, kept)) for metric in ("accuracy", "loss"))


def _matrices(m: Mapping[str, Any]) -> str:
    return (plots.picture("confusion matrix, every image called something", 4.4, 3.3,
                          plots.matrix(m["confusion"], "If it had to answer always"))
            + plots.picture("confusion matrix with inconclusive verdicts", 4.9, 3.3,
                            plots.matrix(m["verdicts"], "What a user is told")))


def _classes(m: Mapping[str, Any]) -> str:
    head = "<tr><th>class<th>images<th>recall<th>specificity<th>precision<th>F1"
    rows = "".join(f"<tr><th>{TITLES[label]}<td class=number>{s['n']}"
                   + "".join(f"<td>{share(s, name)}" for name in ("recall", "specificity", "precision", "f1"))
                   for label, s in m["per_class"].items())
    whole = ", ".join(f"{told} {m[key]:.3f} {interval(m, key, '.3f')}" for told, key in
                      (("macro F1", "macro_f1"), ("AUC", "auc"), ("loss", "loss")) if m[key] is not None)
    return f"<table>{head}{rows}</table><p class=note>All classes: {whole}. In brackets: 95 % intervals.</p>"


def _confusions(judged: Judged) -> str:
    found = confusions(judged)
    if not found:
        return "<p>No test image was misread.</p>"
    rows = "".join(f"<tr><td>{TITLES[LABELS[c.truth]]}<td>{TITLES[LABELS[c.called]]}<td class=number>{c.n}"
                   f"<td class=number>{c.withheld}<td class=number>{c.n - c.withheld}" for c in found)
    return ("<h3>Where it fails</h3><table><tr><th>is<th>called<th>images<th>withheld<th>answered"
            f"{rows}</table><p class=note>Withheld: the verdict was inconclusive, so the mistake reached nobody.</p>")


def _doubt(m: Mapping[str, Any], judged: Judged, record: TrainingRecord) -> str:
    temperature = record.calibration.temperature
    error = None if m["accuracy_when_answered"] is None else 1 - m["accuracy_when_answered"]
    reliability = plots.reliability_diagram(_uncalibrated(judged, temperature), judged.probabilities, judged.truth,
                                            temperature)
    risk = plots.risk_curve(m["risk_coverage"]["coverage"], m["risk_coverage"]["risk"], 1 - m["abstained"] / m["n"],
                            error)
    return (plots.picture("accuracy against confidence, before and after temperature scaling", 4.2, 3.4, reliability)
            + plots.picture("error among answered images against the share answered", 4.6, 3.4, risk))


def _robustness(levels: Sequence[Mapping[str, Any]] | None) -> str:
    if levels is None:
        return ("<p>Not measured here. <code>alledge evaluate RUN --data DIR --split CSV --robustness</code>, with the "
                "data this run was tested on, measures it and adds it to this page.</p>")
    titles = {"none": "undisturbed", **{p.name: p.title.lower() for p in PERTURBATIONS}}
    worst = max(levels, key=lambda row: int(row["missed"]))
    missed = (f"Most malignant images answered as benign: {worst['missed']} ({titles[worst['perturbation']]}, "
              f"{worst['level']:g} {worst['unit']})." if worst["missed"] else
              "At no level was a malignant image answered as benign.")
    figure = plots.picture("accuracy, share answered and accuracy when answered under each perturbation", 10.4, 5.2,
                           plots.robustness(levels))
    return (f"{figure}<p>{missed} {_GUARD}</p><p class=note>The same {levels[0]['n']} test images, changed before "
            "anything else is done to them; to the right they get worse, for exposure to both sides. Good behaviour is "
            "a blue line that stays up, or else a dashed one that falls while the amber one stays up: unsure, so "
            "silent. Bands: 95 % intervals.</p>")


def _gallery(test: Tiles, judged: Judged) -> str:
    wrong = np.flatnonzero(~judged.right)
    if not wrong.size:
        return "<p>None.</p>"
    given = wrong[judged.answered[wrong]]
    order = np.lexsort((-judged.confidence[wrong], ~judged.answered[wrong]))
    shown = wrong[order][:GALLERY]
    pixels = test.pixels[..., :3]
    figures = "".join(
        f"<figure><img alt='misread image' src='{plots.data_uri('png', encode_png(pixels[i]))}'><figcaption>"
        f"<b>{'answered' if judged.answered[i] else 'withheld'}</b>: is {TITLES[LABELS[judged.truth[i]]]}, called "
        f"{TITLES[LABELS[judged.guess[i]]]} ({escape(certainty(judged.confidence[i]))})<br>"
        f"<small>{escape(Path(judged.names[i]).name)}</small></figcaption></figure>" for i in shown)
    more = f" The first {GALLERY} are shown." if len(wrong) > GALLERY else ""
    return (f"<p>{len(wrong)} of {len(judged.truth)} in all, {len(given)} of them given as an answer (first) and "
            f"{len(wrong) - len(given)} withheld as inconclusive; the surest first.{more} These are the user's images: "
            f"keep this page where they may be.</p><div class=gallery>{figures}</div>")


def _provenance(record: TrainingRecord) -> str:
    calibration = record.calibration
    input_ = {**record.preprocessing.model_dump(), "temperature": f"{calibration.temperature:.3f}",
              "inconclusive below": f"{calibration.abstain_below:.1%} confidence",
              "domain gate": "none" if calibration.gate is None else "fitted"}
    origin = {name: value for name, value in record.provenance.items() if name not in ("composition", "images")}
    tables = (("Asked for", record.options), ("Input and decision", input_), ("Origin", origin))
    columns = "".join(f"<div><h3>{title}</h3>{_table(values)}</div>" for title, values in tables)
    return f"{_composition(record)}<div class=columns>{columns}</div>"


def _composition(record: TrainingRecord) -> str:
    made_of = record.provenance.get("composition")
    if made_of is None:
        return ""
    head = "".join(f"<th>{TITLES[label]}" for label in LABELS)
    counts = {name: [*made_of["per_class"][name].values(), (made_of["groups"] or {}).get(name, "not named")]
              for name in SUBSETS}
    rows = "".join(f"<tr><th>{name}" + "".join(f"<td class=number>{count}" for count in row)
                   for name, row in counts.items())
    return f"<table><tr><th>images{head}<th>groups{rows}</table>"


def _table(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(name.replace('_', ' '))}<td>{escape(_value(value))}"
                   for name, value in values.items())
    return f"<table>{rows}</table>"


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _uncalibrated(judged: Judged, temperature: float) -> Any:
    """The network's own probabilities back from the calibrated ones: temperature scaling is a power."""
    return apply_temperature(judged.probabilities, 1 / temperature)


_GUARD = ("This sweep asks the run itself; on a device the quality check also refuses pictures that are out of focus, "
          "dark or burnt out. Evaluating the bundle in the same way counts that in.")
_DOUBT_NOTE = ("<p class=note>Left: on the dotted line, confidence means what it says; above it the network was "
               "too modest, below it too sure. Larger dots are more images. Right: if only the surest images were "
               "answered, how many of those answers would be wrong; the dot also counts what the domain gate refused. "
               "Temperature and threshold were chosen on other rows, never on these.</p>")
