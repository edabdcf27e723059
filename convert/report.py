"""The conversion report: one HTML file beside the bundle."""

from html import escape
from pathlib import Path
from typing import Any

from alledge.files import write_bytes
from alledge.labels import TITLES
from alledge.page import html_page

from .check import Accuracy, Comparison
from .conversion import Conversion

_TENSORRT = ("This version cannot drive TensorRT yet. With ONNX Runtime the bundle runs with <code>alledge run {name} "
             "--engine onnx</code>, which is how it was checked here. ")
_NEXT = {
    "cpu": "Copy the bundle to the board and start it with <code>alledge run {name}</code>.",
    "onnx": "Copy the bundle to the board and start it with <code>alledge run {name}</code>.",
    "coral": "This version cannot drive an Edge TPU yet. Unless it is compiled, it is finished on x86-64 Linux, where "
             "Google's compiler is installed, with <code>alledge convert --finish {name}</code>; until then it runs on "
             "the CPU with <code>alledge run {name} --engine tflite</code>.",
    "jetson-nano": _TENSORRT + "In TensorRT it is meant for FP16: Maxwell has no INT8.",
    "jetson-orin": _TENSORRT + "In TensorRT it is meant for INT8, from the quantisation nodes in the model.",
}
_MAPPED = {True: "<td class=good>yes", False: "<td class=bad>no", "unknown": "<td>not yet known"}


def write_report(conversion: Conversion) -> Path:
    """Write the page beside the bundle and return its path."""
    bundle = conversion.bundle
    path = bundle.path.with_suffix(".html")
    manifest = bundle.manifest
    lead = (f"<p class=lead>Run {escape(str(manifest.provenance['run_id']))} for <b>{manifest.target}</b>: "
            f"{bundle.size / 2**20:.2f} MiB, of which the model is {len(bundle.model) / 2**20:.2f} MiB. "
            f"Bundle {bundle.id}.</p>")
    sections = [
        lead,
        _section("Warnings", _list(conversion.warnings)),
        _section("Gates", _gates(conversion.gates)),
        _section("Float against converted, on held-out tiles", _comparisons(conversion.comparisons)),
        _section("Recall by class, default kernels", _recall(next(iter(conversion.comparisons.values())))),
        _section("Decision settings, fitted again on the converted model", _calibration(manifest.calibration)),
        *([_section("Forms tried", _ladder(ladder))] if (ladder := manifest.metrics.get("ladder")) else []),
        _section("Operations", _operations(conversion)),
        _section("Next", f"<p>{_NEXT[manifest.target].format(name=escape(bundle.path.name))}</p>"),
    ]
    write_bytes(path, html_page(f"Conversion for {manifest.target}", "".join(sections)).encode())
    return path


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>{body}"


def _list(lines: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}" for line in lines) + "</ul>" if lines else "<p>None.</p>"


def _gates(gates: dict[str, dict[str, Any]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}{_verdict(gate['passed'])}<td>{escape(_facts(gate))}"
                   for name, gate in gates.items())
    return f"<table>{rows}</table>"


def _verdict(passed: bool) -> str:
    return "<td class=good>met" if passed else "<td class=bad>not met"


def _facts(gate: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in gate.items() if key != "passed")


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_number(v)} ({k})" for k, v in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _comparisons(comparisons: dict[str, Comparison]) -> str:
    head = ("<tr><th>kernels<th>tiles<th>float accuracy<th>converted accuracy<th>difference<th>agreement"
            "<th>largest and mean change of a probability")
    rows = "".join(f"<tr><td>{escape(name)}<td class=number>{c.n}{_accuracy(c.accuracy)}"
                   f"<td>{_share(c.agreement, c.agreement_ci95)}<td class=number>{c.max_abs:.3g}, {c.mean_abs:.2g}"
                   for name, c in comparisons.items())
    return (f"<table>{head}{rows}</table><p>In brackets: 95 % intervals, Wilson's for shares, paired for the "
            "difference. They treat tiles as independent; fields of one slide are not.</p>")


def _recall(comparison: Comparison) -> str:
    if not comparison.recall:
        return "<p>Not known: the tiles are drawn, and a drawn class is no diagnosis.</p>"
    rows = "".join(f"<tr><td>{TITLES[label]}<td class=number>{a.n}{_accuracy(a)}"
                   for label, a in comparison.recall.items())
    return f"<table><tr><th>class<th>tiles<th>float recall<th>converted recall<th>difference{rows}</table>"


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "<td>not known<td>not known<td>not known"
    return (f"<td>{_share(accuracy.before, accuracy.before_ci95)}<td>{_share(accuracy.after, accuracy.after_ci95)}"
            f"<td>{_share(accuracy.delta, accuracy.delta_ci95)}")


def _share(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"


def _calibration(calibration: Any) -> str:
    gate = "none" if calibration.gate is None else f"distance up to {calibration.gate.threshold:.3g}"
    return (f"<table><tr><th>temperature<td>{calibration.temperature:.3g}<tr><th>inconclusive below"
            f"<td>{calibration.abstain_below:.1%}<tr><th>domain gate<td>{gate}</table>")


def _operations(conversion: Conversion) -> str:
    rows = "".join(f"<tr><td>{escape(row.op)}<td class=number>{row.count}<td>{escape(row.layer)}"
                   f"<td>{escape(row.shapes)}{_MAPPED[row.mapped]}<td>{escape(row.reason)}<td>{escape(row.remedy)}"
                   for row in conversion.converted.operations)
    return ("<table><tr><th>operation<th>count<th>layer<th>shapes<th>mapped<th>why<th>what would help"
            f"{rows}</table>")


def _ladder(steps: list[dict[str, Any]]) -> str:
    """The forms that were offered to the Edge TPU, in order."""
    rows = "".join(f"<tr><td>{escape(step['rung'])}{_verdict(step['holds'])}<td class=number>"
                   f"{_number(step['float_max_abs'])}<td class=number>{(step['lint'] or {}).get('operations', '')}"
                   f"<td>{escape(step['reason'])}" for step in steps)
    return f"<table><tr><th>form<th>taken whole<th>float difference<th>operations<th>why not{rows}</table>"
