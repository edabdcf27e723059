"""Ed25519 keys (RFC 8032): who vouches for a bundle. Same key, same content, same signature.

The library is loaded by the functions that use it: an unsigned bundle costs a board nothing.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alledge.errors import OutputError, UsageError

_KEY_ID_LENGTH = 16
_READABLE_BY_OTHERS = 0o077


@dataclass(frozen=True)
class SigningKey:
    """A private key in memory. public: 64 hex digits of the public half."""

    public: str
    _private: Any

    def sign(self, message: bytes) -> str:
        """128 hex digits."""
        return str(self._private.sign(message).hex())


def key_id(public: str) -> str:
    """16 hex digits that name a public key: the start of its SHA-256."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:_KEY_ID_LENGTH]


def new_key(path: Path) -> SigningKey:
    """Make a key and keep it in a PEM file (PKCS 8) that only this user may read.

    Raises:
        UsageError: when the file exists: a key that is overwritten is lost for ever.
        OutputError: when it cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise UsageError(f"{path}: exists, and a key is never overwritten; choose another name") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose a folder that you own") from error
    return _signing(private)


def load_key(path: Path) -> SigningKey:
    """The private key in a PEM file.

    Raises:
        UsageError: when there is none, or it is a public, encrypted or other kind of key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise UsageError(f"{path}: expected a key file made by `alledge keys new`, cannot read it "
                         f"({error.strerror})") from error
    except TypeError as error:
        raise UsageError(f"{path}: expected a key without a password, received an encrypted one; make one for signing "
                         "with `alledge keys new`") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path}: expected a private key made by `alledge keys new`, received something else") \
            from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"{path}: expected an Ed25519 key made by `alledge keys new`, received "
                         f"{type(private).__name__.strip('_')}")
    return _signing(private)


def exposed(path: Path) -> bool:
    """Whether others than the owner may read or write a key file. Nobody can tell on Windows."""
    return os.name == "posix" and bool(path.stat().st_mode & _READABLE_BY_OTHERS)


def verifies(public: str, signature: str, message: bytes) -> bool:
    """Whether a signature (128 hex digits) of `message` was made with the private half of `public`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):  # some 32 bytes are no point of the curve
        return False
    return True


def _signing(private: Any) -> SigningKey:
    return SigningKey(private.public_key().public_bytes_raw().hex(), private)
