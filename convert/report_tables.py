"""The tables of the conversion report, as HTML fragments."""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from alledge.calibration import Calibration
from alledge.edgetpu import key_figures
from alledge.images import encode_png
from alledge.labels import LABELS, TITLES

from .check import Accuracy, Comparison
from .converted import Operation
from .judgement import Judgement
from .layer_error import LayerError
from .lint import LIMIT
from .tiles import Sample

LAYERS = 15  # of a hundred; all of them are in the JSON
IMAGES = 12
_MAPPED = {True: "<td class=good>yes", False: "<td class=bad>no", "unknown": "<td>not yet known"}
_NOTE = ("<p>In brackets: 95 % intervals, Wilson's for shares, paired for the difference. They treat tiles as "
         "independent; fields of one slide are not.</p>")


def listed(lines: Sequence[str]) -> str:
    """A list, or "None."."""
    return "<ul>" + "".join(f"<li>{escape(line)}" for line in lines) + "</ul>" if lines else "<p>None.</p>"


def gates(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What was demanded, what was measured, and what was only looked at."""
    return _table((), (f"<th>{escape(name)}{_verdict(gate['passed']) if 'passed' in gate else _TOLD}"
                       f"<td>{escape(_facts(gate))}" for name, gate in found.items()))


def sizes(members: Mapping[str, int], whole: int, float_bytes: int) -> str:
    """Bytes of the file and of what is in it."""
    rows = [f"<td>{escape(name)}<td class=number>{size:,}" for name, size in members.items()]
    return _table(("part", "bytes"), [f"<td><b>bundle</b><td class=number>{whole:,}", *rows,
                                      f"<td>the run's float network<td class=number>{float_bytes:,}"])


def comparisons(found: Mapping[str, Comparison]) -> str:
    """Float against converted under each kernel set."""
    rows = (f"<td>{escape(name)}<td class=number>{c.n}{_accuracy(c.accuracy)}"
            f"<td>{_share(c.agreement, c.agreement_ci95)}<td class=number>{c.max_abs:.3g}, {c.mean_abs:.2g}"
            for name, c in found.items())
    return _table(("kernels", "tiles", "float accuracy", "converted accuracy", "difference", "agreement",
                   "largest, mean change of a probability"), rows) + _NOTE


def recall(comparison: Comparison) -> str:
    """Class by class."""
    if not comparison.recall:
        return "<p>Not known: the tiles are drawn, and a drawn class is no diagnosis.</p>"
    return _table(("class", "tiles", "float recall", "converted recall", "difference"),
                  (f"<td>{TITLES[label]}<td class=number>{a.n}{_accuracy(a)}"
                   for label, a in comparison.recall.items()))


def images(judgement: Judgement, sample: Sample) -> str:
    """The tiles of which a probability changed most, as pictures: they stay beside the bundle, never in it."""
    figures = []
    for i in judgement.worst(IMAGES):
        before, after = judgement.before.probs[i], judgement.after.probs[i]
        truth = f"{TITLES[LABELS[sample.truth[i]]]}: " if sample.real else ""
        says = "the same" if before.argmax() == after.argmax() else "<b class=bad>another class</b>"
        picture = b64encode(encode_png(sample.pixels[i])).decode()
        caption = f"{truth}{escape(sample.names[i])}<br>{_top(before)} &rarr; {_top(after)}, {says}"
        figures.append(f"<figure><img alt='' src='data:image/png;base64,{picture}'><figcaption>{caption}"
                       "</figcaption></figure>")
    return f"<div class=row>{''.join(figures)}</div>"


def layers(rows: Sequence[LayerError], kept: Sequence[str] = ()) -> str:
    """Integer against float, layer by layer. kept: those that stay in float because they were named."""
    if not rows:
        return "<p>None: nothing is computed in 8 bits.</p>"
    told = (f"<td class=number>{r.place}<td>{escape(r.layer)}<td>{escape(r.op)}<td class=number>{r.error:.1%}"
            f"<td class=number>{'' if r.clipped is None else f'{r.clipped:.2%}'}" for r in rows[:LAYERS])
    return (_table(("place", "layer", "operation", "error", "clipped"), told)
            + f"<p>The worst {min(LAYERS, len(rows))} of {len(rows)}. Error: root mean square of the difference to "
              "float over that of float, everything before the layer included. Clipped: share of values beyond the "
              "range, where they are stored in 8 bits.</p>"
            + (f"<p>In float, as asked with --keep-float: {escape(', '.join(kept))}.</p>" if kept else ""))


def calibration(settings: Calibration, said: Mapping[str, Any]) -> str:
    """What the decision goes by, and what it comes to on the judged tiles before and after. said: `verdicts`."""
    gate = "none" if settings.gate is None else f"distance up to {settings.gate.threshold:.3g}"
    return _table((), [f"<th>temperature<td>{settings.temperature:.3g}",
                       f"<th>inconclusive below<td>{settings.abstain_below:.1%}", f"<th>domain gate<td>{gate}",
                       *_verdicts(said), *_calibration_error(said["ece"])])


def _verdicts(said: Mapping[str, Any]) -> list[str]:
    """Where the domain gate lets no tile through, that all verdicts are the same says nothing about the model."""
    before, after = said["answered"]["float"], said["answered"]["converted"]
    answered = f"<th>get a verdict, before and after<td>{before:.1%}, {after:.1%} of {said['n']} tiles"
    if not before and not after:
        return [answered, "<th>same verdict<td>nothing to compare: none of these tiles gets one"]
    return [answered, f"<th>same verdict, inconclusive being one<td>{_share(said['same'], said['same_ci95'])}",
            f"<th>verdicts of another class<td>{said['other_class']}"]


def _calibration_error(ece: Mapping[str, float | None]) -> list[str]:
    if ece["float"] is None or ece["converted"] is None:
        return []
    return [f"<th>calibration error, before and after<td>{ece['float']:.3f}, {ece['converted']:.3f}"]


def operations(rows: Sequence[Operation]) -> str:
    """What the target makes of each operation: refused ones first, what most have in common said once above."""
    common = _common(rows)
    columns = {name: cells for name, cells in _columns(sorted(rows, key=_refused_first), common).items()
               if set(cells) - {"<td>", "<td class=number>"}}
    above = f"<p>Where a row says no more: {escape(common)}.</p>" if common else ""
    return above + _table(tuple(columns), map("".join, zip(*columns.values(), strict=True)))


def _common(rows: Sequence[Operation]) -> str:
    """The reason of several rows, "" when all differ; limits stay with their operations."""
    counted = Counter(row.reason for row in rows if not row.reason.startswith(LIMIT)).most_common(1)
    return counted[0][0] if counted and counted[0][1] > 1 else ""


def _columns(rows: Sequence[Operation], common: str) -> dict[str, list[str]]:
    return {"operation": [f"<td>{escape(r.op)}" for r in rows],
            "count": [f"<td class=number>{r.count}" for r in rows],
            "layer": [f"<td>{escape(r.layer)}" for r in rows],
            "version": [f"<td class=number>{r.version or ''}" for r in rows],
            "shapes": [f"<td>{escape(r.shapes)}" for r in rows],
            "mapped": [_MAPPED[r.mapped] for r in rows],
            "why": [f"<td>{'' if r.reason == common else escape(r.reason)}" for r in rows],
            "what would help": [f"<td>{escape(r.remedy)}" for r in rows]}


def _refused_first(row: Operation) -> int:
    return (False, "unknown", True).index(row.mapped)


def edge_tpu(metrics: Mapping[str, Any]) -> str:
    """What decides how fast it is there."""
    return _table((), (f"<th>{escape(name)}<td>{escape(value)}" for name, value in key_figures(metrics).items()))


def ladder(steps: Sequence[Mapping[str, Any]]) -> str:
    """The forms that were offered to the Edge TPU, in order."""
    return _table(("form", "taken whole", "float difference", "operations", "refused by the table", "subgraphs",
                   "why not"), (
        f"<td>{escape(step['rung'])}{_taken(step)}<td class=number>{_number(step['float_max_abs'])}"
        f"<td class=number>{(step['lint'] or {}).get('operations', '')}"
        f"<td class=number>{(step['lint'] or {}).get('refused', '')}"
        f"<td class=number>{(step['compiler'] or {}).get('subgraphs', 'no compiler')}<td>{escape(step['reason'])}"
        for step in steps))


def _taken(step: Mapping[str, Any]) -> str:
    """Only the compiler can say yes."""
    if step["holds"] and not step["compiler"]:
        return "<td>as far as the table tells"
    return "<td class=good>yes" if step["holds"] else "<td class=bad>no"


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    top = "".join(f"<th>{title}" for title in head)
    return f"<table>{f'<tr>{top}' if top else ''}{''.join(f'<tr>{row}' for row in rows)}</table>"


_TOLD = "<td>for information"


def _verdict(passed: bool) -> str:
    return "<td class=good>met" if passed else "<td class=bad>not met"


def _facts(gate: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in gate.items() if key != "passed")


def _number(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_number(v)} ({k})" for k, v in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "<td>not known<td>not known<td>not known"
    return (f"<td>{_share(accuracy.before, accuracy.before_ci95)}<td>{_share(accuracy.after, accuracy.after_ci95)}"
            f"<td>{_share(accuracy.delta, accuracy.delta_ci95)}")


def _share(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"


def _top(probabilities: Any) -> str:
    best = int(probabilities.argmax())
    return f"{TITLES[LABELS[best]]} {probabilities[best]:.0%}"
