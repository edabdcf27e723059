"""The part of a camera's URI that says how: `?width=1280&height=720`."""

from urllib.parse import parse_qsl

from alledge.errors import UsageError

SIDES = range(32, 16385)  # px, of any camera's picture


class Query:
    """Keys and values of a URI's query, each read as what it has to be.

    Raises:
        UsageError: for a key that is not allowed, given twice, or without a value.
    """

    def __init__(self, uri: str, query: str, allowed: tuple[str, ...]) -> None:
        self._uri = uri
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise UsageError(f"camera {uri!r}: expected key=value pairs after '?', received {query!r}") from None
        for key, value in pairs:
            if key not in allowed or not value:
                raise UsageError(f"camera {uri!r}: {key}={value} is not understood, expected {', '.join(allowed)}, "
                                 "each with a value")
        if len(dict(pairs)) != len(pairs):
            raise UsageError(f"camera {uri!r}: a key is given twice")
        self._values = dict(pairs)

    def whole(self, key: str, allowed: range) -> int | None:
        """A whole number in a range; None when it is not given. UsageError otherwise."""
        value = self._values.get(key)
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or int(value) not in allowed:
            raise UsageError(f"camera {self._uri!r}: {key}={value} is out of range, expected a whole number from "
                             f"{allowed.start} to {allowed.stop - 1}")
        return int(value)

    def real(self, key: str, least: float, most: float) -> float | None:
        """A number in a range, both ends included; None when it is not given. UsageError otherwise."""
        value = self._values.get(key)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise UsageError(f"camera {self._uri!r}: {key}={value} is out of range, expected a number from {least:g} "
                             f"to {most:g}")
        return number

    def pair(self, key: str) -> tuple[int, int] | None:
        """WIDTHxHEIGHT in pixels; None when it is not given. UsageError otherwise."""
        value = self._values.get(key)
        if value is None:
            return None
        sides = [int(side) if side.isascii() and side.isdigit() else 0 for side in value.split("x")]
        if len(sides) != 2 or not all(side in SIDES for side in sides):
            raise UsageError(f"camera {self._uri!r}: {key}={value} is not understood, expected WIDTHxHEIGHT in pixels, "
                             "e.g. 4056x3040")
        return sides[0], sides[1]

    def choice(self, key: str, allowed: tuple[str, ...]) -> str | None:
        """One of a few words; None when it is not given. UsageError otherwise."""
        value = self._values.get(key)
        if value is not None and value not in allowed:
            raise UsageError(f"camera {self._uri!r}: {key} {value!r} is unknown, expected one of {', '.join(allowed)}")
        return value

    def together(self, first: str, second: str) -> None:
        """Raise UsageError when one of two keys is given without the other."""
        if (first in self._values) != (second in self._values):
            raise UsageError(f"camera {self._uri!r}: expected {first} and {second} together, received only one of them")

    def size(self, width: int = 1280, height: int = 720) -> tuple[int, int]:
        """`width` and `height` in pixels, or the given ones. UsageError when only one is given."""
        self.together("width", "height")
        return self.whole("width", SIDES) or width, self.whole("height", SIDES) or height
