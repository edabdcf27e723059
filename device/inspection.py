"""A bundle in words and as JSON. Opening it has already verified every checksum."""

from typing import Any

from alledge.bundle import Bundle
from alledge.manifest import TensorSpec
from alledge.verdict import RESEARCH_USE_ONLY


def describe(bundle: Bundle) -> dict[str, Any]:
    """The manifest without its bulk (gate matrices, golden numbers), with path and size."""
    manifest = bundle.manifest
    plain = manifest.model_dump(mode="json", exclude={"calibration": {"gate"}, "goldens": True})
    gate = manifest.calibration.gate
    plain["calibration"]["gate"] = None if gate is None else {"threshold": gate.threshold, "classes": len(gate.means)}
    return {**plain, "goldens": len(manifest.goldens), "path": str(bundle.path), "bytes": bundle.size,
            "verified": True, "notice": RESEARCH_USE_ONLY}


def lines(bundle: Bundle) -> list[str]:
    """What a person wants to know before running it."""
    manifest, calibration = bundle.manifest, bundle.manifest.calibration
    gate = "none" if calibration.gate is None else f"distance up to {calibration.gate.threshold:.2f}"
    facts = {
        "bundle": f"{bundle.path} ({bundle.size / 2**20:.2f} MiB)",
        "id": bundle.id,
        "target": f"{manifest.target}, engine {manifest.engine}{_compiled(manifest.compiled)}",
        "classes": ", ".join(manifest.labels),
        "sees": f"{manifest.preprocessing.size} px square, mask {manifest.preprocessing.segment}",
        "input": _tensor(manifest.input),
        "outputs": f"{_tensor(manifest.probs)}; {_tensor(manifest.embedding)}",
        "temperature": f"{calibration.temperature:.3f}",
        "answers from": f"{calibration.abstain_below:.1%} confidence",
        "domain gate": gate,
        "goldens": f"{len(manifest.goldens)}, probabilities within {manifest.tolerance:g}",
        "signature": manifest.signature or "none",
        **{f"metric {name}": _short(value) for name, value in manifest.metrics.items()},
        **{f"from {name}": _short(value) for name, value in manifest.provenance.items()},
    }
    members = [f"{m.sha256[:16]}  {m.size:>10}  {m.name}" for m in manifest.members]
    return [*(f"{name:<22} {value}" for name, value in facts.items()), "members, all verified:",
            *(f"  {member}" for member in members), RESEARCH_USE_ONLY]


def _compiled(compiled: bool | None) -> str:
    return "" if compiled is None else ", compiled" if compiled else ", not compiled"


def _tensor(spec: TensorSpec) -> str:
    scaled = "" if spec.dtype == "float32" else f" scale {spec.scale:.6g} zero {spec.zero_point}"
    return f"{spec.name} {spec.dtype} {'x'.join(map(str, spec.shape))}{scaled}"


def _short(value: Any) -> str:
    """Numbers at reading precision; long structures are for --json."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 90 else f"{text[:87]}..."
