"""A bundle in words and as JSON. Opening it has already verified every checksum."""

from collections.abc import Collection, Iterator
from datetime import date
from typing import Any

from alledge.bundle import Bundle
from alledge.edgetpu import key_figures
from alledge.manifest import Manifest, TensorSpec
from alledge.runfolder import MODEL_CARD
from alledge.verdict import RESEARCH_USE_ONLY

_TABLES = {
    "ladder": ("rung", "holds", "float_max_abs", "reason"),
    "operations": ("op", "count", "layer", "version", "shapes", "mapped", "reason", "remedy"),
    "layers": ("place", "layer", "op", "error", "clipped"),
    "remedies": ("ranging_tiles", "agreement", "passed"),
}


_UNCOMPILED = " (holds as far as the table of operations tells; no compiler has seen it)"
_SENTENCES = ("warnings", "kept_float", "next")


def describe(bundle: Bundle, trusted: Collection[str] = ()) -> dict[str, Any]:
    """The manifest without its bulk (gate matrices, golden numbers), with path and size."""
    manifest = bundle.manifest
    plain = manifest.model_dump(mode="json", exclude={"calibration": {"gate"}, "goldens": True})
    gate = manifest.calibration.gate
    plain["calibration"]["gate"] = None if gate is None else {"threshold": gate.threshold, "classes": len(gate.means)}
    return {**plain, "goldens": len(manifest.goldens), "path": str(bundle.path), "bytes": bundle.size,
            "verified": True, "signature_state": bundle.signature_in_words(trusted), "model_card": _card(bundle),
            "notice": RESEARCH_USE_ONLY}


def lines(bundle: Bundle, trusted: Collection[str] = ()) -> list[str]:
    """What a person wants to know before running it."""
    manifest, calibration = bundle.manifest, bundle.manifest.calibration
    gate = "none" if calibration.gate is None else f"distance up to {calibration.gate.threshold:.2f}"
    facts = {
        "bundle": f"{bundle.path} ({bundle.size / 2**20:.2f} MiB)",
        "id": bundle.id,
        "target": ", ".join(filter(None, (manifest.target, f"engine {manifest.engine}{_compiled(manifest)}",
                                          manifest.precision))),
        "classes": ", ".join(manifest.labels),
        "sees": f"{manifest.preprocessing.size} px square, mask {manifest.preprocessing.segment}"
                f"{', and where the nuclei are' if manifest.preprocessing.nuclei else ''}",
        "input": _tensor(manifest.input),
        "outputs": f"{_tensor(manifest.probs)}; {_tensor(manifest.embedding)}",
        **({"head": f"on the CPU, from {'; '.join(map(_tensor, manifest.head.features))}"} if manifest.head else {}),
        **({"stand-in": f"{manifest.fallback}, for the CPU"} if manifest.fallback else {}),
        "temperature": f"{calibration.temperature:.3f}",
        "answers from": f"{calibration.abstain_below:.1%} confidence",
        "domain gate": gate,
        "goldens": f"{len(manifest.goldens)}, probabilities within {manifest.tolerance:g}",
        "gate": _gate(bundle),
        "signature": bundle.signature_in_words(trusted),
        "release": f"{release_of(manifest)}{'' if manifest.expires else ', never expires'}",
        "boards": ", ".join(manifest.compatible or ["all of its target"]),
        "latency": "not limited" if manifest.latency_ms is None else f"up to {manifest.latency_ms:g} ms a field",
    }
    members = [f"  {m.sha256[:16]}  {m.size:>10}  {m.name}" for m in manifest.members]
    return [*(f"{name:<14} {value}" for name, value in facts.items()), *_edge_tpu(manifest.metrics),
            *_sentences(manifest.metrics),
            "metrics:", *_leaves(manifest.metrics), *_tables(manifest.metrics, manifest.compiled is False),
            "made from:", *_leaves(manifest.provenance),
            "members, all verified:", *members, *(_card(bundle) or "").splitlines(), RESEARCH_USE_ONLY]


def _edge_tpu(metrics: dict[str, Any]) -> list[str]:
    """The rows of the conversion report's table of this name."""
    rows = [f"  {name:<28} {value}" for name, value in key_figures(metrics).items()]
    return ["Edge TPU:", *rows] if rows else []


def _card(bundle: Bundle) -> str | None:
    """The model card, for a bundle that carries one."""
    names = {member.name for member in bundle.manifest.members}
    return bundle.read(MODEL_CARD).decode("utf-8", "replace") if MODEL_CARD in names else None


def _leaves(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    """Every figure of a nested document in a line of its own, with the way to it."""
    for name, value in tree.items():
        if not above and name in (*_TABLES, *_SENTENCES):
            continue
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"  {above}{name:<{max(38 - len(above), 1)}} {_short(value)}"


def _tables(metrics: dict[str, Any], uncompiled: bool) -> Iterator[str]:
    """Conversion's tables: one line a row, a column as wide as its widest cell."""
    for name, columns in _TABLES.items():
        rows = [[_cell(row.get(column)) for column in columns] for row in metrics.get(name, [])]
        if rows:
            widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
            yield f"{name}{_UNCOMPILED if uncompiled and name == 'ladder' else ''}:"
            yield from ("  " + "  ".join(map(str.ljust, cells, widths)).rstrip() for cells in (list(columns), *rows))


def _sentences(metrics: dict[str, Any]) -> Iterator[str]:
    for name in _SENTENCES:
        if metrics.get(name):
            yield f"{name}:"
            yield from (f"  {sentence}" for sentence in metrics[name])


def _compiled(manifest: Manifest) -> str:
    if manifest.compiled is None:
        return ""
    return f", compiled by version {manifest.compiler}" if manifest.compiled else ", not compiled"


def _gate(bundle: Bundle) -> str:
    gates = bundle.manifest.metrics.get("gates", {})
    failed = [name for name, gate in gates.items() if isinstance(gate, dict) and not gate.get("passed", True)]
    if bundle.caveat:
        return f"{bundle.caveat}: {', '.join(failed)}; accepted with --allow-drop"
    return "met" if gates else "not told"


def release_of(manifest: Manifest) -> str:
    """Its number, and its last day if it has one."""
    number = "not numbered" if manifest.release is None else f"release {manifest.release}"
    if manifest.expires is None:
        return number
    return f"{number}, {'expired' if date.today() > manifest.expires else 'expires'} on {manifest.expires}"


def _tensor(spec: TensorSpec) -> str:
    scaled = "" if spec.dtype == "float32" else f" scale {spec.scale:.6g} zero {spec.zero_point}"
    return f"{spec.name} {spec.dtype} {'x'.join(map(str, spec.shape))}{scaled}"


def _cell(value: Any) -> str:
    """Of a table: whole, whatever its length."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    """Numbers at reading precision; long structures are for --json."""
    if isinstance(value, list):
        return _clip(", ".join(_short(v) for v in value))
    return _clip(f"{value:.4g}" if isinstance(value, float) else str(value))


def _clip(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:87]}..."
