"""Make a system as a plan wants it: only what differs, each thing recorded before it is touched."""

from collections.abc import Callable, Sequence

from alledge.errors import AlledgeError, OutputError

from .record import Record
from .steps import Step
from .tree import Tree

Say = Callable[[str], None]
_WAY_OUT = "run this again to finish, or `alledge device uninstall` to go back"


def install(steps: Sequence[Step], tree: Tree, record: Record, dry_run: bool, say: Say) -> list[str]:
    """Carry out what is pending.

    Returns:
        one line for each thing that was changed, or with `dry_run` would be; `say` is told each before it is made.

    Raises:
        AlledgeError: when a step fails; what was made until then is recorded.
    """
    changes = []
    for step in steps:
        line = step.pending(tree, record)
        if not line:
            continue
        say(line)
        if not dry_run:
            _make(step, tree, record, line)
        changes.append(line)
    return changes


def _make(step: Step, tree: Tree, record: Record, line: str) -> None:
    try:
        step.make(tree, record)
    except AlledgeError as error:
        raise type(error)(f"{error} (at: {line}); {_WAY_OUT}") from error
    except OSError as error:
        raise OutputError(f"cannot {line}: {error.filename or tree.root}: {error.strerror or error}; {_WAY_OUT}") \
            from error
