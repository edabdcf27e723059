"""Is any altered bundle accepted? Attacks a bundle by the thousand and writes docs/results/tamper.md.

    python benchmarks/tamper.py BUNDLE [--flips 10000] [--cuts 1000] [--seed 0] [--out FILE]

BUNDLE is any unsigned bundle; it is signed with a key made for the occasion, and every attack is tried on a device
that trusts that key. `Bundle.open` and `check_current` decide; both run before a model is loaded. Exit code 1 when
one attack was accepted. Half of the flipped bits are anywhere, half are outside the contents of members (headers,
manifest, directory), where a general zip reader looks away.
"""

import argparse
import datetime
import io
import json
import platform
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alledge.archive import pack
from alledge.bundle import MANIFEST, MAX_BYTES, MAX_MEMBERS, Bundle, write_bundle
from alledge.errors import BundleRefused
from alledge.manifest import Manifest
from alledge.signing import SigningKey, new_key

TODAY = datetime.date(2027, 1, 1)
BAD_NAMES = ("../evil.png", "/etc/passwd", "..\\evil.png", "C:/evil.png", "a/../../b.png", "goldens/../../x.png",
             "./x.png", "a//b.png", "a/b/c.png", "con", "x.png/", "x\0.png", "X.PNG", ".hidden", "ä.png", "a" * 300,
             "", " .png", "model.tflite ", "~/x.png")
LOCAL_HEADER_BYTES = 30  # before the name; APPNOTE 4.3.7
Attack = tuple[str, bytes]


@dataclass(frozen=True)
class Target:
    """A signed bundle, taken apart. other: a key the device does not trust; later: release 9, what is installed."""

    whole: bytes
    members: dict[str, bytes]
    manifest: Manifest
    key: SigningKey
    other: SigningKey
    folder: Path

    def made(self, key: SigningKey | None, **changes: Any) -> bytes:
        """The bundle as someone with all tools but not the trusted key would write it: all checksums fit."""
        members = {**self.members, **changes.pop("members", {})}
        members.pop(MANIFEST, None)
        path = self.folder / "made"
        return write_bundle(path, self.manifest.model_copy(update=changes), members, key).path.read_bytes()


def prepare(bundle: Path, folder: Path) -> Target:
    """Sign a copy of the bundle: release 5, good until the end of 2030."""
    opened = Bundle.open(bundle)
    members = {m.name: opened.read(m.name) for m in opened.manifest.members}
    key, other = new_key(folder / "trusted.pem"), new_key(folder / "other.pem")
    terms = {"release": 5, "expires": datetime.date(2030, 12, 31)}
    signed = write_bundle(folder / "signed", opened.manifest.model_copy(update=terms), members, key)
    whole = signed.path.read_bytes()
    manifest = json.dumps(signed.manifest.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()
    return Target(whole, {MANIFEST: manifest, **members}, signed.manifest, key, other, folder)


def attacks(target: Target, flips: int, cuts: int, seed: int) -> Iterator[Attack]:
    """Every attack as (kind, bytes of the file)."""
    random = np.random.default_rng(seed)
    yield from _flips(target, flips, random)
    yield from _cuts(target, cuts, random)
    yield from _rearranged(target, random)
    yield from _named(target)
    yield from _other_zips(target)
    yield from _claims(target)
    yield from _forged(target)


def _flips(target: Target, count: int, random: np.random.Generator) -> Iterator[Attack]:
    whole = target.whole
    outside = _outside_contents(target)
    for number in range(count):
        at = int(random.integers(len(whole)) if number % 2 else random.choice(outside))
        kind = "bit flip, anywhere" if number % 2 else "bit flip in headers, manifest or directory"
        yield kind, whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1:]


def _outside_contents(target: Target) -> np.ndarray:
    inside = np.zeros(len(target.whole), bool)
    for name, (_, content, end) in _places(target).items():
        inside[content:end] = name != MANIFEST
    return np.flatnonzero(~inside)


def _places(target: Target) -> dict[str, tuple[int, int, int]]:
    """Name -> where its header, its content and whatever follows start."""
    found, at = {}, 0
    for name, content in target.members.items():
        start, at = at, at + LOCAL_HEADER_BYTES + len(name) + len(content)
        found[name] = (start, at - len(content), at)
    return found


def _cuts(target: Target, count: int, random: np.random.Generator) -> Iterator[Attack]:
    whole = target.whole
    for _ in range(count):
        yield "truncated", whole[:int(random.integers(len(whole)))]
    for length in range(1, 101):
        yield "extended", whole + random.bytes(length)
        yield "truncated", whole[:-length]
    yield "extended", whole + whole
    for at in random.integers(len(whole), size=200):
        yield "bytes put in or taken out", whole[:at] + random.bytes(1) + whole[at:]
        yield "bytes put in or taken out", whole[:at] + whole[at + 1:]


def _rearranged(target: Target, random: np.random.Generator) -> Iterator[Attack]:
    names = list(target.members)
    for i, one in enumerate(names):
        for other in names[i + 1:]:
            swapped = {**target.members, one: target.members[other], other: target.members[one]}
            if swapped != target.members:
                yield "contents of two members swapped", pack(swapped)
        yield "member left out", pack({n: c for n, c in target.members.items() if n != one})
        yield "member added", pack({**target.members, f"extra{i}.bin": target.members[one]})
    for _ in range(200):
        order = random.permutation(names)
        if list(order) != names:
            yield "members in another order", pack({n: target.members[n] for n in order})
    yield "member added", pack({**target.members, **{f"m{i}.bin": b"" for i in range(MAX_MEMBERS)}})


