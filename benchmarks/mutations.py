"""Damaged, odd and hostile image files, made from drawn fields: what `benchmarks/fuzz_images.py` feeds the device.

Case `number` of a `seed` is always the same bytes.
"""

import struct
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alledge.labels import LABELS
from alledge.synthetic import draw_field

Random = np.random.Generator
SIDES = (32, 48, 64, 96, 224)  # px; a flipped bit in a small file more often hits a header
LARGE_EVERY = 400  # one case in so many is a picture of tens of megapixels
LARGE_SIDES = (3000, 5000, 7000, 7100)  # px; the last is over the limit
_ORIENTATION, _SHORT = 0x0112, 3
_ROTATIONS = 9  # EXIF knows 1 to 8
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"GIF89a")

FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {  # name -> mode, format and options of Pillow's writer
    "png": ("RGB", "PNG", {}), "png palette": ("P", "PNG", {}), "png grey": ("L", "PNG", {}),
    "png alpha": ("RGBA", "PNG", {}), "png grey alpha": ("LA", "PNG", {}), "png bits": ("1", "PNG", {}),
    "png 16-bit": ("I;16", "PNG", {}), "apng": ("RGB", "PNG", {"save_all": True}),
    "jpeg": ("RGB", "JPEG", {"quality": 90}), "jpeg grey": ("L", "JPEG", {}), "jpeg cmyk": ("CMYK", "JPEG", {}),
    "jpeg progressive": ("RGB", "JPEG", {"progressive": True}), "jpeg rotated": ("RGB", "JPEG", {"exif": True}),
    "jpeg 4:2:0 restart": ("RGB", "JPEG", {"subsampling": 2, "restart_marker_blocks": 4}),
    "bmp": ("RGB", "BMP", {}), "bmp palette": ("P", "BMP", {}), "bmp bits": ("1", "BMP", {}),
    "tiff": ("RGB", "TIFF", {}), "tiff lzw": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "tiff deflate": ("RGB", "TIFF", {"compression": "tiff_deflate"}), "tiff float": ("F", "TIFF", {}),
    "tiff jpeg": ("YCbCr", "TIFF", {"compression": "jpeg"}), "tiff 16-bit": ("I;16", "TIFF", {}),
    "tiff cmyk": ("CMYK", "TIFF", {}), "tiff pages": ("RGB", "TIFF", {"save_all": True}),
    "webp": ("RGB", "WEBP", {"method": 0}), "webp lossless": ("RGB", "WEBP", {"lossless": True, "method": 0}),
    "webp alpha": ("RGBA", "WEBP", {"method": 0}), "webp moving": ("RGB", "WEBP", {"save_all": True, "method": 0}),
    "gif": ("P", "GIF", {}),
}


def case(seed: int, number: int) -> tuple[str, bytes]:
    """(kind of damage, bytes of the file)."""
    random = np.random.default_rng((seed, number))
    if number % LARGE_EVERY == 0:
        return "tens of megapixels", large(random)
    name = str(random.choice(list(_DAMAGE)))
    return name, _DAMAGE[name](_any(random), random)


@cache
def written(form: str, side: int, which: int) -> bytes:
    """A drawn field as a whole file."""
    mode, kind, options = FORMS[form]
    picture = _in_mode(Image.fromarray(draw_field(LABELS[which % 4], which, side).rgb), mode, which)
    options = dict(options)
    if options.pop("exif", False):
        options["exif"] = picture.getexif()
        options["exif"][_ORIENTATION] = which % _ROTATIONS
    if options.get("save_all"):
        options["append_images"] = [picture.transpose(Image.Transpose.ROTATE_90)]
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def large(random: Random) -> bytes:
    """A picture of up to 50 megapixels, whole or cut."""
    form = str(random.choice(["png", "jpeg", "jpeg progressive", "bmp", "tiff lzw", "webp", "png grey"]))
    data = _large(form, int(random.choice(LARGE_SIDES)))
    return data if random.random() < 0.5 else cut(data, random)


