"""The command of the conversion stage. What does the work is imported when it runs, so that `--help` stays fast."""

from pathlib import Path
from typing import Annotated, Any

import typer

from alledge.errors import UsageError
from alledge.output import emit
from alledge.quiet import quiet


def convert(
    target: Annotated[str, typer.Option(help="cpu, coral, jetson-nano, jetson-orin or onnx; also tflite, edgetpu, "
                                        "jetson, engine.")],
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", show_default=False,
                                               help="Run folder made by `alledge train`.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", show_default=False,
                                             help="Bundle to write; else RUN/TARGET.alledge.")] = None,
    allow_drop: Annotated[bool, typer.Option("--allow-drop", help="Write the bundle even if it lost more accuracy "
                                             "than the gate allows; it says so from then on.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Turn a run into a bundle that a board can run, and prove that it is still the same model. RESEARCH USE ONLY.

    For example:

      alledge convert runs/first --target cpu

      alledge convert runs/first --target coral --out microscope.alledge --json

    A report stands beside the bundle. Exit code 6 when the converted model lost too much or does not
    repeat its goldens; no bundle is written then.
    """
    from .targets import parse_target

    wanted = parse_target(target)
    if run is None:
        raise UsageError("no reference model is shipped with this version yet: name the run folder to convert, as in "
                         "`alledge convert RUN --target cpu`")
    with quiet() as person:
        from .conversion import convert_run
        from .options import Options
        from .report import write_report

        done = convert_run(run, wanted, out, Options(allow_drop), lambda line: print(f"{line} ...", file=person))
        report = write_report(done)
    if json:
        emit(done.to_json())
    else:
        typer.echo(_summary(done, report))


def _summary(done: Any, report: Path) -> str:
    """A few lines for a terminal."""
    document = done.to_json()
    lines = [f"{document['bundle']}: {document['bytes'] / 2**20:.2f} MiB for {document['target']}"]
    lines += [f"{name} kernels, {c.n} held-out tiles: accuracy {c.float_accuracy:.1%} -> {c.converted_accuracy:.1%}, "
              f"agreement {c.agreement:.1%}" for name, c in done.comparisons.items()]
    lines += [f"warning: {line}" for line in document["warnings"]]
    return "\n".join([*lines, f"report: {report}"])
