"""Run to bundle: convert, judge, calibrate again, add goldens, write. All or nothing."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from alledge import __version__
from alledge.bundle import SUFFIX, Bundle, write_bundle
from alledge.calibration import Calibration, fit_calibration, fit_gate
from alledge.errors import UsageError
from alledge.labels import LABELS
from alledge.manifest import FORMAT, Manifest, Target
from alledge.runfolder import MODEL_CARD

from .check import Comparison, compare, demand, doubts, failed_gates, gates, goldens_gate
from .converted import Converted
from .goldens import Goldens, make_goldens
from .options import Options
from .precision import PRECISIONS, parse_precision
from .targets import load_target
from .trained import Outputs, Trained, open_trained, predict, spread, tensors

SLOW_TILES = 60  # held-out tiles for kernels that take ten times as long
_LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "ai-edge-litert", "tf2onnx", "onnx", "onnxruntime", "numpy")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Conversion:
    """A written bundle and everything that was found out on the way.

    Attributes:
        comparisons: kernel set -> float against converted.
        gates: name -> limit, measured, passed.
        warnings: what the user has to know or do, one sentence each.
    """

    bundle: Bundle
    converted: Converted
    comparisons: dict[str, Comparison]
    gates: dict[str, dict[str, Any]]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of `alledge convert --json`: of the kernel sets, the one that did worst."""
        worst = min(self.comparisons.values(), key=lambda c: (c.agreement, c.delta))
        return {
            "bundle": str(self.bundle.path),
            "target": self.bundle.manifest.target,
            "bytes": self.bundle.size,
            "compiled": bool(self.converted.compiled),
            "compiler": self.converted.compiler,
            "ops": [asdict(row) for row in self.converted.operations],
            "agreement": {"n": worst.n, "top1": worst.agreement, "max_abs": worst.max_abs},
            "accuracy": {"float": worst.float_accuracy, "converted": worst.converted_accuracy,
                         "delta_ci95": list(worst.delta_ci95)},
            "gates": self.gates,
            "warnings": list(self.warnings),
            **self.converted.findings,
        }


def convert_run(run: Path, target: Target, out: Path | None, options: Options, say: Say) -> Conversion:
    """Convert a run folder for a target and write the bundle (default RUN/<target>.alledge).

    Raises:
        UsageError: when there is no run, `out` cannot be written, or the target has no such precision.
        DataError: when the run is damaged or foreign, or a layer cannot be converted.
        GateNotMet: when the converted model lost too much or gives unlike goldens, and `options.allow_drop` is False.
    """
    options = replace(options, precision=parse_precision(options.precision, target))
    say("reading the run")
    trained = open_trained(run)
    out = checked_out(out or run / f"{_stem(target, options)}{SUFFIX}")
    say(f"converting for {target}")
    converted = load_target(target)(trained, options)
    say(f"judging on {len(trained.held_out.truth)} held-out tiles")
    held_out = converted.run(tensors(trained.held_out.pixels, trained.record.preprocessing))
    comparisons = _compare(trained, converted, held_out)
    goldens = make_goldens(converted, trained.record.preprocessing)
    found = {**gates(comparisons), **converted.facts, "goldens": goldens_gate(goldens.spread, converted.tolerance)}
    if not options.allow_drop:
        demand(found, comparisons)
    warnings = (*converted.warnings, *doubts(next(iter(comparisons.values()))), *_accepted(found))
    calibration = _calibrate(trained, converted, held_out)
    manifest = _manifest(trained, target, converted, calibration, comparisons, found, goldens, warnings)
    manifest = manifest.model_copy(update={"precision": options.precision, "release": options.issue.release,
                                            "expires": options.issue.expires})
    say("writing the bundle")
    bundle = write_bundle(out, manifest, _members(run, converted, goldens), options.issue.key)
    return Conversion(bundle, converted, comparisons, found, warnings)


def _stem(target: Target, options: Options) -> str:
    """Another precision than the target's own shows in the file's name."""
    return target if options.precision == PRECISIONS[target][0] else f"{target}-{options.precision}"


def checked_out(out: Path) -> Path:
    """`out`, when a file can be made there.

    Raises:
        UsageError: before minutes are spent on a bundle that cannot be written.
    """
    folder = next(p for p in (out.absolute().parent, *out.absolute().parents) if p.exists())
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"--out {out}: expected a file name in a folder that can be written to; choose another")
    return out


def _compare(trained: Trained, converted: Converted, after: Outputs) -> dict[str, Comparison]:
    """Float against converted under every kernel set; slow ones judge an even sample. `after`: the default set's."""
    truth, before = trained.held_out.truth, predict(trained, trained.held_out)
    default, *others = converted.kernels
    found = {default: compare(before, after, truth)}
    for name in others:
        chosen = spread(truth, SLOW_TILES) if name in converted.slow_kernels else np.arange(len(truth))
        outputs = converted.kernels[name](tensors(trained.held_out.pixels[chosen], trained.record.preprocessing))
        found[name] = compare(before.rows(chosen), outputs, truth[chosen])
    return found


def _calibrate(trained: Trained, converted: Converted, held_out: Outputs) -> Calibration:
    """Temperature, abstention and domain gate once more, on what the converted network really says."""
    training = converted.run(tensors(trained.calibration.pixels, trained.record.preprocessing))
    gate = fit_gate(training.embedding, trained.calibration.truth)
    return fit_calibration(held_out.probs, held_out.embedding, trained.held_out.truth, gate)


def _accepted(found: dict[str, dict[str, Any]]) -> list[str]:
    failed = failed_gates(found)
    return [f"gate not met and accepted with --allow-drop: {', '.join(failed)}"] if failed else []


def _manifest(trained: Trained, target: Target, converted: Converted, calibration: Calibration,
              comparisons: dict[str, Comparison], found: dict[str, dict[str, Any]], goldens: Goldens,
              warnings: tuple[str, ...]) -> Manifest:
    return Manifest(
        format=FORMAT,
        target=target,
        engine=converted.engine,
        labels=list(LABELS),
        preprocessing=trained.record.preprocessing,
        calibration=calibration,
        model=converted.member,
        input=converted.input,
        probs=converted.probs,
        embedding=converted.embedding,
        tolerance=converted.tolerance,
        goldens=goldens.entries,
        head=converted.head,
        compiled=converted.compiled,
        compiler=converted.compiler,
        metrics={"run": trained.record.metrics, "checked_with": list(converted.kernels), "gates": found,
                 "conversion": {k: c.to_json() for k, c in comparisons.items()},
                 "operations": [asdict(row) for row in converted.operations], **converted.findings,
                 "allow_drop": bool(failed_gates(found)), "warnings": list(warnings)},
        provenance={**trained.record.provenance, "run_id": trained.record.run_id, "alledge": __version__,
                    "converted_with": _versions()},
        members=[],
    )


def _members(run: Path, converted: Converted, goldens: Goldens) -> dict[str, bytes]:
    card = run / MODEL_CARD
    return {converted.member: converted.content, **converted.extra_members, **goldens.members,
            **({MODEL_CARD: card.read_bytes()} if card.is_file() else {})}


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # TensorFlow comes under one of two names
    return found
