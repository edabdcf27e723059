"""What a bundle for the Edge TPU says of it, in the words of its report, of `--finish` and of `inspect` alike."""

from collections.abc import Mapping
from typing import Any


def key_figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Name -> value of what decides how fast a network is on an Edge TPU; empty for other bundles.

    Args:
        metrics: of a manifest; the last step of its `ladder` is the form in the bundle.
    """
    steps = metrics.get("ladder")
    if not steps or not steps[-1]["lint"]:
        return {}
    step, lint, compiler = steps[-1], steps[-1]["lint"], steps[-1]["compiler"]
    return {
        "form": f"{step['rung']}, {lint['operations']} operations",
        "verdicts": f"compiler {compiler['version']}" if compiler else
                    f"the table of {lint['source']}; only the compiler can confirm them",
        "refused by the table": str(lint["refused"]),
        "first blocking operation": lint["first_blocking"] or "none, by the table",
        "work before it": f"{lint['macs_before']:.0%} of {lint['macs'] / 1e6:.4g} million multiply-accumulates",
        "parameters": f"{_mib(lint['parameter_bytes'])}, {_mib(lint['sram_bytes'])} fit the chip",
        "over USB per inference": _streamed(lint, compiler),
        "largest activation": f"{lint['largest_activation_bytes'] / 2**10:.4g} KiB",
        "dynamic tensors": str(lint["dynamic_tensors"]),
        **_compiled(compiler),
    }


def _streamed(lint: Mapping[str, Any], compiler: Mapping[str, Any] | None) -> str:
    if compiler is None or compiler["streamed_bytes"] is None:
        return f"{_mib(lint['streamed_bytes'])} of parameters at least"
    return f"{_mib(compiler['streamed_bytes'])} of parameters, as the compiler says"


def _compiled(compiler: Mapping[str, Any] | None) -> dict[str, str]:
    if compiler is None:
        return {}
    cached = compiler["cached_bytes"]
    return {"subgraphs": str(compiler["subgraphs"]), "operations left to the CPU": str(compiler["on_cpu"]),
            "parameters on the chip": "not said" if cached is None else _mib(cached)}


def _mib(count: int) -> str:
    return f"{count / 2**20:.2f} MiB"
