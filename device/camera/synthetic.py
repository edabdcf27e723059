"""Drawn smears as a camera: endless, repeatable, for demos, tests and benchmarks. Not patient data."""

from alledge.errors import UsageError
from alledge.labels import LABELS
from alledge.synthetic import draw_field

from . import Frame, now, parse_query

KEYS = ("seed", "class", "size")
_SIZES = range(32, 4097)  # px, what `draw_field` draws


def create(rest: str) -> "SyntheticCamera":
    """Open `synthetic://?seed=1&class=pre_b&size=224`; without a class all four come in turn.

    Raises:
        UsageError: for an unknown key, class, or a number out of range.
    """
    uri = f"synthetic://{rest}"
    place, _, query = rest.partition("?")
    if place.strip("/"):
        raise UsageError(f"camera {uri!r}: expected {KEYS} after '?', received the path {place!r}")
    asked = parse_query(uri, query, KEYS)
    label = asked.get("class")
    if label is not None and label not in LABELS:
        raise UsageError(f"camera {uri!r}: class {label!r} is unknown, expected one of {', '.join(LABELS)}")
    seed, size = _number(uri, asked, "seed", 0, range(2**31)), _number(uri, asked, "size", 224, _SIZES)
    return SyntheticCamera(seed, label, size)


def _number(uri: str, asked: dict[str, str], key: str, default: int, allowed: range) -> int:
    value = asked.get(key, str(default))
    if not value.isascii() or not value.isdigit() or int(value) not in allowed:
        raise UsageError(f"camera {uri!r}: {key}={value} is out of range, expected a whole number from "
                         f"{allowed.start} to {allowed.stop - 1}")
    return int(value)


class SyntheticCamera:
    """Field i is drawn from seed + i; the same URI gives the same fields."""

    def __init__(self, seed: int, label: str | None, size: int) -> None:
        self._seed, self._label, self._size = seed, label, size
        self._drawn = 0

    def read(self) -> Frame | None:
        """Draw the next field."""
        label = self._label or LABELS[self._drawn % len(LABELS)]
        seed = self._seed + self._drawn
        field = draw_field(label, seed, self._size)
        self._drawn += 1
        return Frame(field.rgb, now(), {"source": f"synthetic {label} seed {seed}"})

    def close(self) -> None:
        """Nothing is held."""