def _large(form: str, side: int) -> bytes:
    mode, kind, options = FORMS[form]
    field = draw_field("pre_b", 1, 224).rgb
    many = -(-side // 224)
    file = BytesIO()
    Image.fromarray(np.tile(field, (many, many, 1))[:side, :side]).convert(mode).save(file, kind, **options)
    return file.getvalue()


def whole(data: bytes, _: Random) -> bytes:
    """As it was written."""
    return data


def flip(data: bytes, random: Random) -> bytes:
    """One to 64 bits turned over, half of the time all of them in the first 200 bytes."""
    damaged = np.frombuffer(data, np.uint8).copy()
    reach = min(200, len(damaged)) if random.random() < 0.5 else len(damaged)
    places = random.integers(0, reach, random.integers(1, 65))
    damaged[places] ^= np.uint8(1) << random.integers(0, 8, len(places)).astype(np.uint8)
    return damaged.tobytes()


def cut(data: bytes, random: Random) -> bytes:
    """The first part of it only."""
    return data[:random.integers(0, len(data))]


def take_out(data: bytes, random: Random) -> bytes:
    """A run of bytes missing."""
    start, length = random.integers(0, len(data)), random.integers(1, 200)
    return data[:start] + data[start + length:]


def put_in(data: bytes, random: Random) -> bytes:
    """A run of random bytes too many, in the middle or at the end."""
    at = len(data) if random.random() < 0.2 else int(random.integers(0, len(data)))
    return data[:at] + random.bytes(int(random.integers(1, 2000))) + data[at:]


def blank_out(data: bytes, random: Random) -> bytes:
    """A run of bytes set to 0 or to 255."""
    start, length = int(random.integers(0, len(data))), int(random.integers(1, 500))
    return (data[:start] + random.choice([b"\0", b"\xff"]) * length + data[start + length:])[:len(data)]


def splice(data: bytes, random: Random) -> bytes:
    """The head of one file and the tail of another, of any formats."""
    other = _any(random)
    return data[:random.integers(0, len(data))] + other[random.integers(0, len(other)):]


def repeat(data: bytes, random: Random) -> bytes:
    """A run of bytes several hundred times over: chunks, scans and directories without end."""
    start, length = int(random.integers(0, len(data))), int(random.integers(4, 64))
    return data[:start] + data[start:start + length] * int(random.integers(2, 800)) + data[start + length:]


def big_number(data: bytes, random: Random) -> bytes:
    """A two- or four-byte field near the start set to an extreme: sizes, offsets, counts."""
    at = int(random.integers(2, min(120, len(data) - 4)))
    value = int(random.choice([0, 1, 0x7F, 0xFFFF, 0x7FFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 7071, 50_000]))
    order = str(random.choice(["<", ">"]))
    field = struct.pack(f"{order}I", value) if random.random() < 0.5 else struct.pack(f"{order}H", value & 0xFFFF)
    return data[:at] + field + data[at + len(field):]


def new_header(_: bytes, random: Random) -> bytes:
    """A PNG whose header, with the right checksum, promises another size, depth or colour than the pixels have."""
    data = written("png", int(random.choice(SIDES)), int(random.integers(8)))
    size = random.choice([0, 1, 31, 32, 64, 224, 7071, 7072, 60_000, 2**31 - 1, 2**32 - 1], 2)
    header = struct.pack(">IIBBBBB", *map(int, size), int(random.choice([1, 2, 4, 8, 16, 0, 255])),
                         int(random.choice([0, 2, 3, 4, 6, 7])), 0, 0, int(random.integers(0, 3)))
    return data[:8] + _chunk(b"IHDR", header) + data[33:]


def noise(_: bytes, random: Random) -> bytes:
    """Random bytes, most of them behind a format's first bytes."""
    start = b"" if random.random() < 0.2 else _MAGIC[int(random.integers(len(_MAGIC)))]
    return start + random.bytes(int(random.integers(0, 5000)))


def strange_shape(_: bytes, random: Random) -> bytes:
    """A whole file of one picture, far too narrow, far too low or tiny."""
    shape = (int(random.choice([1, 2, 31, 32, 33, 5000])), int(random.choice([1, 2, 31, 32, 33, 5000])), 3)
    pixels: NDArray[np.uint8] = random.integers(0, 256, (*shape[:2], 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels if pixels.size < 1_000_000 else np.zeros(shape, np.uint8)).save(
        file, str(random.choice(["PNG", "BMP", "JPEG"])))
    return file.getvalue()


_DAMAGE: dict[str, Callable[[bytes, Random], bytes]] = {
    "whole": whole, "bits flipped": flip, "cut short": cut, "bytes taken out": take_out, "bytes put in": put_in,
    "bytes blanked": blank_out, "two files spliced": splice, "bytes repeated": repeat,
    "extreme numbers in the header": big_number, "another PNG header": new_header, "random bytes": noise,
    "strange shapes": strange_shape,
}


def _any(random: Random) -> bytes:
    return written(str(random.choice(list(FORMS))), int(random.choice(SIDES)), int(random.integers(8)))


def _in_mode(picture: Image.Image, mode: str, which: int) -> Image.Image:
    if mode == "RGBA" and which % 2:
        picture.putalpha(picture.convert("L"))
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257)
    return picture.convert(mode)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
