"""The hash chain over stored results: any row that was edited, removed, added or moved afterwards shows.

link(n) = SHA-256(link(n-1) + newline + body(n)), with the SHA-256 of the database's genesis text before the first.
The scheme of signed-log literature (Schneier and Kelsey 1999, Haber and Stornetta 1991) without its keys: whoever can
write the file can compute the whole chain anew, which only a head that was kept elsewhere reveals.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

HASH = re.compile(r"[0-9a-f]{64}")


def genesis(**about: Any) -> str:
    """What a new chain starts from: unique to this database."""
    made = {"made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"), "nonce": secrets.token_hex(16)}
    return canonical({**made, **about})


def seed(text: str) -> str:
    """The link before the first row."""
    return hashlib.sha256(text.encode()).hexdigest()


def link(previous: str, body: str) -> str:
    """The link of a row: 64 hex digits."""
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()


def canonical(plain: Mapping[str, Any]) -> str:
    """One possible text for one content.

    Raises:
        ValueError: for numbers that are not finite: JSON has none.
    """
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
