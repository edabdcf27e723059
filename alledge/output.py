"""How commands talk: one JSON document on stdout when asked for, everything meant for people elsewhere."""

import json
import sys
from typing import Any

from rich.console import Console

progress = Console(stderr=True, highlight=False)


def emit(document: Any) -> None:
    """Print one JSON document on stdout, flushed, so that a reader of a pipe sees it at once."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """One plain line on stderr: progress that belongs to no report."""
    progress.print(line, markup=False, soft_wrap=True)
