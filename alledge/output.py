"""How commands talk: one JSON document on stdout when asked for, everything meant for people elsewhere."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import typer


def command_group(**options: Any) -> typer.Typer:
    """A group of commands that looks like all others: plain help, `-h`, no traceback of its own."""
    settings = {"add_completion": False, "no_args_is_help": True, **options}
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False,
                       context_settings={"help_option_names": ["-h", "--help"]}, **settings)


def emit(document: Any) -> None:
    """Print one JSON document on stdout, flushed, so that a reader of a pipe sees it at once."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
    sys.stdout.flush()


def present(document: Any, lines: list[str], as_json: bool) -> None:
    """What a command found: one JSON document, or lines for a person."""
    if as_json:
        emit(document)
    else:
        print(*lines, sep="\n")


def say(line: str) -> None:
    """One plain line on stderr: progress that belongs to no report."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Tells a person how long work goes: plain lines, and on a terminal a bar below them."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # not needed for `--help`

        self._console = Console(file=stream, highlight=False)

    def say(self, line: str) -> None:
        """One plain line."""
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """While `total` steps are done; the yielded function is called after each. Only a terminal shows it."""
        if not self._console.is_terminal:
            yield lambda: None
            return
        from rich.progress import Progress as Bar

        with Bar(console=self._console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda: bar.advance(task)
