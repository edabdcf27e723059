"""What whoever issues a bundle says about it: its number, its last day, and their signature."""

from dataclasses import dataclass
from datetime import date

from alledge.errors import UsageError
from alledge.manifest import Manifest
from alledge.signing import SigningKey


@dataclass(frozen=True)
class Issue:
    """What an issuer may say, all optional.

    release: number that grows from bundle to bundle; expires: last day of use; boards: names of those it is for;
    latency_ms: median milliseconds a field that a device may need; key: to sign with.
    """

    release: int | None = None
    expires: date | None = None
    boards: tuple[str, ...] = ()
    latency_ms: float | None = None
    key: SigningKey | None = None

    def laid_over(self, manifest: Manifest) -> Manifest:
        """The manifest with what was said; what was not said stays."""
        said = {"release": self.release, "expires": self.expires, "compatible": list(self.boards) or None,
                "latency_ms": self.latency_ms}
        return manifest.model_copy(update={key: value for key, value in said.items() if value is not None})


UNISSUED = Issue()


def parse_day(text: str | None) -> date | None:
    """A last day of use as ISO 8601 writes it.

    Raises:
        UsageError: for anything else, and for a day that is over: no device would run the bundle.
    """
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--expires {text!r}: expected a day such as 2027-12-31") from error
    if day < date.today():
        raise UsageError(f"--expires {text}: that day is over, so no device would run the bundle; expected "
                         f"{date.today()} or later")
    return day
