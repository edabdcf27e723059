"""What the demo tells at its end: a table for the terminal, a page for the browser."""

import base64
import os
from html import escape
from pathlib import Path
from typing import Any

from alledge.files import write_bytes
from alledge.page import html_page

_NOTE = ("Smears, labels and stains are drawn: these figures show that the parts work together, and nothing about "
         "patients.")


def table(found: dict[str, Any]) -> str:
    """The demo's figures as plain text."""
    rows = [(name, value) for name, value in _figures(found)]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    return "\n".join([*lines, "", _NOTE, f"display: {found['screens'][-1]}", f"report:  {found['report']}"])


def write_demo_report(path: Path, found: dict[str, Any]) -> None:
    """Write the page, with the screens in it."""
    rows = "".join(f"<tr><th>{escape(name)}<td>{escape(value)}" for name, value in _figures(found))
    screens = "".join(f"<figure><img alt='' src='data:image/png;base64,{_base64(Path(s))}'></figure>"
                      for s in found["screens"])
    body = (f"<p class=lead>{_NOTE}</p><table>{rows}</table><h2>What the technician sees</h2>"
            f"<div class=row>{screens}</div>")
    write_bytes(path, html_page("alledge demo", body).encode())


def _figures(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        *((f"{name} accuracy, {found['unseen']} unseen smears", _accuracy(found, name)) for name in ("float", "int8")),
        ("a colour histogram alone, on the test rows", f"{found['baseline_histogram_accuracy']:.1%}"),
        ("int8 agrees with float", f"{found['agreement']:.1%}"),
        *((f"bundle {target}", f"{bundle['bytes'] / 1024:.0f} KiB  {bundle['path']}")
          for target, bundle in found["bundles"].items()),
        *((f"latency {stage}", f"{row['p50']:.2f} ms median, {row['p95']:.2f} ms p95")
          for stage, row in found["latency_ms"].items()),
        ("machine", f"this one, {os.cpu_count()} CPU cores, the int8 model on the CPU"),
        ("took", f"{found['seconds']:.0f} s"),
        ("results", found["results"]),
    ]


def _accuracy(found: dict[str, Any], name: str) -> str:
    low, high = found["accuracy_ci95"][name]
    return f"{found[f'{name}_accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})"


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
