"""Finish a bundle that was converted where there was no Edge TPU compiler: `alledge convert --finish`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alledge.bundle import Bundle, write_bundle
from alledge.errors import BackendMissing, GateNotMet, UsageError
from alledge.manifest import Manifest

from .coral import COMPILED, LOG, NOT_COMPILED, foreign, operation_table
from .edgetpu_compiler import Compilation, Compiler, compile_model, find_compiler, where_it_runs
from .edgetpu_log import Report
from .lint import lint
from .next_steps import next_steps
from .options import Options


def finish(path: Path, out: Path | None, options: Options) -> Bundle:
    """Compile a bundle's model and write the bundle again, in place or to `out`.

    The rest of the bundle (goldens, calibration, figures) stays: it was measured on the same integers.

    Raises:
        UsageError: for a bundle that is not an uncompiled one for the Edge TPU, or a signed one without a key.
        BundleRefused: when it is damaged.
        BackendMissing: when there is no compiler here, or it is too old.
        GateNotMet: when the compiler does not map the model whole, and operations on the CPU are not allowed.
    """
    bundle = Bundle.open(path)
    _check_wanted(bundle, options)
    compiler = find_compiler(options.compiler)
    if compiler is None:
        raise BackendMissing(f"no edgetpu_compiler on PATH: {where_it_runs()}; name one with --compiler PATH, or use "
                             "the container of docs/coral.md")
    done = compile_model(compiler, bundle.model)
    _demand(path, done, options.allow_cpu_fallback)
    members = {COMPILED: done.content, **{m.name: bundle.read(m.name) for m in bundle.manifest.members},
               LOG: done.log.encode()}
    manifest = _manifest(bundle, compiler, done, options)
    return write_bundle(out or path, manifest, members, options.issue.key)


def _check_wanted(bundle: Bundle, options: Options) -> None:
    manifest = bundle.manifest
    if manifest.target != "coral" or manifest.compiled:
        state = "is compiled already" if manifest.compiled else f"is for {manifest.target}"
        raise UsageError(f"--finish {bundle.path}: expected a bundle for coral that is not compiled, this one {state}")
    if manifest.signature is not None and options.issue.key is None:
        raise UsageError(f"--finish {bundle.path}: it is signed, and compiling changes it: sign it again with --sign")


def _demand(path: Path, done: Compilation, allow_cpu_fallback: bool) -> None:
    if done.failure:
        raise GateNotMet(f"{path}: {done.failure}; the bundle is unchanged. Convert the run again where the compiler "
                         "is: `alledge convert RUN --target coral` tries other forms of the network")
    if not done.whole and not allow_cpu_fallback and done.report is not None:
        raise GateNotMet(f"{path}: {done.report.words()}; the bundle is unchanged. Convert the run again where the "
                         "compiler is, which tries other forms of the network, or accept this with "
                         "--allow-cpu-fallback")


def _manifest(bundle: Bundle, compiler: Compiler, done: Compilation, options: Options) -> Manifest:
    assert done.report is not None  # demanded before
    manifest = bundle.manifest
    rows = operation_table(lint(bundle.model).rows, bundle.head, done.report)
    warnings = [line for line in manifest.metrics["warnings"] if line != NOT_COMPILED]
    if not done.report.whole:
        warnings.append(f"not taken whole, and accepted with --allow-cpu-fallback: {done.report.words()}")
    metrics: dict[str, Any] = {**manifest.metrics, "warnings": [*warnings, *foreign(compiler)],
                               "operations": [asdict(row) for row in rows], "compiler": done.report.to_json(),
                               "ladder": _ladder(manifest.metrics["ladder"], done.report),
                               "next": list(next_steps(manifest.target, compiled=True))}
    return options.issue.laid_over(manifest.model_copy(update={
        "model": COMPILED, "fallback": manifest.model, "compiled": True, "compiler": compiler.version,
        "metrics": metrics}))


def _ladder(steps: Sequence[Mapping[str, Any]], report: Report) -> list[Mapping[str, Any]]:
    """The forms tried; the last of them is the one in the bundle, and the compiler has now judged it."""
    return [*steps[:-1], {**steps[-1], "holds": report.whole, "reason": "" if report.whole else report.words(),
                          "compiler": report.to_json()}]


def describe(bundle: Bundle) -> dict[str, Any]:
    """The document of `alledge convert --finish --json`."""
    metrics = bundle.manifest.metrics
    return {"bundle": str(bundle.path), "target": bundle.manifest.target, "bytes": bundle.size,
            "compiled": bool(bundle.manifest.compiled), "compiler": bundle.manifest.compiler,
            "ops": metrics["operations"], "gates": metrics["gates"], "warnings": metrics["warnings"]}


