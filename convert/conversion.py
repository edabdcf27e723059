"""Run to bundle: convert, judge, calibrate again, add goldens, write. All or nothing."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from alledge import __version__
from alledge.bundle import SUFFIX, Bundle, write_bundle
from alledge.calibration import Calibration
from alledge.errors import UsageError
from alledge.files import checked_out
from alledge.labels import LABELS
from alledge.manifest import FORMAT, Manifest, Target
from alledge.runfolder import MODEL_CARD, RECORD, REPORT

from .check import Comparison, badness, demand, doubts, failed_gates, gates, goldens_gate
from .converted import Converted
from .goldens import Goldens, make_goldens
from .judgement import Judgement, calibrate, confessions, sources
from .memory import demand_memory
from .next_steps import next_steps
from .options import Options
from .precision import PRECISIONS, needs_ranges, parse_precision
from .remedies import convert_until_it_holds
from .trained import Trained, open_trained
from .verdicts import changes, verdicts

_LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "ai-edge-litert", "tf2onnx", "onnx", "onnxruntime", "numpy")
WORST_LAYERS = 10  # that a bundle lists; the report beside it has all
Say = Callable[[str], None]


@dataclass(frozen=True)
class Conversion:
    """A written bundle and everything that was found out on the way.

    Attributes:
        trained: the run; judgement: both networks' outputs on its held-out tiles.
        gates: name -> limit, measured, passed.
        warnings: what the user has to know or do, one sentence each.
    """

    bundle: Bundle
    converted: Converted
    trained: Trained
    judgement: Judgement
    gates: dict[str, dict[str, Any]]
    warnings: tuple[str, ...]

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """Kernel set -> float against converted."""
        return self.judgement.comparisons

    def to_json(self) -> dict[str, Any]:
        """The document of `alledge convert --json`: of the kernel sets, the one that did worst."""
        worst = min(self.comparisons.values(), key=badness)
        return {
            "bundle": str(self.bundle.path),
            "target": self.bundle.manifest.target,
            "bytes": self.bundle.size,
            "compiled": bool(self.converted.compiled),
            "compiler": self.converted.compiler,
            "ops": [asdict(row) for row in self.converted.operations],
            "agreement": {"n": worst.n, "top1": worst.agreement, "max_abs": worst.max_abs},
            "accuracy": _accuracy(worst),
            "gates": self.gates,
            "warnings": list(self.warnings),
            **self.converted.findings,
        }


def convert_run(run: Path, target: Target, out: Path | None, options: Options, say: Say) -> Conversion:
    """Convert a run folder for a target and write the bundle (default RUN/<target>.alledge).

    Raises:
        UsageError: when there is no run, `out` cannot be written, or the target has no such precision.
        DataError: when the run is damaged or foreign, or a layer cannot be converted.
        AlledgeError: when this machine has too little memory.
        GateNotMet: when the converted model lost too much or gives unlike goldens, and `options.allow_drop` is False.
    """
    options = replace(options, precision=parse_precision(options.precision, target))
    if out is not None:
        _check_place(out)
    demand_memory(run, target)
    say("reading the run")
    trained = open_trained(run, options.data, options.split)
    out = out or checked_out(run / f"{_stem(target, options)}{SUFFIX}")
    say(f"converting for {target}")
    converted, judgement, remedies = convert_until_it_holds(trained, target, options, say)
    comparisons = judgement.comparisons
    goldens = make_goldens(converted, trained.record.preprocessing)
    found = {**gates(comparisons), **converted.facts, "goldens": goldens_gate(goldens.spread, converted.tolerance)}
    if not options.allow_drop:
        demand(found, comparisons, converted.remedy)
    ranged = needs_ranges(options.precision, target)
    calibration = calibrate(trained, converted, judgement)
    said = verdicts(trained, judgement, calibration)
    warnings = (*converted.warnings, *confessions(trained, ranged), *doubts(comparisons), *changes(said),
                *_accepted(found))
    metrics = {**_metrics(trained, converted, judgement, found), **sources(trained, ranged), "verdicts": said,
               "remedies": remedies, "warnings": list(warnings),
               "next": list(next_steps(target, converted.compiled))}
    manifest = _manifest(trained, target, converted, calibration, goldens, metrics)
    manifest = options.issue.laid_over(manifest.model_copy(update={"precision": options.precision}))
    say("writing the bundle")
    bundle = write_bundle(out, manifest, _members(run, converted, goldens), options.issue.key)
    return Conversion(bundle, converted, trained, judgement, found, warnings)


def _check_place(out: Path) -> None:
    """Refuse a place where no bundle can be written, or where the report beside it, which is called like it, would
    replace the bundle or a run's files.
    """
    if out.suffix != SUFFIX:
        raise UsageError(f"--out {out}: expected a name that ends in {SUFFIX}; the report is written beside it")
    for name in {f"{out.stem}.html", f"{out.stem}.json"} & {RECORD, REPORT}:
        if (out.parent / name).exists():
            raise UsageError(f"--out {out}: the report beside it would replace the run's {name}; choose another name")
    checked_out(out)


def _stem(target: Target, options: Options) -> str:
    """Another precision than the target's own shows in the file's name."""
    return target if options.precision == PRECISIONS[target][0] else f"{target}-{options.precision}"


def _accuracy(comparison: Comparison) -> dict[str, Any]:
    """Null where true classes are not known."""
    found = comparison.accuracy
    if found is None:
        return {"float": None, "converted": None, "delta_ci95": None}
    return {"float": found.before, "converted": found.after, "delta_ci95": list(found.delta_ci95)}


def _accepted(found: dict[str, dict[str, Any]]) -> list[str]:
    failed = failed_gates(found)
    return [f"gate not met and accepted with --allow-drop: {', '.join(failed)}"] if failed else []


def _metrics(trained: Trained, converted: Converted, judgement: Judgement,
             found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was measured before the bundle was written."""
    return {"run": trained.record.metrics, "checked_with": list(converted.kernels), "gates": found,
            "conversion": {k: c.to_json() for k, c in judgement.comparisons.items()},
            "operations": [asdict(row) for row in converted.operations], **converted.findings,
            "layers": [row.to_json() for row in converted.layers[:WORST_LAYERS]],
            "allow_drop": bool(failed_gates(found))}


def _manifest(trained: Trained, target: Target, converted: Converted, calibration: Calibration,
              goldens: Goldens, metrics: dict[str, Any]) -> Manifest:
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
        fallback=converted.fallback,
        compiled=converted.compiled,
        compiler=converted.compiler,
        metrics=metrics,
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
