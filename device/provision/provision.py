"""`alledge device install` and `uninstall` from beginning to end."""

import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from alledge import __version__
from alledge.errors import AlledgeError

from .board_here import check_library, check_machine, check_may_write, reload, stop
from .boards import Board, System
from .environment import HOME, PROGRAM, Environment, mark_of, system_of
from .install import install
from .packages import lacking
from .packfile import Pack, open_pack
from .plan import BOOT, CONFIG, plan
from .record import Record
from .steps import Step
from .tree import Tree
from .uninstall import uninstall

Say = Callable[[str], None]
INTERRUPTED = "stopped: run this again to finish, or `alledge device uninstall` to go back"


@dataclass(frozen=True)
class Outcome:
    """What an installation did.

    Attributes:
        changes: one line each; dry_run: none of them was made.
        notes: what is still lacking, with the way out.
        ready: whether the doctor found all that is needed; None when it was not asked.
    """

    board: str
    root: str
    changes: list[str]
    dry_run: bool
    notes: list[str]
    ready: bool | None

    @property
    def lines(self) -> list[str]:
        """For a person, after the changes."""
        count = f"{len(self.changes)} change{'s' if len(self.changes) != 1 else ''}"
        did = "nothing was changed, this is a dry run" if self.dry_run else "done"
        return [f"{count}: {did}" if self.changes else "nothing to change",
                *(f"still to do: {note}" for note in self.notes)]


@dataclass(frozen=True)
class Unfetched:
    """The environment of an installation without a pack, before its wheels were fetched: only a dry run has it."""

    system: System

    def pending(self, tree: Tree, record: Record) -> str:
        """See `Step`."""
        return f"make environment {HOME}: Python {self.system.python}, alledge {__version__}, wheels from the network"

    def make(self, tree: Tree, record: Record) -> None:
        """See `Step`."""
        raise NotImplementedError("a dry run makes nothing")


@dataclass(frozen=True)
class AsItIs:
    """The environment that is there and of this release."""

    def pending(self, tree: Tree, record: Record) -> str:
        """See `Step`."""
        return ""

    def make(self, tree: Tree, record: Record) -> None:
        """Nothing is ever pending."""


def provision(board: Board, root: Path, pack: Path | None, dry_run: bool, say: Say,
              trusted_keys: tuple[str, ...] = ()) -> Outcome:
    """Make a system the device of a board.

    Raises:
        AlledgeError: when this is not the board, the pack does not fit, or a step fails.
    """
    tree = Tree(root.resolve())
    check_machine(board, tree)
    if not dry_run:
        check_may_write(tree)
    opened = None if pack is None else open_pack(pack, board.name)
    system = system_of(tree, board.systems, opened)
    record = Record.read(tree)
    with ExitStack() as work:
        if opened is None and not dry_run and mark_of(tree) != (board.name, __version__):
            opened = _fetched(board, system, Path(work.enter_context(tempfile.TemporaryDirectory())), say)
        home: Step = AsItIs() if mark_of(tree) == (board.name, __version__) else Unfetched(system)
        if opened is not None:
            check_library(system, opened.glibc[system.python], tree)
            home = Environment(opened, system, board.machine)
        keys = trusted_keys or (opened.trusted_keys if opened else ())
        steps = plan(board, home, keys, fetch=tree.live and pack is None)
        changes = install(steps, tree, record, dry_run, say)
    if changes and not dry_run:
        reload(tree)
    notes = [*lacking(board.packages, tree), *_notes(board, tree, changes)]
    return Outcome(board.name, str(tree.root), changes, dry_run, notes, None)


def unprovision(root: Path, dry_run: bool, say: Say) -> list[str]:
    """Put a system back as it was before; one line for each thing that was changed.

    Raises:
        AlledgeError: when that is not allowed, or the record of what was changed is damaged.
    """
    tree = Tree(root.resolve())
    if not dry_run:
        check_may_write(tree)
    record = Record.read(tree)
    if not record.entries and not record.packages:
        say(f"nothing to undo: `alledge device install` changed nothing in {tree.root}")
        return []
    if not dry_run:
        stop(tree)
    done = uninstall(tree, record, dry_run, say)
    if not dry_run:
        reload(tree)
    return done


def demand(done: Outcome) -> None:
    """Raise when the device is not ready.

    Raises:
        AlledgeError: with the way on.
    """
    if done.ready is False:
        raise AlledgeError(f"installed, but this machine is not ready yet (see above): mend it, then {PROGRAM} doctor "
                           f"--config {CONFIG}")


def examined(done: Outcome, quiet: bool = False) -> Outcome:
    """With what the doctor says, when this system was installed into; it prints its findings unless `quiet`."""
    if done.dry_run or done.root != "/":
        return done
    line = [PROGRAM, "doctor", "--config", CONFIG]
    ready = subprocess.run(line, check=False, stdout=subprocess.DEVNULL if quiet else None).returncode == 0
    return replace(done, ready=ready)


def _notes(board: Board, tree: Tree, changes: list[str]) -> list[str]:
    if board.boot and tree.look(BOOT).kind == "absent":
        return [f"{BOOT} is not there: switch on what firmware_configs/{board.boot} lists where this system does that"]
    if any(line.endswith(BOOT) for line in changes):
        return ["restart the board: I2C, SPI and camera are switched on then, and the device starts by itself"]
    return []


def _fetched(board: Board, system: System, folder: Path, say: Say) -> Pack:
    """A pack for this system alone, made now."""
    from .pack import make_pack

    return open_pack(make_pack(board, (system,), folder / "now.pyz", say), board.name)
