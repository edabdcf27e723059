"""The conversion report beside the bundle: a page to read and the same as JSON.

It shows held-out images, which are the user's; that is why it is not part of the bundle.
"""

import json
from html import escape
from pathlib import Path
from typing import Any

from alledge.files import write_bytes
from alledge.labels import LABELS
from alledge.page import html_page

from . import report_tables as tables
from .conversion import Conversion
from .next_steps import steps_for

CASES = 50  # images by disagreement in the JSON


def write_report(conversion: Conversion) -> Path:
    """Write BUNDLE.html and BUNDLE.json beside the bundle; returns the page's path."""
    path = conversion.bundle.path.with_suffix(".html")
    target = conversion.bundle.manifest.target
    write_bytes(path, html_page(f"Conversion for {target}", _page(conversion)).encode())
    write_bytes(path.with_suffix(".json"), json.dumps(document(conversion), indent=1, allow_nan=False).encode())
    return path


def document(conversion: Conversion) -> dict[str, Any]:
    """The document of `convert --json` and what is too long for it."""
    found = conversion.judgement
    return {**conversion.to_json(), "latency_ms": _latency(conversion),
            "sizes": {m.name: m.size for m in conversion.bundle.manifest.members},
            "comparisons": {name: c.to_json() for name, c in conversion.comparisons.items()},
            "layers": [row.to_json() for row in conversion.converted.layers],
            "worst_images": [_case(conversion, int(i)) for i in found.worst(CASES)],
            "next": list(steps_for(conversion.bundle))}


def _page(conversion: Conversion) -> str:
    bundle, found, held_out = conversion.bundle, conversion.judgement, conversion.trained.held_out
    manifest = bundle.manifest
    latency = _latency(conversion)
    lead = (f"<p class=lead>Run {escape(str(manifest.provenance['run_id']))} for <b>{manifest.target}</b>: "
            f"{bundle.size / 2**20:.2f} MiB, {bundle.signature_in_words()}. Bundle {bundle.id}. Ranges from "
            f"{manifest.metrics['ranged_on']}, judged on {manifest.metrics['judged_on']}.</p>")
    steps = manifest.metrics.get("ladder")
    default = next(iter(conversion.comparisons.values()))
    parts = {
        "Warnings": tables.listed(conversion.warnings),
        "Gates": tables.gates(conversion.gates),
        "Float against converted, on the same tiles": tables.comparisons(conversion.comparisons),
        "Recall by class, default kernels": tables.recall(default),
        "Images whose probabilities changed most": tables.images(found, held_out),
        "Decision settings of the converted model": tables.calibration(
            manifest.calibration, manifest.metrics["verdicts"]),
        **({"Edge TPU": tables.edge_tpu(manifest.metrics), "Forms tried": tables.ladder(steps)} if steps else {}),
        "Layers, worst first": tables.layers(conversion.converted.layers, manifest.metrics.get("kept_float", ())),
        "Operations": tables.operations(conversion.converted.operations),
        "Size": tables.sizes({m.name: m.size for m in manifest.members}, bundle.size,
                             4 * conversion.trained.model.count_params()),
        "Speed": f"<p>{latency['mean']:.1f} ms a tile on average over {latency['n']} tiles on this machine "
                 f"({escape(str(latency['kernels']))} kernels, preparing the pixels not included). It says nothing "
                 "about a board: <code>alledge bench</code> does, there.</p>",
        "Next": tables.listed(steps_for(conversion.bundle)),
    }
    return lead + "".join(f"<h2>{title}</h2>{body}" for title, body in parts.items())


def _latency(conversion: Conversion) -> dict[str, Any]:
    return {"mean": conversion.judgement.milliseconds, "n": len(conversion.trained.held_out.truth),
            "kernels": next(iter(conversion.comparisons))}


def _case(conversion: Conversion, index: int) -> dict[str, Any]:
    found, sample = conversion.judgement, conversion.trained.held_out
    return {"name": sample.names[index], "truth": LABELS[sample.truth[index]] if sample.real else None,
            "float": [round(float(p), 4) for p in found.before.probs[index]],
            "converted": [round(float(p), 4) for p in found.after.probs[index]]}
