"""An explanation as one picture: the field, where the network looked, what spoke for its verdict."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alledge.segmentation import Mask
from alledge.verdict import RESEARCH_USE_ONLY

from .explain import ATTENTION, GRAD_CAM

CAPTIONS = {
    ATTENTION: ("Where attention looked", "what each place gives to the attention"),
    GRAD_CAM: ("What spoke for the class", "Grad-CAM of the most likely class"),
}
_SMALLER = "the smaller of two opinions, {:.0%} of the verdict"
MARGIN, PANEL, BOTTOM, HEIGHT, NOTE = 0.25, 3.4, 0.95, 5.75, 0.2  # inches
_INK, _SOFT, _WARNING = "#1c2430", "#5a6675", "#7a1420"
_PEAK = 4  # times the even share: the least that is painted as "most", so that an even map is not painted hot
_HEAT = "viridis"  # even in lightness, readable without red against green

mpl.use("Agg")


def explanation_png(title: str, subtitle: str, tile: NDArray[np.uint8], mask: Mask, heat: dict[str, NDArray[Any]],
                    inside: dict[str, float], notes: Sequence[str] = (), voice: float = 1.0) -> bytes:
    """PNG bytes.

    Args:
        title, subtitle: the verdict in a word, and what is needed to place it.
        tile: uint8 [S, S, 3] RGB as the network saw it.
        mask: nuclei of the tile; their outline is drawn on every map.
        heat: name -> [h, w] map with sum 1.
        inside: name -> share of the map's heat in the nuclei.
        notes: sentences that must be read before the maps, a line each.
        voice: share that attention has in the verdict.
    """
    width, height = MARGIN + (1 + len(heat)) * (PANEL + MARGIN), HEIGHT + NOTE * len(notes)
    figure = Figure(figsize=(width, height), dpi=150)
    places = [figure.add_axes(((MARGIN + i * (PANEL + MARGIN)) / width, BOTTOM / height, PANEL / width, PANEL / height))
              for i in range(1 + len(heat))]
    left, right = MARGIN / width, 1 - MARGIN / width
    figure.text(left, 1 - 0.45 / height, title, fontsize=17, fontweight="bold", color=_INK)
    figure.text(left, 1 - 0.72 / height, subtitle, fontsize=9, color=_SOFT)
    for i, note in enumerate(notes):
        figure.text(left, 1 - (0.94 + NOTE * i) / height, note, fontsize=9, color=_WARNING)
    _panel(places[0], tile, "The field", f"{mask.coverage:.0%} of it is nuclei (outlined in the maps)")
    for axes, (name, values) in zip(places[1:], heat.items(), strict=True):
        heading, told = CAPTIONS[name]
        _panel(axes, tile, heading, _SMALLER.format(voice) if name == ATTENTION and voice < 1 else told)
        _overlay(axes, tile, values, mask)
        ratio = f", {inside[name] / mask.coverage:.1f} times their share of the field" if mask.coverage else ""
        axes.text(0.0, -0.035, f"{inside[name]:.0%} of it in the nuclei{ratio}", transform=axes.transAxes, fontsize=8.5,
                  color=_INK, va="top")
    _legend(figure.add_axes((right - 2.2 / width, 0.47 / height, 1.7 / width, 0.09 / height)))
    grids = " and ".join(dict.fromkeys(f"{h.shape[0]} x {h.shape[1]}" for h in heat.values()))
    figure.text(right, 0.16 / height, f"The network tells {grids} places apart; the maps are smoothed between them. "
                "They show where, not why.", fontsize=7.5, color=_SOFT, ha="right")
    figure.text(left + 0.04 / width, 0.17 / height, RESEARCH_USE_ONLY, fontsize=9.5, fontweight="bold", color="white",
                bbox={"facecolor": _WARNING, "edgecolor": "none", "pad": 4})
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _panel(axes: Any, tile: NDArray[np.uint8], heading: str, told: str) -> None:
    side = tile.shape[0]
    axes.imshow(tile, extent=(0, side, side, 0))
    axes.set(xticks=[], yticks=[])
    for edge in axes.spines.values():
        edge.set_visible(False)
    axes.text(0.0, 1.085, heading, transform=axes.transAxes, fontsize=10.5, fontweight="bold", color=_INK)
    axes.text(0.0, 1.025, told, transform=axes.transAxes, fontsize=8.5, color=_SOFT)


def _overlay(axes: Any, tile: NDArray[np.uint8], heat: NDArray[Any], mask: Mask) -> None:
    """The field in grey, so that every colour is heat; the hotter, the less of the field shows through."""
    side = tile.shape[0]
    grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=(0, side, side, 0))
    strength = heat / max(float(heat.max()), _PEAK / heat.size)
    smooth = np.clip(cv2.resize(strength, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
    axes.imshow(smooth, cmap=_HEAT, vmin=0, vmax=1, alpha=0.75 * smooth, extent=(0, side, side, 0))
    if 0 < mask.coverage < 1:
        axes.contour(mask.pixels > 0, levels=[0.5], colors="white", linewidths=0.9)


def _legend(axes: Any) -> None:
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=_HEAT, aspect="auto")
    axes.set(xticks=[], yticks=[])
    for edge in axes.spines.values():
        edge.set_visible(False)
    for x, text, align in ((-0.03, "none", "right"), (1.03, "most", "left")):
        axes.text(x, 0.5, text, transform=axes.transAxes, fontsize=8, color=_SOFT, ha=align, va="center")
