"""Plots as inline SVG, drawn without a plotting library: a board has none."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

BLUE, GREY, AMBER, INK = "#1f5fa8", "#9aa5b1", "#c46a00", "#1c2430"
_FAINT = "#dde3ea"


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `start` to `end`; `log` for ratios."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value; what is below the axis lies on its start."""
        low, high, value = (math.log10(v) for v in (self.low, self.high, max(value, self.low))) if self.log else \
            (self.low, self.high, value)
        return round(self.start + (value - low) / (high - low or 1.0) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values: 1, 2 and 5 times powers of ten on a log axis of few decades; else about five steps."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1, 2, 5) if last - first <= 3 else (1,)
            found = [step * 10.0 ** power for power in range(first, last + 1) for step in steps]
        else:
            step = _round_step((self.high - self.low or 1.0) / 5)
            found = [step * n for n in range(math.floor(self.low / step), math.ceil(self.high / step) + 1)]
        return [value for value in found if self.low <= value <= self.high]


def picture(width: int, height: int, parts: Iterable[str], about: str) -> str:
    """An `svg` element; `about` says what is to be seen."""
    return (f"<svg viewBox='0 0 {width} {height}' role=img aria-label='{escape(about, quote=True)}' "
            f"style='width:100%;max-width:{width}px' font-family='system-ui,sans-serif' font-size=11 fill='{INK}'>"
            f"{''.join(parts)}</svg>")


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = INK, bold: bool = False) -> str:
    """Words whose baseline is at y."""
    weight = " font-weight=600" if bold else ""
    return f"<text x={x} y={y} text-anchor={anchor} fill='{colour}'{weight}>{escape(words)}</text>"


def line(x1: float, y1: float, x2: float, y2: float, colour: str = _FAINT, width: float = 1,
         dashed: bool = False) -> str:
    """A straight line."""
    dash = " stroke-dasharray='3 3'" if dashed else ""
    return f"<line x1={x1} y1={y1} x2={x2} y2={y2} stroke='{colour}' stroke-width={width}{dash} />"


def dot(x: float, y: float, colour: str, radius: float = 1.5, opacity: float = 1.0) -> str:
    """A filled circle."""
    return f"<circle cx={x} cy={y} r={radius} fill='{colour}' fill-opacity={opacity} />"


def path(points: Sequence[tuple[float, float]], colour: str, width: float = 1.5) -> str:
    """A line through points."""
    joined = " ".join(f"{x},{y}" for x, y in points)
    return f"<polyline points='{joined}' fill=none stroke='{colour}' stroke-width={width} />"


def bar(x1: float, x2: float, y: float, height: float, colour: str) -> str:
    """A bar that stands on y."""
    return f"<rect x={x1} y={round(y - height, 1)} width={round(max(x2 - x1, 0.5), 1)} height={round(height, 1)} " \
           f"fill='{colour}' />"


def short(value: float) -> str:
    """A number with three figures that count."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(n for n in (1, 2, 5, 10) if n * power >= step)
