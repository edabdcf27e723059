"""The part of a camera's URI that says how: `?width=1280&height=720`."""

from types import TracebackType
from urllib.parse import parse_qsl

from alledge.errors import UsageError

SIDES = range(32, 16385)  # px, of any camera's picture


class Query:
    """Keys and values of a URI's query, each read as what it has to be, within a `with` block.

    What is not given, and what cannot be used, reads as None; the block ends with all that cannot be used at once.

    Raises:
        UsageError: at the end of the block, in one sentence.
    """

    def __init__(self, uri: str, query: str, allowed: tuple[str, ...]) -> None:
        self._uri, self._faults = uri, list[str]()
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            pairs = []
            self.refuse(f"expected key=value pairs after '?', received {query!r}")
        for key, value in pairs:
            if key not in allowed or not value:
                self.refuse(f"{key}={value} is not understood, expected {', '.join(allowed)}, each with a value")
        if len(dict(pairs)) != len(pairs):
            self.refuse("a key is given twice")
        self._values = {key: value for key, value in pairs if value}

    def __enter__(self) -> "Query":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._faults and error is None:
            raise UsageError(f"camera {self._uri!r}: {'; '.join(self._faults)}")

    def refuse(self, fault: str) -> None:
        """One more thing that cannot be used."""
        self._faults.append(fault)

    def whole(self, key: str, allowed: range) -> int | None:
        """A whole number in a range."""
        value = self._values.get(key)
        if value is None or (value.isascii() and value.isdigit() and int(value) in allowed):
            return None if value is None else int(value)
        self.refuse(f"{key}={value} is out of range, expected a whole number from {allowed.start} to "
                    f"{allowed.stop - 1}")
        return None

    def real(self, key: str, least: float, most: float) -> float | None:
        """A number in a range, both ends included."""
        value = self._values.get(key)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if least <= number <= most:
            return number
        self.refuse(f"{key}={value} is out of range, expected a number from {least:g} to {most:g}")
        return None

    def pair(self, key: str) -> tuple[int, int] | None:
        """WIDTHxHEIGHT in pixels."""
        value = self._values.get(key)
        if value is None:
            return None
        sides = [int(side) if side.isascii() and side.isdigit() else 0 for side in value.split("x")]
        if len(sides) == 2 and all(side in SIDES for side in sides):
            return sides[0], sides[1]
        self.refuse(f"{key}={value} is not understood, expected WIDTHxHEIGHT in pixels, e.g. 4056x3040")
        return None

    def choice(self, key: str, allowed: tuple[str, ...]) -> str | None:
        """One of a few words."""
        value = self._values.get(key)
        if value is None or value in allowed:
            return value
        self.refuse(f"{key} {value!r} is unknown, expected one of {', '.join(allowed)}")
        return None

    def together(self, first: str, second: str) -> None:
        """Two keys that make no sense one without the other."""
        if (first in self._values) != (second in self._values):
            self.refuse(f"expected {first} and {second} together, received only one of them")

    def size(self, width: int = 1280, height: int = 720) -> tuple[int, int]:
        """`width` and `height` in pixels, or the given ones."""
        self.together("width", "height")
        return self.whole("width", SIDES) or width, self.whole("height", SIDES) or height
