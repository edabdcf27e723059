"""One file that a board can run: read, write, verify.

A bundle is a stored (never compressed) zip whose first member is `manifest.json`. Nothing in it is executable or
pickled. Counts, names and sizes are bounded before anything is read, and every byte is accounted for, so a bundle is
either exactly what was written or refused. The checksums catch damage; a signature catches forgers, on a device that
was told whose signatures count.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from alledge import signing
from alledge.archive import pack, unpack
from alledge.errors import BundleRefused, UsageError
from alledge.files import write_bytes
from alledge.labels import LABELS
from alledge.manifest import FORMAT, ID_LENGTH, MEMBER_NAME, Manifest, Member, Signature
from alledge.verdict import GATE_NOT_MET

SUFFIX = ".alledge"
MANIFEST = "manifest.json"
MAX_BYTES = 512 * 2**20  # VGG19 with its dense layers in float32 fits
MAX_MANIFEST_BYTES = 2 * 2**20
MAX_MEMBERS = 65
_LATER = ("fallback", "compatible", "latency_ms")  # keys that the first bundles of this format do not have
_PURPOSE = b"alledge bundle\0"  # a signature of this key on anything else is none on a bundle


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory."""

    path: Path
    manifest: Manifest
    _members: Mapping[str, bytes]

    @classmethod
    def open(cls, path: Path | str, trusted: Collection[str] = ()) -> "Bundle":
        """Read and verify a bundle; nothing of it is used before all of it holds.

        Args:
            path: the file.
            trusted: public keys (64 hex digits each); when there are any, only what one of them signed is opened.

        Raises:
            UsageError: when there is no such file.
            BundleRefused: when it is truncated, altered, too large, too new, wrongly signed or not a bundle.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"{path}: expected a bundle made by `alledge convert`, found "
                             f"{'a folder' if path.is_dir() else 'no such file'}")
        try:
            manifest, members = _read(path)
        except OSError as error:
            raise BundleRefused(f"{path}: cannot be read ({error.strerror}); copy or convert it again") from error
        bundle = cls(path, manifest, members)
        if trusted and not bundle.signed_by(trusted):
            raise BundleRefused(f"{path}: is {bundle.signature_in_words(trusted)}, but only bundles signed by "
                                f"{' or '.join(map(signing.key_id, trusted))} are accepted here; convert it with "
                                "--sign and that key")
        return bundle

    def signed_by(self, trusted: Collection[str]) -> bool:
        """Whether one of these public keys signed it. That the signature itself is right was verified at opening."""
        return self.manifest.signature is not None and self.manifest.signature.public_key in trusted

    def signature_in_words(self, trusted: Collection[str] = ()) -> str:
        """`unsigned`, or who signed it and whether these keys include theirs."""
        if self.manifest.signature is None:
            return "unsigned"
        known = "a trusted" if self.signed_by(trusted) else "an unknown"
        return f"signed by {known} key ({signing.key_id(self.manifest.signature.public_key)})"

    def check_current(self, today: date, installed: Manifest | None = None) -> None:
        """Refuse to judge fields with a bundle whose time is over.

        Args:
            today: a clock that was never set shows an early day, on which nothing has expired.
            installed: what a device has now, when this one is about to replace it.

        Raises:
            BundleRefused: after its last day, or when it is older than what it would replace.
        """
        mine = self.manifest
        if mine.expires is not None and today > mine.expires:
            raise BundleRefused(f"{self.path}: expired on {mine.expires}, today is {today}; install a newer bundle, or "
                                "convert the run again with a later --expires")
        if installed is not None and installed.release is not None and (mine.release or 0) < installed.release:
            raise BundleRefused(f"{self.path}: is {_release(mine)}, older than the installed one (release "
                                f"{installed.release}); install a newer bundle")

    def check_board(self, board: str) -> None:
        """Refuse a bundle that was made for other boards.

        Args:
            board: this one's name, as configured; "" when it has none.

        Raises:
            BundleRefused: when the bundle names boards and this is none of them.
        """
        wanted = self.manifest.compatible
        if wanted is not None and board not in wanted:
            here = f"this one is {board!r}" if board else 'this one has no name (key "board" in [bundle])'
            raise BundleRefused(f"{self.path}: is for {' or '.join(map(repr, wanted))}, {here}; install a bundle that "
                                "was converted for this board")

    @property
    def id(self) -> str:
        """16 hex digits that name exactly this content."""
        return self.manifest.id

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    @property
    def caveat(self) -> str:
        """What has to be said beside every verdict: that the gate was not met and `--allow-drop` accepted it."""
        return GATE_NOT_MET if self.manifest.metrics.get("allow_drop") else ""

    def read(self, name: str) -> bytes:
        """The content of one member.

        Raises:
            BundleRefused: when the bundle has no such member.
        """
        if name not in self._members:
            raise BundleRefused(f"{self.path}: the manifest asks for {name!r}, which is not in the bundle")
        return self._members[name]

    @property
    def model(self) -> bytes:
        """The network itself."""
        return self.read(self.manifest.model)

    @property
    def cpu_model(self) -> bytes:
        """The same network for a CPU, where the bundle carries one beside an accelerator's."""
        return self.read(self.manifest.fallback or self.manifest.model)

    @property
    def head(self) -> bytes | None:
        """The second network of a split bundle."""
        return None if self.manifest.head is None else self.read(self.manifest.head.model)


