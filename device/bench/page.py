"""A benchmark as one page that needs nothing else: the table, each stage's distribution, the course over time."""

from collections.abc import Sequence
from html import escape
from statistics import median

import numpy as np

from alledge.page import html_page

from . import svg
from .report import PERCENTILES, STAGES, Report

_WIDTH, _LEFT, _RIGHT, _ROW = 860, 78, 226, 44  # px: the drawing, its margins, a stage
_BINS = 90
_POINTS = 1200  # of the course; of more fields the least and the largest of each stretch, so that none is clipped
_PANEL = 70
_PANELS = (("mhz", "clock, MHz"), ("gpu_mhz", "GPU clock, MHz"), ("celsius", "heat, °C"), ("watts", "power, W"))


def as_page(found: Report) -> bytes:
    """The page of a report."""
    where = str(found.machine["board"] or found.machine["cpu"])
    facts = (("one field, median", f"{found.stages['total']['p50']:.1f} ms"),
             ("p99", f"{found.stages['total']['p99']:.1f} ms"),
             ("side by side", f"{found.throughput_fps:.0f} fields/s"),
             ("start to first verdict", f"{found.first_verdict_ms / 1e3:.2f} s"),
             ("memory at most", f"{found.peak_rss_mib:.0f} MiB"),
             *(() if found.joule is None else (("energy per field", f"{found.joule:.3f} J"),)))
    told = "".join(f"<div><span>{escape(name)}</span><b>{escape(value)}</b></div>" for name, value in facts)
    warned = "".join(f"<li class=bad>{escape(sentence)}" for sentence in found.warnings)
    body = (f"<p class=lead>{escape(where)}, {found.machine['cores']} cores · engine {escape(found.engine)}, "
            f"{found.threads} thread(s) · bundle {escape(found.bundle_id)}</p><div class=facts>{told}</div>"
            f"{'<h2>What makes these figures worth less</h2><ul>' + warned + '</ul>' if warned else ''}"
            f"<h2>Milliseconds of each stage</h2>{distributions(found)}{_table(found)}"
            f"<h2>Course</h2>{course(found)}<h2>Machine and conditions</h2>{_conditions(found)}")
    return html_page(f"Benchmark: {where}", body).encode()


def distributions(found: Report) -> str:
    """A histogram per stage of the steady fields, all on one logarithmic axis; the slowest is a dot of its own."""
    samples = {stage: _steady(found, stage) for stage in STAGES}
    values = np.maximum(np.concatenate(list(samples.values())), 1e-3)
    axis = svg.Axis(float(values.min()) / 1.1, float(values.max()) * 1.1, _LEFT, _WIDTH - _RIGHT, log=True)
    height = _ROW * len(STAGES) + 30
    parts = [svg.line(axis(tick), 8, axis(tick), height - 22) for tick in axis.ticks()]
    parts += [svg.text(axis(tick), height - 8, svg.short(tick), "middle") for tick in axis.ticks()]
    parts.append(svg.text(_WIDTH - _RIGHT + 12, height - 8, "ms, logarithmic", colour=svg.INK))
    for number, stage in enumerate(STAGES):
        parts += _distribution(found, stage, samples[stage], axis, _ROW * (number + 1))
    about = "; ".join(f"{stage}: median {found.stages[stage]['p50']:.2f} ms" for stage in STAGES)
    return svg.picture(_WIDTH, height, parts, about)


def course(found: Report) -> str:
    """How long each field took, in order of time, and below what the machine said of itself meanwhile."""
    at, totals, warm = (found.samples[name] for name in ("at_s", "total", "warm"))
    looks, readings = found.conditions["at_s"], found.conditions["readings"]
    panels = [(name, title) for name, title in _PANELS if any(r[name] is not None for r in readings)]
    time = svg.Axis(0.0, max(at[-1], *looks), _LEFT, _WIDTH - 20)
    height = 220 + _PANEL * len(panels) + 26
    up = svg.Axis(min(totals) / 1.1, max(totals) * 1.1, 200, 12, log=True)
    parts = [svg.text(4, 22, "total, ms", bold=True),
             svg.line(time(at[-1]), 12, time(at[-1]), height - 26, svg.GREY, dashed=True)]
    for tick in up.ticks():
        parts += [svg.line(_LEFT, up(tick), _WIDTH - 20, up(tick)),
                  svg.text(_LEFT - 6, up(tick) + 4, svg.short(tick), "end")]
    parts += [svg.dot(time(at[i]), up(totals[i]), svg.BLUE if warm[i] else svg.AMBER, 1.8, 0.7)
              for i in _thinned(totals)]
    parts.append(svg.path([(time(at[i]), up(value)) for i, value in _running(totals)], svg.INK))
    for number, (name, title) in enumerate(panels):
        seen = [(when, r[name]) for when, r in zip(looks, readings, strict=True) if r[name] is not None]
        parts += _panel(seen, title, time, 220 + _PANEL * number)
    parts += [svg.text(time(tick), height - 8, svg.short(tick), "middle") for tick in time.ticks()]
    parts.append(svg.text(_WIDTH - 20, height - 8, "s", "end"))
    told = ("<p class=note>A dot is a field, the line their running median; amber: the first field and the warm-up, "
            "which do not count. Right of the dashed line the stages run side by side.</p>")
    return svg.picture(_WIDTH, height, parts, "how long each field took, in order of time") + told


