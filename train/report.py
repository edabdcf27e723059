"""One self-contained HTML page per run: curves, confusion matrix, reliability, misread images."""

import base64
from html import escape
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alledge.figures import ECE_BINS
from alledge.files import write_bytes
from alledge.images import encode_png
from alledge.labels import LABELS, TITLES
from alledge.page import html_page
from alledge.runfolder import REPORT, Tiles, TrainingRecord

GALLERY = 24  # misread images shown at most
mpl.use("Agg")


def write_report(run: Path, record: TrainingRecord, test: Tiles, probabilities: NDArray[np.float64]) -> None:
    """Write `report.html`; it holds images of the user's data and stays in the run folder."""
    m = record.metrics
    low, high = m["accuracy_ci95"]
    body = [
        f"<p class=lead>Accuracy <b>{m['accuracy']:.1%}</b> ({low:.1%} to {high:.1%}) on {m['n']} test images; "
        f"colour histogram alone: {m['baseline_histogram_accuracy']:.1%}. Answered "
        f"{1 - m['abstained'] / m['n']:.1%}.</p>",
        f"<div class=row>{_svg(_curves(record.history))}{_svg(_confusion(m['confusion']))}"
        f"{_svg(_reliability(probabilities, test.truth))}</div>",
        f"<h2>Misread images</h2>{_gallery(test, probabilities)}",
        f"<h2>Settings and provenance</h2>{_table({**record.options, **record.provenance})}",
    ]
    write_bytes(run / REPORT, html_page(f"Training run {record.run_id}", "\n".join(body)).encode())


def _curves(history: dict[str, list[float]]) -> Figure:
    figure = Figure(figsize=(4.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, values in history.items():
        if name.endswith("accuracy"):
            axes.plot(range(1, len(values) + 1), values, marker="o", ms=3, label=name.replace("val_", "validation "))
    axes.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02), title="Learning")
    axes.legend(frameon=False)
    return figure


def _confusion(matrix: list[list[int]]) -> Figure:
    figure = Figure(figsize=(3.9, 3.4), layout="constrained")
    axes = figure.subplots()
    counts = np.array(matrix)
    axes.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    names = [TITLES[label] for label in LABELS]
    axes.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="called", ylabel="is", title="Confusion")
    axes.set_xticklabels(names, rotation=30, ha="right")
    axes.set_yticklabels(names)
    for (row, column), count in np.ndenumerate(counts):
        dark = count > counts[row].sum() / 2
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    return figure


def _reliability(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> Figure:
    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    axes = figure.subplots()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    for b in np.unique(bins):
        inside = bins == b
        axes.plot(confidence[inside].mean(), right[inside].mean(), "o", ms=3 + 9 * inside.mean() ** 0.5, color="C0")
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(-0.02, 1.04), title="Reliability")
    return figure


def _gallery(test: Tiles, probabilities: NDArray[np.float64]) -> str:
    guess = probabilities.argmax(1)
    wrong = np.flatnonzero(guess != test.truth)
    worst = wrong[np.argsort(-probabilities[wrong].max(1))][:GALLERY]
    if not worst.size:
        return "<p>None.</p>"
    figures = "".join(f"<figure><img alt='' src='{_data_uri('png', encode_png(test.pixels[i]))}'><figcaption>"
                      f"is {TITLES[LABELS[test.truth[i]]]}, called {TITLES[LABELS[guess[i]]]} "
                      f"({probabilities[i].max():.0%})</figcaption></figure>" for i in worst)
    return f"<p>{len(wrong)} in all, the most confident first.</p><div class=row>{figures}</div>"


def _table(values: dict[str, object]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}<td>{escape(str(value))}" for name, value in values.items())
    return f"<table>{rows}</table>"


def _svg(figure: Figure) -> str:
    buffer = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "alledge"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"<img alt='' src='{_data_uri('svg+xml', buffer.getvalue())}'>"


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
