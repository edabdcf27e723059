"""What whoever issues a bundle says about it: its number, its last day, and their signature."""

from dataclasses import dataclass
from datetime import date

from alledge.errors import UsageError
from alledge.signing import SigningKey


@dataclass(frozen=True)
class Issue:
    """release: number that grows from bundle to bundle; expires: last day of use; key: to sign with. All optional."""

    release: int | None = None
    expires: date | None = None
    key: SigningKey | None = None


UNISSUED = Issue()


def parse_day(text: str | None) -> date | None:
    """A day as ISO 8601 writes it.

    Raises:
        UsageError: for anything else.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--expires {text!r}: expected a day such as 2027-12-31") from error
