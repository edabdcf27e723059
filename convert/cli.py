"""The command of the conversion stage. What does the work is imported when it runs, so that `--help` stays fast."""

from pathlib import Path
from typing import Annotated, Any

import typer

from alledge import reference
from alledge.errors import UsageError
from alledge.output import emit
from alledge.quiet import quiet

Boards = Annotated[list[str] | None, typer.Option(metavar="NAME", show_default=False,
                                                  help="Only for boards of this name; repeat it for more.")]
Release = Annotated[int | None, typer.Option(metavar="N", min=0, show_default=False,
                                             help="Number of this bundle; devices never go back to a lower one.")]
Expires = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", show_default=False,
                                             help="Last day on which devices may use it.")]
MaxLatency = Annotated[float | None, typer.Option(metavar="MS", min=0.01, show_default=False,
                                                  help="Devices that take longer a field (median) roll it back when "
                                                  "they install it.")]
KeepFloat = Annotated[list[str] | None, typer.Option("--keep-float", metavar="LAYER", show_default=False,
                                                      help="jetson-orin in int8: leave this layer in float, by its "
                                                      "name in the report; repeat it for more.")]
Precision = Annotated[str | None, typer.Option(metavar="NAME", show_default=False,
                                               help="int8, fp16 or fp32: arithmetic on the device, where a target has "
                                               "a choice; else its first.")]


