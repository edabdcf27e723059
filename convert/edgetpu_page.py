"""The page of `alledge convert --finish`: what Google's compiler made of a bundle."""

from pathlib import Path

from alledge.bundle import Bundle
from alledge.files import write_bytes
from alledge.page import html_page

from . import report_tables as tables
from .converted import Operation
from .next_steps import steps_for


def write_compilation(bundle: Bundle) -> Path:
    """Write it beside the bundle and return its path; the conversion's own report stays as it is."""
    path, metrics = bundle.path.with_name(f"{bundle.path.stem}-edgetpu.html"), bundle.manifest.metrics
    body = [f"<p class=lead>Bundle {bundle.id}, {bundle.size / 2**20:.2f} MiB.</p>", tables.edge_tpu(metrics),
            "<h2>Warnings</h2>", tables.listed(metrics["warnings"]),
            "<h2>Operations, as its log says</h2>",
            tables.operations([Operation(**row) for row in metrics["operations"]]),
            "<h2>Next</h2>", tables.listed(steps_for(bundle))]
    write_bytes(path, html_page("Compilation for the Edge TPU", "".join(body)).encode())
    return path
