"""Heads of a chain kept where whoever alters the database cannot reach: made here, and read again to verify.

A witness is a line of JSON with `sequence` and `hash`. Every acknowledged result is one (JSON lines, a broker, the
journal); `alledge results head` makes one on purpose, and can sign it, so that it may be kept anywhere.
"""

import json
from pathlib import Path
from typing import Any

from alledge.errors import UsageError
from alledge.signing import SigningKey, verifies

from .chain import HASH, canonical
from .links import Head


def witness(head: Head, key: SigningKey | None = None) -> dict[str, Any]:
    """A head as plain types, signed when a key is given."""
    plain: dict[str, Any] = {"sequence": head.sequence, "hash": head.hash}
    if key is not None:
        plain = {**plain, "public_key": key.public, "signature": key.sign(_message(head))}
    return plain


def read_witnesses(path: Path, signed_by: str | None = None) -> list[Head]:
    """All witnesses in a file of JSON lines. Lines that are none, or were cut off, are passed by.

    Args:
        path: of the file.
        signed_by: a public key; only what it signed counts.

    Raises:
        UsageError: when there is no such file, none in it, or a signature that does not verify.
    """
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: expected JSON lines with sequence and hash, cannot read it ({error.strerror})") \
            from error
    found = []
    for number, line in enumerate(lines, 1):
        plain = _parsed(line)
        if not (isinstance(plain.get("sequence"), int) and HASH.fullmatch(str(plain.get("hash")))):
            continue
        head, key = Head(plain["sequence"], plain["hash"]), plain.get("public_key")
        if key is not None and not verifies(str(key), str(plain.get("signature")), _message(head)):
            raise UsageError(f"{path}: the signature in line {number} does not verify: the line was altered")
        if head.sequence and signed_by in (None, key):
            found.append(head)
    if not found:
        raise UsageError(f"{path}: expected JSON lines with sequence and hash"
                         f"{f', signed by {signed_by}' if signed_by else ''}, received none; "
                         "`alledge results head --json` makes one")
    return found


def _message(head: Head) -> bytes:
    return canonical({"alledge": "head of results", "hash": head.hash, "sequence": head.sequence}).encode()


def _parsed(line: str) -> dict[str, Any]:
    try:
        plain = json.loads(line)
    except ValueError:
        return {}
    return plain if isinstance(plain, dict) else {}