def _named(target: Target) -> Iterator[Attack]:
    for bad in BAD_NAMES:
        yield "path traversal and odd names", pack({**target.members, bad: b"x"})
        renamed = {bad if n == target.manifest.model else n: c for n, c in target.members.items()}
        yield "path traversal and odd names", pack(renamed)
        yield "path traversal and odd names", pack({bad: b"x", **target.members})


def _other_zips(target: Target) -> Iterator[Attack]:
    whole = target.whole
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield "zipped in another form", _zip(target.members, method)
        yield "zip bomb", _zip({MANIFEST: bytes(20_000_000)}, method) if method else _zip({MANIFEST: b"[" * 10**6})
        yield "zip bomb", _zip({**target.members, "bomb.bin": bytes(10_000_000)}, method)
    directory = int.from_bytes(whole[-6:-2], "little")
    for start, _, end in _places(target).values():
        yield "member twice", whole[:directory] + whole[start:end] + whole[directory:]
        yield "member twice", whole[:start] + whole[start:end] + whole[start:]
    yield "Zip64 or comment", whole[:-22] + b"PK\x06\x07" + bytes(16) + whole[-22:]
    yield "Zip64 or comment", whole[:-2] + b"\x04\0note"


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _claims(target: Target) -> Iterator[Attack]:
    """Headers that claim other sizes than there are."""
    for at in (18, 22):
        for size in (0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(target.whole), MAX_BYTES):
            whole = bytearray(target.whole)
            whole[at:at + 4] = size.to_bytes(4, "little")
            yield "oversized or contradicting size", bytes(whole)
            whole[18:26] = size.to_bytes(4, "little") * 2
            yield "oversized or contradicting size", bytes(whole)


def _forged(target: Target) -> Iterator[Attack]:
    """By someone who can compute every checksum and id anew, but has not the key."""
    model = target.manifest.model
    changed = bytearray(target.members[model])
    changed[len(changed) // 2] ^= 1
    forgeries: list[dict[str, Any]] = [{}, {"members": {model: bytes(changed)}}, {"tolerance": 0.9}, {"release": 99}]
    for changes in forgeries:
        yield "signed by another key", target.made(target.other, **dict(changes))
        yield "signature taken off", target.made(None, **dict(changes))
        document = Manifest.model_validate(json.loads(_manifest_of(target.made(None, **dict(changes)))))
        for public in (target.key.public, target.other.public):
            signature = target.manifest.signature.model_copy(update={"public_key": public})
            if changes or public != target.key.public:
                document = document.model_copy(update={"signature": signature})
                text = json.dumps(document.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()
                yield "signature of another content", pack({**target.members, MANIFEST: text,
                                                            **changes.get("members", {})})
    yield "expired (rightly signed)", target.made(target.key, expires=TODAY - datetime.timedelta(days=1))
    for release in (None, 0, 8):
        yield "older than installed (rightly signed)", target.made(target.key, release=release)


def _manifest_of(whole: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return archive.read(MANIFEST)


def refused(path: Path, target: Target, installed: Manifest | None) -> bool:
    """What a device that trusts the key says of the file."""
    try:
        Bundle.open(path, [target.key.public]).check_current(TODAY, installed)
    except BundleRefused:
        return True
    return False


def measure(bundle: Path, flips: int, cuts: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Kind of attack -> tried, and -> accepted."""
    tried: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        target, path = prepare(bundle, Path(name)), Path(name) / "attacked"
        path.write_bytes(target.whole)
        if refused(path, target, None):
            raise SystemExit("the untouched bundle is refused, so nothing would be shown")
        installed = target.manifest.model_copy(update={"release": 9})
        for kind, content in attacks(target, flips, cuts, seed):
            path.write_bytes(content)
            tried[kind] += 1
            accepted[kind] += not refused(path, target, installed if kind.startswith("older") else None)
        with path.open("wb") as file:
            file.truncate(MAX_BYTES + 1)
        tried["file over the limit"] += 1
        accepted["file over the limit"] += not refused(path, target, None)
    return tried, accepted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--cuts", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/tamper.md"))
    asked = parser.parse_args()
    started = time.monotonic()
    tried, accepted = measure(asked.bundle, asked.flips, asked.cuts, asked.seed)
    seconds = time.monotonic() - started
    rows = "\n".join(f"| {kind} | {n:,} | {n - accepted[kind]:,} |" for kind, n in tried.items())
    asked.out.write_text(f"""# Altered bundles

`python benchmarks/tamper.py BUNDLE --flips {asked.flips} --cuts {asked.cuts} --seed {asked.seed}`, on a bundle of
{asked.bundle.stat().st_size:,} bytes, {datetime.date.today()}, {platform.machine()}, Python
{platform.python_version()}, {seconds:.0f} s.

A device that trusts one key is offered the bundle altered in every way below. `Bundle.open` and `check_current` decide,
before any model is loaded. The untouched bundle is accepted first, or the script stops.

| attack | tried | refused |
|---|---|---|
{rows}
| **all** | **{tried.total():,}** | **{tried.total() - accepted.total():,}** |

"Signed by another key", "signature taken off" and "signature of another content" are forgeries of which every checksum
and the id are right. A device without `trusted_keys` would accept the first two: that is what the keys are for.
""", encoding="utf-8")
    print(f"{tried.total()} attacks, {accepted.total()} accepted: {asked.out}")
    sys.exit(accepted.total() > 0)


if __name__ == "__main__":
    main()
