"""The figures of a run's report, drawn for reading on paper too: few inks, direct labels, no decoration."""

import base64
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from alledge.figures import reliability
from alledge.labels import INCONCLUSIVE, LABELS, TITLES
from alledge.perturb import PERTURBATIONS, Perturbation

BLUE, GREY, AMBER, INK = "#1f5fa8", "#9aa5b1", "#c46a00", "#1c2430"
_NAMES = [TITLES[label] for label in LABELS]
_STYLE = {
    "axes.edgecolor": "#b8c1cc", "axes.labelcolor": INK, "axes.spines.right": False, "axes.spines.top": False,
    "axes.titlelocation": "left", "axes.titlesize": 10, "axes.titleweight": "bold", "font.size": 9,
    "svg.hashsalt": "alledge", "text.color": INK, "xtick.color": INK, "ytick.color": INK,
}
_CLEAN_LEVEL = {"jpeg": 100.0}  # where the undisturbed images belong on a perturbation's axis; 0 for the others

mpl.use("Agg")

Draw = Callable[[Figure], None]


def picture(alt: str, width: float, height: float, draw: Draw) -> str:
    """An `img` element with the drawing in it as SVG, `width` x `height` inches; `alt` says what is to be seen."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return f"<img class=plot alt='{escape(alt, quote=True)}' src='{data_uri('svg+xml', buffer.getvalue())}'>"


def data_uri(kind: str, content: bytes) -> str:
    """Bytes of an image, as an address that needs no second file."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def curves(history: Mapping[str, Sequence[float]], metric: str, kept: int) -> Draw:
    """Training and validation values of a metric per epoch (paper, figures 10-12), and the epoch that was kept."""
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, told, colour in ((metric, "training", GREY), (f"val_{metric}", "validation", BLUE)):
            values = history.get(name, [])
            if values:  # a head taught alone has no validation rows: it is judged out of fold
                axes.plot(range(1, len(values) + 1), values, color=colour, marker="o", ms=3, label=told)
        if history.get("val_loss"):
            axes.axvline(kept, color=AMBER, lw=1, ls=":", label="lowest validation loss")
        axes.set(xlabel="epoch", title=metric.capitalize(), ylim=(0, 1.02) if metric == "accuracy" else (0, None),
                 xlim=(0.5, len(history.get(metric, [])) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(frameon=False, fontsize=8)
    return draw


def matrix(counts: Sequence[Sequence[int]], title: str) -> Draw:
    """Counts and row shares of a confusion matrix (paper, figure 13); a fifth column is "inconclusive"."""
    def draw(figure: Figure) -> None:
        axes, table = figure.subplots(), np.array(counts)
        shares = table / np.maximum(table.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        names = [*_NAMES, TITLES[INCONCLUSIVE]][:table.shape[1]]
        axes.set(xticks=range(len(names)), yticks=range(len(_NAMES)), xlabel="called", ylabel="is", title=title)
        axes.set_xticklabels(names, rotation=25, ha="right", rotation_mode="anchor")
        axes.set_yticklabels(_NAMES)
        for edge in axes.spines.values():
            edge.set_visible(False)
        for (row, column), count in np.ndenumerate(table):
            share = shares[row, column]
            axes.text(column, row, f"{count}\n{share:.0%}" if count else "0", ha="center", va="center", fontsize=8.5,
                      color="white" if share > 0.5 else INK if count else GREY)
    return draw


def reliability_diagram(before: NDArray[Any], after: NDArray[Any], truth: NDArray[Any], temperature: float) -> Draw:
    """Accuracy against confidence before and after temperature scaling; the area of a dot is its number of images."""
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        for probabilities, told, colour in ((before, "before", GREY), (after, "after", BLUE)):
            confidence, accuracy, counts = reliability(probabilities, truth)
            axes.plot(confidence, accuracy, color=colour, lw=1, alpha=0.6)
            axes.scatter(confidence, accuracy, s=12 + 160 * counts / counts.sum(), color=colour, label=told, zorder=3)
        axes.set(xlabel="how sure it said it was", ylabel="how often it was right", xlim=(0.2, 1.02),
                 ylim=(-0.02, 1.04), title="Reliability")
        axes.legend(frameon=False, fontsize=8, loc="lower right", title=f"temperature {temperature:.2f}",
                    title_fontsize=8)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return draw


def risk_curve(coverage: Sequence[float], risk: Sequence[float], answered: float, error: float | None) -> Draw:
    """Error among the answered when only the surest are answered, and where the run's own rules stand."""
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(coverage, risk, color=BLUE)
        if error is not None:
            axes.plot(answered, error, "o", color=AMBER, ms=7, zorder=3, label="this run's rules")
            axes.legend(frameon=False, fontsize=8, loc="upper left")
        top = min(1.02, max(0.02, 1.25 * max(*risk, error or 0.0)))
        axes.set(xlabel="share of images answered, the surest first", ylabel="wrong among the answered", xlim=(0, 1.02),
                 ylim=(0, top), title="Risk and coverage")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if top > 0.1 else 1))
    return draw


def robustness(levels: Sequence[Mapping[str, Any]]) -> Draw:
    """One panel per perturbation: accuracy, share answered, accuracy when answered, over its levels."""
    def draw(figure: Figure) -> None:
        columns = 4
        grid = figure.subplots(-(-(len(PERTURBATIONS) + 1) // columns), columns, sharey=True).ravel()
        for axes, perturbation in zip(grid, PERTURBATIONS, strict=False):
            _panel(axes, perturbation, levels)
        for axes in grid[len(PERTURBATIONS):]:
            axes.set_axis_off()
        figure.legend(*grid[0].get_legend_handles_labels(), loc="lower right", frameon=False, fontsize=9,
                      bbox_to_anchor=(0.99, 0.16))
    return draw


def _panel(axes: Any, perturbation: Perturbation, levels: Sequence[Mapping[str, Any]]) -> None:
    clean = {**levels[0], "level": _CLEAN_LEVEL.get(perturbation.name, 0.0)}
    rows = sorted([clean, *(row for row in levels if row["perturbation"] == perturbation.name)],
                  key=lambda row: row["level"])
    at = [row["level"] for row in rows]
    for key, told, colour, style in (("answered", "answered", GREY, "--"), ("accuracy", "right, of all", BLUE, "-"),
                                     ("accuracy_when_answered", "right, of the answered", AMBER, "-")):
        values = [np.nan if row[key] is None else row[key] for row in rows]
        axes.plot(at, values, color=colour, ls=style, marker="o", ms=3, label=told)
        if key != "answered":
            bounds = [row[f"{key}_ci95"] or (np.nan, np.nan) for row in rows]
            axes.fill_between(at, *zip(*bounds, strict=True), color=colour, alpha=0.12, lw=0)
    axes.set(title=perturbation.title, xlabel=perturbation.unit, ylim=(-0.02, 1.04))
    if perturbation.name in _CLEAN_LEVEL:
        axes.invert_xaxis()  # worse to the right, as everywhere
    if perturbation.levels == (1.0,):
        axes.set(xticks=[0, 1], xlim=(-0.3, 1.3))
        axes.set_xticklabels(["as it is", "covered"])
        axes.set_xlabel("")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