def convert(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", show_default=False,
                                               help="Run folder made by `alledge train`; else the reference "
                                               "model that comes with the package.")] = None,
    target: Annotated[str | None, typer.Option(show_default=False, help="cpu, coral, jetson-nano, jetson-orin or onnx; "
                                               "also tflite, edgetpu, jetson, engine.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", show_default=False,
                                             help="Bundle; else TARGET.alledge in RUN, or here.")] = None,
    allow_drop: Annotated[bool, typer.Option("--allow-drop", help="Write the bundle even if it lost more accuracy "
                                             "than the gate allows; it says so from then on.")] = False,
    compiler: Annotated[Path | None, typer.Option(metavar="PATH", show_default=False,
                                                  help="Google's edgetpu_compiler, when it is not on PATH.")] = None,
    allow_cpu_fallback: Annotated[bool, typer.Option("--allow-cpu-fallback", help="Accept operations that the Edge TPU "
                                                     "leaves to the CPU.")] = False,
    finish: Annotated[Path | None, typer.Option(metavar="BUNDLE", show_default=False, help="Compile a coral bundle "
                                                "that was converted where there was no compiler.")] = None,
    sign: Annotated[Path | None, typer.Option(metavar="KEY", show_default=False,
                                              help="Sign the bundle with this key of `alledge keys new`.")] = None,
    release: Release = None,
    expires: Expires = None,
    board: Boards = None,
    max_latency: MaxLatency = None,
    precision: Precision = None,
    keep_float: KeepFloat = None,
    board_memory: Annotated[float | None, typer.Option(metavar="GIB", min=0.5, show_default=False,
                                                       help="Jetson: memory that building the engine may use, swap "
                                                       "included; else 4 (Nano) or 8 (Orin).")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", show_default=False,
                                              help="The images the run was trained with, to range and judge with "
                                              "instead of the tiles in the run.")] = None,
    split: Annotated[Path | None, typer.Option(metavar="CSV", show_default=False,
                                               help="Split of --data; else DIR/split.csv.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Turn a run into a bundle that a board can run, and prove that it is still the same model. RESEARCH USE ONLY.

    For example:

      alledge convert runs/first --target cpu

      alledge convert runs/first --target coral --out microscope.alledge --json

      alledge convert runs/first --target cpu --sign lab.pem --release 4 --expires 2027-12-31

      alledge convert --finish microscope.alledge --compiler ~/bin/edgetpu_compiler

    A report stands beside the bundle. Exit code 6 when the converted model lost too much or does not
    repeat its goldens; no bundle is written then.
    """
    from .issue import Issue, parse_day
    from .options import Options

    issue = Issue(release, parse_day(expires), tuple(board or ()), max_latency, None if sign is None else _key(sign))
    options = Options(allow_drop, precision, board_memory, compiler, allow_cpu_fallback, data, split, issue,
                      tuple(keep_float or ()))
    if finish is None:
        _convert(run, target, out, options, json)
    else:
        _finish(finish, run, target, out, options, json)


def _convert(run: Path | None, target: str | None, out: Path | None, options: Any, json: bool) -> None:
    from .targets import TARGETS, parse_target

    if target is None:
        raise UsageError(f"--target is missing: expected one of {', '.join(TARGETS)}")
    wanted = parse_target(target)
    _check_meant(wanted, options)
    if run is None:
        run, out = reference.RUN, out or Path(f"{wanted}.alledge")  # never into the installed package
    if options.split is not None and options.data is None:
        raise UsageError("--split says which images of --data train and validate: expected --data DIR beside it")
    with quiet() as person:
        from .conversion import convert_run
        from .report import write_report

        done = convert_run(run, wanted, out, options, lambda line: print(f"{line} ...", file=person))
        report = write_report(done)
    if json:
        emit(done.to_json())
    else:
        typer.echo(_summary(done, report))


def _check_meant(target: str, options: Any) -> None:
    """Options that concern another target would do nothing, which nobody expects."""
    for name, given, targets in (("compiler", options.compiler, ("coral",)),
                                 ("allow-cpu-fallback", options.allow_cpu_fallback, ("coral",)),
                                 ("keep-float", options.keep_float, ("jetson-orin",)),
                                 ("board-memory", options.board_memory, ("jetson-nano", "jetson-orin"))):
        if given and target not in targets:
            raise UsageError(f"--{name} is only for --target {' or '.join(targets)}, received --target {target}: leave "
                             "it away")
    if options.keep_float and options.precision == "fp16":
        raise UsageError("--keep-float is for the 8 bits of jetson-orin, received --precision fp16: leave one away")


def _finish(bundle: Path, run: Path | None, target: str | None, out: Path | None, options: Any, json: bool) -> None:
    """Compile what another machine converted."""
    if run is not None or target is not None:
        raise UsageError("--finish takes a bundle and neither a run nor --target: expected `alledge convert --finish "
                         "BUNDLE`")
    _check_finishing(options)
    from .edgetpu_page import write_compilation
    from .finish import describe, finish

    finished = finish(bundle, out, options)
    done, report = describe(finished), write_compilation(finished)
    if json:
        emit(done)
    else:
        typer.echo("\n".join([f"{done['bundle']}: compiled by version {done['compiler']}",
                              *(f"warning: {line}" for line in done["warnings"]), f"report: {report}"]))


def _check_finishing(options: Any) -> None:
    """Nothing is converted or judged again, so what says how would do nothing."""
    for name in ("precision", "board_memory", "data", "split", "allow_drop", "keep_float"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} is not for --finish, which compiles a bundle's network as it "
                             "is: leave it away, or convert the run again")


def _key(path: Path) -> Any:
    from alledge.keys import warn_if_exposed
    from alledge.signing import load_key

    key = load_key(path)
    warn_if_exposed(path)
    return key


def _summary(done: Any, report: Path) -> str:
    """A few lines for a terminal."""
    document = done.to_json()
    lines = [f"{document['bundle']}: {document['bytes'] / 2**20:.2f} MiB for {document['target']}"]
    lines += [f"{name} kernels, {c.n} tiles: {_accuracy(c)}agreement {c.agreement:.1%}"
              for name, c in done.comparisons.items()]
    if document.get("ladder"):
        from .lint import in_words

        step = document["ladder"][-1]
        lines.append(f"Edge TPU table, form {step['rung']!r}: {in_words(step['lint'])}")
    lines.append(done.bundle.signature_in_words())
    lines += [f"warning: {line}" for line in document["warnings"]]
    return "\n".join([*lines, f"report: {report}"])


def _accuracy(comparison: Any) -> str:
    """Empty where only agreement could be measured."""
    found = comparison.accuracy
    return "" if found is None else f"accuracy {found.before:.1%} -> {found.after:.1%}, "