def _distribution(found: Report, stage: str, samples: Sequence[float], axis: svg.Axis, base: int) -> list[str]:
    edges = np.geomspace(axis.low, axis.high, _BINS + 1)
    counts, _ = np.histogram(np.clip(samples, axis.low, axis.high), edges)
    tallest, figures = counts.max(), found.stages[stage]
    bars = [svg.bar(axis(edges[i]), axis(edges[i + 1]) - 0.6, base, (_ROW - 12) * count / tallest, svg.BLUE)
            for i, count in enumerate(counts) if count]
    marks = [svg.line(axis(figures[name]), base + 1, axis(figures[name]), base - _ROW + 14, svg.AMBER, 1.5)
             for name in ("p50", "p99")]
    words = " · ".join(f"{name} {svg.short(figures[name])}" for name in ("p50", "p99", "max"))
    return [svg.line(_LEFT, base, _WIDTH - _RIGHT, base, svg.GREY), *bars, *marks,
            svg.dot(axis(figures["max"]), base - 4, svg.INK, 2.5),
            svg.text(_LEFT - 8, base - 4, stage, "end", bold=True),
            svg.text(_WIDTH - _RIGHT + 12, base - 4, words)]


def _panel(seen: Sequence[tuple[float, float]], title: str, time: svg.Axis, top: int) -> list[str]:
    values = [value for _, value in seen]
    slack = (max(values) - min(values)) * 0.15 or max(values) * 0.02 or 1.0
    up = svg.Axis(min(values) - slack, max(values) + slack, top + _PANEL - 10, top + 16)
    ends = (min(values), max(values)) if min(values) < max(values) else (max(values),)
    return [svg.text(4, top + 4, title, bold=True),
            *(svg.text(_LEFT - 6, up(end) + 4, svg.short(end), "end") for end in ends),
            *(svg.line(_LEFT, up(end), _WIDTH - 20, up(end)) for end in ends),
            svg.path([(time(when), up(value)) for when, value in seen], svg.BLUE)]


def _steady(found: Report, stage: str) -> list[float]:
    return [value for value, warm in zip(found.samples[stage], found.samples["warm"], strict=True) if warm]


def _thinned(values: Sequence[float]) -> list[int]:
    """Indices of all values, or of the least and the largest of each stretch of many."""
    if len(values) <= _POINTS:
        return list(range(len(values)))
    stretches = np.array_split(np.arange(len(values)), _POINTS // 2)
    return sorted({int(pick(stretch, key=values.__getitem__)) for stretch in stretches for pick in (min, max)})


def _running(values: Sequence[float]) -> list[tuple[int, float]]:
    """The median of a window of a twentieth of all values, at about a hundred places."""
    half = max(2, len(values) // 40)
    places = range(0, len(values), max(1, len(values) // 100))
    return [(i, median(values[max(0, i - half):i + half + 1])) for i in places]


def _table(found: Report) -> str:
    heads = [*(f"p{p}" for p in PERCENTILES), "max"]
    rows = "".join(f"<tr><th>{stage}" + "".join(f"<td class=number>{figures[head]:.3f}" for head in heads)
                   for stage, figures in found.stages.items())
    return (f"<table><tr><th>ms{''.join(f'<th>{head}' for head in heads)}{rows}</table><p class=note>"
            f"{found.stages['total']['n']} steady fields, one after the other; in the drawing amber marks p50 and p99, "
            "a dot the slowest. <i>rest</i> is what the total has beyond the stages: quality, decision, handing over."
            "</p>")


def _conditions(found: Report) -> str:
    held = found.conditions
    facts = {**found.machine, "power mode": held["power_mode"], "Edge TPU port, Mbit/s": held["usb_mbit"],
             "results written to": held["filesystem"], "camera": found.camera, "display": found.display,
             "other processes": _share(held["others"]), "taken by the host": _share(held["stolen"]),
             "drift, last fifth over first": "" if found.drift is None else f"{found.drift:.2f}",
             "first field, ms": f"{found.cold_ms:.1f}",
             "starts, ms": ", ".join(f"{took:.0f}" for took in found.starts_ms),
             "bundle, engine and goldens, ms": f"{found.start_ms:.0f}",
             "processor per field, ms": f"{found.cpu_ms['one_by_one']:.2f} one by one, "
                                        f"{found.cpu_ms['side_by_side']:.2f} side by side",
             "alledge": found.alledge, "date": found.date}
    rows = [f"<tr><th>{escape(name)}<td>{escape(_plain(value))}" for name, value in facts.items()]
    half = -(-len(rows) // 2)
    return f"<div class=columns><table>{''.join(rows[:half])}</table><table>{''.join(rows[half:])}</table></div>"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%} of the processors"


def _plain(value: object) -> str:
    words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return words or "not told"