def write_bundle(path: Path, manifest: Manifest, members: Mapping[str, bytes],
                 key: signing.SigningKey | None = None) -> Bundle:
    """Write a bundle, whole or not at all, and open it again as a device would.

    Args:
        path: where to; an older file of that name is replaced only by a complete one.
        manifest: without `id`, `members` and `signature`, which are filled in here.
        members: name -> content.
        key: signs it.
    """
    listed = [Member(name=n, size=len(b), sha256=_sha256(b)) for n, b in members.items()]
    manifest = manifest.model_copy(update={"members": listed, "id": "", "signature": None})
    manifest = manifest.model_copy(update={"id": _identity(manifest)})
    if key is not None:
        signature = Signature(public_key=key.public, value=key.sign(_signed_part(manifest)))
        manifest = manifest.model_copy(update={"signature": signature})
    write_bytes(path, pack({MANIFEST: _canonical(manifest), **members}))
    return Bundle.open(path)


def _read(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BundleRefused(f"{path}: {size} bytes are no bundle, expected at most {MAX_BYTES}")
    members = unpack(path, MAX_MEMBERS)
    _check_names(path, list(members))
    manifest = _parse_manifest(path, members.pop(MANIFEST))
    _check_members(path, manifest, members)
    _check_signature(path, manifest)
    return manifest, members


def _check_names(path: Path, names: list[str]) -> None:
    if not names or names[0] != MANIFEST:
        raise BundleRefused(f"{path}: expected {MANIFEST} first, received {names[:4]}")
    for name in names:
        if not re.fullmatch(MEMBER_NAME, name):
            raise BundleRefused(f"{path}: member name {name!r} is not allowed")


def _parse_manifest(path: Path, content: bytes) -> Manifest:
    if len(content) > MAX_MANIFEST_BYTES:
        raise BundleRefused(f"{path}: its manifest has {len(content)} bytes, expected at most {MAX_MANIFEST_BYTES}")
    try:
        announced = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleRefused(f"{path}: its manifest is not valid ({_first_line(error)})") from error
    if isinstance(announced, dict) and announced.get("format") != FORMAT:
        number = announced.get("format")
        older = isinstance(number, int) and number < FORMAT
        raise BundleRefused(f"{path}: bundle format {number!r} is not understood, this version reads format {FORMAT}; "
                            f"{'convert its run again' if older else 'update alledge on this machine'}")
    try:
        manifest = Manifest.model_validate(announced)
    except (ValueError, RecursionError) as error:
        raise BundleRefused(f"{path}: its manifest is not valid ({_first_line(error)})") from error
    if manifest.id != _identity(manifest) or content != _canonical(manifest):
        raise BundleRefused(f"{path}: its manifest was altered after it was written")
    if tuple(manifest.labels) != LABELS:
        raise BundleRefused(f"{path}: its classes are {manifest.labels}, this version knows {list(LABELS)}")
    return manifest


def _check_members(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> None:
    if [m.name for m in manifest.members] != list(members):
        raise BundleRefused(f"{path}: the members are not those its manifest lists")
    for listed in manifest.members:
        content = members[listed.name]
        if len(content) != listed.size or _sha256(content) != listed.sha256:
            raise BundleRefused(f"{path}: member {listed.name} was altered after it was written")
    heads = {manifest.head.model} if manifest.head else set()
    fallbacks = {manifest.fallback} if manifest.fallback else set()
    wanted = {manifest.model, *heads, *fallbacks, *(name for g in manifest.goldens for name in (g.image, g.mask))}
    if not wanted <= set(members):
        raise BundleRefused(f"{path}: lacks {', '.join(sorted(wanted - set(members)))}")


def _check_signature(path: Path, manifest: Manifest) -> None:
    signature = manifest.signature
    if signature is not None and not signing.verifies(signature.public_key, signature.value, _signed_part(manifest)):
        raise BundleRefused(f"{path}: its signature is not by the key it names; it was altered after it was signed")


def _identity(manifest: Manifest) -> str:
    return _sha256(_canonical(manifest.model_copy(update={"id": "", "signature": None})))[:ID_LENGTH]


def _signed_part(manifest: Manifest) -> bytes:
    return _PURPOSE + _canonical(manifest.model_copy(update={"signature": None}))


def _release(manifest: Manifest) -> str:
    return "without a release number" if manifest.release is None else f"release {manifest.release}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _canonical(manifest: Manifest) -> bytes:
    """One form only. A key that this format gained later is left out when it says nothing, as in bundles before it."""
    exclude = {key for key in _LATER if getattr(manifest, key) is None}
    return json.dumps(manifest.model_dump(mode="json", exclude=exclude), sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
