"""What should be at a path once ours is taken away again: pure, so that an administrator's later work can be kept."""

from dataclasses import replace
from difflib import SequenceMatcher

from .tree import ABSENT, State


def without_ours(earlier: State, ours: State | None, now: State) -> tuple[State, str]:
    """What a path should hold, and what a person must know about it ("" as a rule).

    Args:
        earlier: before the first change; now: at present.
        ours: as it was left; None when that change was cut short, so that `now` is the earlier one or ours.
    """
    if now.digest == earlier.digest:
        return now, ""
    if ours is None or now.digest == ours.digest:
        return earlier, ""
    if now.kind == "absent":
        return (ABSENT, "") if earlier.kind == "absent" else (earlier, "somebody had removed it; as before again")
    if {earlier.kind, ours.kind, now.kind} == {"file"}:
        lines, kept = _merged(*(_lines(state) for state in (earlier, ours, now)))
        said = "changed since by somebody; only our lines are taken out"
        return replace(now, content=b"".join(lines), changed_at=None), said if kept else f"{said}, not all found again"
    if ours.kind == now.kind == "folder":  # another owner or mode
        return earlier, ""
    return now, "changed since by somebody: left as it is"


def _lines(state: State) -> list[bytes]:
    return state.content.splitlines(keepends=True)


def _merged(earlier: list[bytes], ours: list[bytes], now: list[bytes]) -> tuple[list[bytes], bool]:
    """`now` with each stretch of lines that `ours` changed as it was in `earlier`, and whether all were still there."""
    result, found = list(now), True
    for tag, i1, i2, j1, j2 in reversed(SequenceMatcher(None, earlier, ours, autojunk=False).get_opcodes()):
        if tag == "equal":
            continue
        at = _find(result, ours[j1:j2]) if j2 > j1 else None
        if at is None:
            found = False
        else:
            result[at:at + j2 - j1] = earlier[i1:i2]
    return result, found


def _find(lines: list[bytes], stretch: list[bytes]) -> int | None:
    return next((i for i in range(len(lines) - len(stretch) + 1) if lines[i:i + len(stretch)] == stretch), None)
