"""Take away what `alledge device install` made, and leave what came since."""

import shutil
from collections.abc import Callable, Iterator

from . import packages
from .record import Entry, Record
from .tree import Tree
from .undo import without_ours

Say = Callable[[str], None]


def uninstall(tree: Tree, record: Record, dry_run: bool, say: Say) -> list[str]:
    """Put every path back, the last touched first. Interrupted, it goes on when it is called again.

    Returns:
        what it changed, one line each, which `say` is told, too; nothing when nothing was installed.
    """
    done = []
    for line in (*_paths(tree, record, dry_run), *_packages(tree, record, dry_run)):
        say(line)
        done.append(line)
    if not dry_run and (record.entries or record.packages):
        record.forget()
        list(_paths(tree, record, dry_run))  # folders that were made for the record itself
    return done


def _paths(tree: Tree, record: Record, dry_run: bool) -> Iterator[str]:
    for path in reversed(record.entries):
        if line := _restore(tree, path, record.entries[path], dry_run):
            yield line


def _restore(tree: Tree, path: str, entry: Entry, dry_run: bool) -> str:
    """What was changed, in words; "" when it is as it was."""
    if entry.whole:
        return _remove_whole(tree, path, dry_run)
    now = tree.look(path)
    if now.kind == "folder" and entry.earlier.kind == "absent":
        return _remove_folder(tree, path, dry_run)
    wanted, why = without_ours(entry.earlier, entry.ours, now)
    why = f" ({why})" if why else ""
    if wanted.digest == now.digest:
        return f"keep {path}{why}" if why else ""
    if not dry_run:
        tree.put(path, wanted)
    return f"{'remove' if wanted.kind == 'absent' else 'restore'} {path}{why}"


def _remove_whole(tree: Tree, path: str, dry_run: bool) -> str:
    if not tree.at(path).exists():
        return ""
    if not dry_run:
        shutil.rmtree(tree.at(path))
    return f"remove folder {path} with all in it"


def _remove_folder(tree: Tree, path: str, dry_run: bool) -> str:
    """Results and models are never removed, nor is what anybody else put there."""
    if not dry_run:
        try:
            tree.at(path).rmdir()
        except OSError:
            return f"keep folder {path} (not empty)"
    return f"remove folder {path}{' if it is empty' if dry_run else ''}"


def _packages(tree: Tree, record: Record, dry_run: bool) -> list[str]:
    """Those that apt installed for us and that are still there."""
    names = [name for name in record.packages if name in packages.installed(tree)]
    if not names:
        return []
    if dry_run or packages.remove(names):
        return [f"apt-get remove {' '.join(names)}"]
    return [f"keep packages {' '.join(names)} (apt could not remove them)"]
