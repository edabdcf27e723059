"""Files to pixels and back: the one place where an image file is trusted or refused."""

import warnings
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alledge.errors import ImageError, UsageError
from alledge.files import write_bytes

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MASKS = "masks"  # folder of nucleus masks beside the class folders; no class has that name
MIN_SIDE = 32  # px; below that a nucleus is a pixel or two
MAX_PIXELS = 50_000_000  # a 12 MP sensor with room to spare; 150 MB once decoded
MAX_FILE_BYTES = 200_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_MEGAPIXELS = MAX_PIXELS // 1_000_000
_HALF = cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION  # which way up is ignored in whole ones, too
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_START_OF_SCAN = 0xDA
_MAX_SCANS = 20  # of a progressive JPEG; encoders write about ten, and every one costs a pass over all pixels
_MAX_CHUNKS = 1000  # of a PNG before its pixels; what libpng allows by itself
_BAND = 256  # rows turned from BGR to RGB at a time, so that a large picture is not held twice
_OPAQUE = 255
HALVED_FROM = 2400  # px of the shorter side of a JPEG; half of it is still five times the model's usual 224

Pixels = NDArray[np.uint8]


def read_image(path: Path | str, *, halve: bool = False) -> Pixels:
    """Read a colour image file as uint8 [H, W, 3], RGB.

    Args:
        path: the file.
        halve: a JPEG of at least `HALVED_FROM` pixels a side is decoded at half its size: for what becomes a model's
            tile anyway, in less than half of the time (docs/decisions/018-speed.md).

    Raises:
        UsageError: when there is no such file.
        ImageError: when it is empty, corrupt, huge, tiny, not 8-bit, grey, CMYK or transparent.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: expected an image file, found {_what_is(path)}")
    size = path.stat().st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise ImageError(f"{path}: expected an image file of 1 to {MAX_FILE_BYTES} bytes, received {size}")
    return decode_image(path.read_bytes(), str(path), halve=halve)


def decode_image(data: bytes, name: str, *, halve: bool = False) -> Pixels:
    """Decode the bytes of an image file to uint8 [H, W, 3], RGB.

    `name` is used in messages; `halve` as in `read_image`.

    Raises:
        ImageError: as `read_image`.
    """
    large = _check_header(data, name)
    pixels = None if _cut_short(data) else _decode(data, _HALF if halve and large else cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise _undecodable(name)
    pixels = _drop_opaque_alpha(pixels)
    _check_pixels(pixels, name)
    for top in range(0, len(pixels), _BAND):
        pixels[top:top + _BAND] = cv2.cvtColor(pixels[top:top + _BAND], cv2.COLOR_BGR2RGB)
    return np.asarray(pixels, np.uint8)


def _what_is(path: Path) -> str:
    return "a folder" if path.is_dir() else "a device or pipe" if path.exists() else "nothing"


def write_png(path: Path | str, rgb: NDArray[np.uint8]) -> None:
    """Write uint8 [H, W, 3] RGB or uint8 [H, W] as PNG, whole or not at all.

    Raises:
        OutputError: when the file cannot be written.
    """
    write_bytes(Path(path), encode_png(rgb))


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """PNG bytes of uint8 [H, W, 3] RGB or uint8 [H, W]."""
    pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.ndim == 3 else rgb
    return bytes(cv2.imencode(".png", pixels)[1])


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, sorted. Folders called `masks` and hidden files are passed by."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()
                  and not _passed_by(p.relative_to(folder)))


def _passed_by(path: Path) -> bool:
    return MASKS in path.parts[:-1] or any(part.startswith(".") for part in path.parts)


def _decode(data: bytes, way: int) -> NDArray[np.generic] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), way)
    except cv2.error:
        return None


def _cut_short(data: bytes) -> bool:
    """True when the end marker is missing: OpenCV would fill the lost part with grey and say nothing.

    In a JPEG it must follow the start of the scan: a thumbnail in the header has an end marker of its own.
    """
    if data[:8] == _PNG:
        return not _png_is_whole(data)
    scan = _jpeg_segments(data).get(_START_OF_SCAN)
    return scan is not None and data.rfind(b"\xff\xd9") < scan


def _overlong(data: bytes) -> bool:
    """True for a small file that would keep a decoder busy for minutes: thousands of scans, or of chunks."""
    scan = _jpeg_segments(data).get(_START_OF_SCAN)
    if scan is not None:
        return data.count(bytes((0xFF, _START_OF_SCAN)), scan) > _MAX_SCANS
    return data[:8] == _PNG and _chunks_before_pixels(data) > _MAX_CHUNKS


def _png_is_whole(data: bytes) -> bool:
    """True when every chunk up to the last is there. OpenCV takes room for as many bytes as a chunk says it has: 4 GiB
    for a damaged length.
    """
    at = len(_PNG)
    while at + 12 <= len(data):
        if data[at + 4:at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at:at + 4], "big")
    return False


def _chunks_before_pixels(data: bytes) -> int:
    """How many chunks of a PNG come before the first IDAT; counting stops beyond `_MAX_CHUNKS`."""
    at, count = len(_PNG), 0
    while at + 8 <= len(data) and data[at + 4:at + 8] != b"IDAT" and count <= _MAX_CHUNKS:
        at += 12 + int.from_bytes(data[at:at + 4], "big")
        count += 1
    return count


def _drop_opaque_alpha(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels.dtype == np.uint8 and pixels[..., 3].min() == _OPAQUE:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR))
    return pixels


def _check_pixels(pixels: NDArray[np.generic], name: str) -> None:
    if pixels.dtype != np.uint8:
        raise ImageError(f"{name}: expected 8 bits per channel, received {pixels.dtype}; save it as 8-bit RGB")
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        kind = "greyscale" if pixels.ndim == 2 else f"{pixels.shape[2]} channels (transparency or CMYK)"
        raise ImageError(f"{name}: expected a colour image (RGB), received {kind}; save it as 8-bit RGB")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise _too_large(name, pixels.shape[1], pixels.shape[0])
    if min(pixels.shape[:2]) < MIN_SIDE:
        raise ImageError(f"{name}: expected at least {MIN_SIDE}x{MIN_SIDE} pixels, "
                         f"received {pixels.shape[1]}x{pixels.shape[0]}")


def _check_header(data: bytes, name: str) -> bool:
    """Refuse what a decoder would either choke on or silently reinterpret, before it is unpacked.

    Returns:
        Whether it is a colour JPEG of `HALVED_FROM` pixels a side or more.
    """
    if _overlong(data):
        raise _undecodable(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning; ours follows
            with Image.open(BytesIO(data), formats=_FORMATS) as header:
                (width, height), mode, several = header.size, header.mode, _holds_several(header)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: expected at most {_MEGAPIXELS} megapixels, received far more; crop or scale it "
                         "down") from error
    except Exception as error:  # Pillow's plug-ins raise whatever damaged data makes them raise
        raise _undecodable(name) from error
    if width * height > MAX_PIXELS:
        raise _too_large(name, width, height)
    if mode == "CMYK":
        raise ImageError(f"{name}: expected RGB, received CMYK, whose colours depend on a print profile; save it as "
                         "8-bit RGB")
    if several:
        raise ImageError(f"{name}: expected one picture, received several in one file; save them one by one")
    return data[:2] == _JPEG and mode == "RGB" and min(width, height) >= HALVED_FROM


def _holds_several(header: Image.Image) -> bool:
    """Whether a second picture follows. The pages of a TIFF are not counted: a chain of a million takes minutes."""
    if header.format != "TIFF":
        return getattr(header, "n_frames", 1) > 1
    try:
        header.seek(1)
    except EOFError:
        return False
    return True


def _undecodable(name: str) -> ImageError:
    return ImageError(f"{name}: expected a PNG, JPEG, BMP, TIFF or WebP image, received data that does not decode "
                      "(damaged, or another format)")


def _too_large(name: str, width: int, height: int) -> ImageError:
    return ImageError(f"{name}: expected at most {_MEGAPIXELS} megapixels, received {width}x{height}; "
                      "crop or scale it down")


def _jpeg_segments(data: bytes) -> dict[int, int]:
    """Marker -> offset of each header segment of a JPEG, up to the start of the scan; empty for other data."""
    found: dict[int, int] = {}
    at = 2 if data[:2] == _JPEG else len(data)
    while at + 9 < len(data) and data[at] == 0xFF and _START_OF_SCAN not in found:
        found.setdefault(data[at + 1], at)
        at += 2 + int.from_bytes(data[at + 2:at + 4], "big")
    return found
