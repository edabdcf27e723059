"""The command line: names and one-line helps here, everything else in the stage that does the work.

A command is imported when it is chosen, so that `alledge --help` loads no stage, no NumPy and no TensorFlow.
"""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from alledge import __version__
from alledge.backends import stage
from alledge.errors import AlledgeError, BackendMissing
from alledge.output import command_group

COMMANDS = {
    "demo": ("alledge.demo:demo", "The whole product on synthetic smears: train, convert, run, report."),
    "synth": ("alledge.commands:synth", "Draw synthetic smears in class folders, with nucleus masks and a split."),
    "segment": ("alledge.commands:segment", "Find the nuclei in images: mask, overlay, coverage."),
    "data": ("alledge.train.cli:data", "Look at a data set before trusting it."),
    "train": ("alledge.train.cli:train", "Train a network on smear images and leave a run folder."),
    "explain": ("alledge.train.cli:explain", "Show where a network looked and what spoke for its verdict."),
    "reproduce": ("alledge.train.cli:reproduce", "Train the paper's tables again and print them beside ours."),
    "evaluate": ("alledge.evaluate:evaluate", "Score a run or a bundle on labelled images."),
    "convert": ("alledge.convert.cli:convert", "Turn a run into a bundle that a board can run."),
    "keys": ("alledge.keys:keys", "Make and show the keys that sign bundles."),
    "inspect": ("alledge.device.cli:inspect", "Show and verify what is in a bundle."),
    "run": ("alledge.device.cli:run", "Capture, segment, classify, show and log."),
    "daemon": ("alledge.device.cli:daemon", "Run headless under systemd: notify, watchdog, reload, recovery."),
    "bench": ("alledge.device.cli:bench", "Measure latency per stage on this machine."),
    "doctor": ("alledge.device.cli:doctor", "What this machine has, what is missing and what mends it."),
    "device": ("alledge.device.provision.commands:device", "Make a board the device, and pack what it needs."),
    "model": ("alledge.device.models:model", "Install models on this device, checked and rolled back by itself."),
    "results": ("alledge.device.results:results", "Read, verify, export and back up results."),
}

INTERRUPTED = 130  # what a shell reports after Ctrl-C
STAGES = ("train", "convert", "device")


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports the one that was chosen."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Swap the named stand-in for the command itself."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, (_import(name) if name in COMMANDS else stand_in), rest


def _import(name: str) -> Any:
    """A command's function, or its Typer app of sub-commands, as a command."""
    home, _ = COMMANDS[name]
    module, attribute = home.split(":")
    command = getattr(stage(module.removeprefix("alledge.")), attribute)
    if not isinstance(command, typer.Typer):
        alone = command_group(no_args_is_help=False)
        alone.command(name)(command)
        command = alone
    return typer.main.get_command(command)


app = command_group(cls=LazyGroup, add_completion=True)
for _name, (_home, _line) in COMMANDS.items():
    app.command(_name, help=_line)(lambda: None)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alledge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                          help="Print the version.")] = False,
) -> None:
    """Microscopes that look for acute lymphoblastic leukemia: train, convert, run. RESEARCH USE ONLY."""


def main() -> None:
    """Entry point: errors become one line on stderr and an exit code, a traceback only with `--debug`."""
    debug = "--debug" in sys.argv
    sys.argv = [a for a in sys.argv if a != "--debug"]  # accepted anywhere on the line
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("stopped", file=sys.stderr)
        raise
    except AlledgeError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if debug:
            raise
        print(f"error: {error.filename or 'a file or standard output'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(AlledgeError.exit_code)
    except ImportError as error:
        if debug or (error.name or "alledge").startswith("alledge"):
            raise
        print(f"error: this command needs {str(error.name).split('.')[0]}, which is not installed: "
              f"pip install 'alledge[{_extra()}]'", file=sys.stderr)
        sys.exit(BackendMissing.exit_code)


def _extra() -> str:
    """The extra that holds what the chosen command's stage needs."""
    chosen = next((a for a in sys.argv[1:] if a in COMMANDS), "")
    home = COMMANDS.get(chosen, ("", ""))[0].replace(":", ".").split(".")
    return next((part for part in home if part in STAGES), "dev")
