import contextlib
import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from alledge.device.bench.processes import peak_rss_mib
from alledge.errors import ImageError, OutputError, UsageError
from alledge.images import HALVED_FROM, decode_image, encode_png, find_images, read_image, write_png
from alledge.labels import LABELS
from alledge.preprocess import resize
from alledge.synthetic import draw_field


def detailed(side):
    """Drawn fields side by side, with detail down to the pixel."""
    fields = [draw_field(LABELS[i % 4], i).rgb for i in range(12)]
    count = -(-side // 224)
    rows = [np.concatenate([fields[(5 * r + c) % 12] for c in range(count)], 1) for r in range(count)]
    return np.ascontiguousarray(np.concatenate(rows)[:side, :side])


def jpeg(picture, mode="RGB", **kwargs):
    """A JPEG of quality 90, colours at half the resolution, as cameras and phones write it."""
    data = BytesIO()
    Image.fromarray(picture).convert(mode).save(data, "JPEG", quality=90, **kwargs)
    return data.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(side=60_000):
    """A valid header that promises 3.6 gigapixels in a few hundred bytes."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def rgb():
    return draw_field("pro_b", 1).rgb


def test_png_round_trip_is_exact_and_rgb(rgb, tmp_path):
    write_png(tmp_path / "a.png", rgb)
    assert np.array_equal(read_image(tmp_path / "a.png"), rgb)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), rgb)


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "TIFF", "WEBP", "PNG"])
def test_formats_a_microscope_writes_are_read(kind, rgb, tmp_path):
    path = tmp_path / f"a.{kind.lower()}"
    Image.fromarray(rgb).save(path)
    assert np.abs(read_image(path).astype(int) - rgb).mean() < 12


def test_opaque_alpha_is_dropped_and_real_transparency_refused(rgb, tmp_path):
    image = Image.fromarray(rgb).convert("RGBA")
    image.save(tmp_path / "opaque.png")
    assert np.array_equal(read_image(tmp_path / "opaque.png"), rgb)
    image.putalpha(100)
    image.save(tmp_path / "glass.png")
    with pytest.raises(ImageError, match="transparency"):
        read_image(tmp_path / "glass.png")


def spoiled(rgb, tmp_path, how):
    path = tmp_path / f"{how}.png"
    image = Image.fromarray(rgb)
    if how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not an image")
    elif how == "cut png":
        path.write_bytes(encode_png(rgb)[:-4000])
    elif how == "cut jpeg":
        image.save(path, "JPEG", quality=95)
        path.write_bytes(path.read_bytes()[:9000])
    elif how == "16-bit":
        cv2.imwrite(str(path), rgb.astype(np.uint16) * 257)
    elif how == "CMYK":
        image.convert("CMYK").save(path, "JPEG")
    elif how == "greyscale":
        image.convert("L").save(path)
    elif how == "greyscale jpeg":
        image.convert("L").save(path, "JPEG")
    elif how == "tiny":
        image.resize((8, 8)).save(path)
    elif how == "huge webp":
        Image.new("RGB", (12_000, 12_000)).save(path, "WEBP", quality=1, method=0)
    elif how == "CMYK tiff":
        image.convert("CMYK").save(path, "TIFF")
    elif how == "pages":
        image.save(path, "TIFF", save_all=True, append_images=[image])
    elif how == "gif":
        image.save(path, "GIF")
    elif how == "huge":
        path.write_bytes(huge_png())
    return path


def test_a_cut_jpeg_is_refused_although_its_thumbnail_ends_properly(rgb, tmp_path):
    """The end marker of a thumbnail inside the header must not pass for the end of the picture."""
    path = tmp_path / "a.jpg"
    small, whole = BytesIO(), BytesIO()
    Image.fromarray(rgb).resize((80, 80)).save(small, "JPEG", quality=95)
    Image.fromarray(rgb).save(whole, "JPEG", quality=80)
    thumbnail = b"Exif\0\0" + small.getvalue()
    header = b"\xff\xd8\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path.write_bytes(header + whole.getvalue()[2:])
    assert read_image(path).shape == rgb.shape
    path.write_bytes((header + whole.getvalue()[2:])[:len(header) + 1500])
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


def test_folders_of_masks_and_other_files_are_no_images(rgb, tmp_path):
    for name in ("b/2.png", "a/1.png", "masks/a/1.png", "a/._1.png", ".cache/3.png"):
        write_png(tmp_path / name, rgb)
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in find_images(tmp_path)] == ["1.png", "2.png"]


@pytest.mark.parametrize(("how", "says"), [
    ("empty", "received 0"), ("text", "does not decode"), ("cut png", "damaged"), ("cut jpeg", "damaged"),
    ("16-bit", "uint16"), ("CMYK", "CMYK"), ("greyscale", "greyscale"), ("greyscale jpeg", "greyscale"),
    ("tiny", "8x8"), ("huge", "at most 50 megapixels"), ("huge webp", "12000x12000"), ("CMYK tiff", "CMYK"),
    ("pages", "several in one file"), ("gif", "does not decode"),
])
def test_unusable_files_are_refused_in_one_sentence_that_names_them(how, says, rgb, tmp_path):
    path = spoiled(rgb, tmp_path, how)
    with pytest.raises(ImageError, match=says) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_usage_errors(tmp_path):
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(UsageError, match="expected an image file"):
            read_image(path)


def test_random_damage_never_escapes_as_another_error(rgb):
    random = np.random.default_rng(0)
    whole = np.frombuffer(encode_png(cv2.resize(rgb, (64, 64))), np.uint8)
    for _ in range(300):
        data = whole.copy()
        data[random.integers(0, len(data), 6)] = random.integers(0, 256, 6)
        with contextlib.suppress(ImageError):
            assert decode_image(data.tobytes(), "x").shape[2] == 3


def test_an_unwritable_place_is_named_and_leaves_nothing(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("kept")
    with pytest.raises(OutputError, match="cannot be written"):
        write_png(blocker / "a.png", np.zeros((40, 40, 3), np.uint8))
    assert blocker.read_text() == "kept"


def test_small_files_that_would_keep_a_decoder_busy_for_minutes_are_refused_at_once(rgb):
    whole = encode_png(cv2.resize(rgb, (64, 64)))
    chunks = whole[:33] + chunk(b"abCd", b"") * 5000 + whole[33:]
    progressive, pages = BytesIO(), BytesIO()
    Image.fromarray(rgb).save(progressive, "JPEG", progressive=True)
    scans = progressive.getvalue()
    last = scans[scans.rfind(b"\xff\xda"):-2]
    Image.fromarray(rgb).save(pages, "TIFF", save_all=True, append_images=[Image.fromarray(rgb)] * 3)
    assert decode_image(scans, "x").shape == rgb.shape
    for data in (chunks, scans[:-2] + last * 2000 + b"\xff\xd9", pages.getvalue()):
        with pytest.raises(ImageError):
            decode_image(data, "x")


def test_rows_beyond_the_first_band_are_rgb_too():
    tall = np.zeros((700, 40, 3), np.uint8)
    tall[..., 0] = 200
    assert np.array_equal(decode_image(encode_png(tall), "x"), tall)


def test_a_chunk_that_claims_more_than_the_file_holds_takes_no_memory() -> None:
    png = bytearray(encode_png(np.zeros((64, 64, 3), np.uint8)))
    at = png.index(b"IDAT") - 4
    png[at:at + 4] = b"\xff\xff\xff\xff"
    before = peak_rss_mib()
    with pytest.raises(ImageError, match=r"cut short|does not decode"):
        decode_image(bytes(png), "x.png")
    assert peak_rss_mib() - before < 100


def test_half_of_a_large_jpeg_gives_the_tile_of_the_whole_to_45_db_even_of_detail():
    data = jpeg(detailed(HALVED_FROM))
    whole, half = decode_image(data, "x"), decode_image(data, "x", halve=True)
    assert (whole.shape, half.shape) == ((2400, 2400, 3), (1200, 1200, 3))
    areas = [cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA) for picture in (whole, half)]
    assert cv2.PSNR(*areas) >= 45
    assert cv2.PSNR(resize(whole, 224), resize(half, 224)) >= 45
    aliased = cv2.resize(whole, (224, 224), interpolation=cv2.INTER_LINEAR)
    assert cv2.PSNR(areas[0], aliased) < 45  # there is detail to lose


def test_only_large_colour_jpegs_are_halved_and_all_others_are_judged_as_ever():
    side = HALVED_FROM
    for data in (jpeg(detailed(side)[1:]), encode_png(detailed(side))):
        assert np.array_equal(decode_image(data, "x", halve=True), decode_image(data, "x"))
    for halve in (False, True):
        with pytest.raises(ImageError, match="greyscale"):
            decode_image(jpeg(detailed(side), "L"), "x", halve=halve)
        with pytest.raises(ImageError, match="CMYK"):
            decode_image(jpeg(detailed(side), "CMYK"), "x", halve=halve)
        with pytest.raises(ImageError, match="does not decode"):
            decode_image(jpeg(detailed(side))[:-40_000], "x", halve=halve)


def test_a_halved_jpeg_lies_as_the_whole_one_whatever_its_camera_was_held_like():
    lying = Image.Exif()
    lying[0x112] = 6  # rotate by a quarter
    data = jpeg(detailed(HALVED_FROM + 200)[:HALVED_FROM], exif=lying)
    assert decode_image(data, "x").shape[:2] == (2400, 2600)
    assert decode_image(data, "x", halve=True).shape[:2] == (1200, 1300)
