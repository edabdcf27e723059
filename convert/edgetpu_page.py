"""The page of `alledge convert --finish`: what Google's compiler made of a bundle."""

from html import escape
from pathlib import Path

from alledge.bundle import Bundle
from alledge.files import write_bytes
from alledge.page import html_page

from . import report_tables as tables
from .converted import Operation
from .next_steps import steps_for


def write_compilation(bundle: Bundle) -> Path:
    """Write it beside the bundle and return its path; the conversion's own report stays as it is."""
    path, manifest = bundle.path.with_name(f"{bundle.path.stem}-edgetpu.html"), bundle.manifest
    report = manifest.metrics["compiler"]
    facts = {"compiler": report["version"], "subgraphs on the Edge TPU": report["subgraphs"],
             "operations left to the CPU": report["on_cpu"],
             "parameters on the chip": _bytes(report["cached_bytes"]),
             "parameters over USB at every inference": _bytes(report["streamed_bytes"])}
    body = [f"<p class=lead>Bundle {bundle.id}, {bundle.size / 2**20:.2f} MiB.</p>",
            "<table>", *(f"<tr><th>{name}<td>{escape(str(value))}" for name, value in facts.items()), "</table>",
            "<h2>Warnings</h2>", tables.listed(manifest.metrics["warnings"]),
            "<h2>Operations, as its log says</h2>",
            tables.operations([Operation(**row) for row in manifest.metrics["operations"]]),
            "<h2>Next</h2>", tables.listed(steps_for(bundle))]
    write_bytes(path, html_page("Compilation for the Edge TPU", "".join(body)).encode())
    return path


def _bytes(count: int | None) -> str:
    return "not said" if count is None else f"{count / 2**20:.2f} MiB"
