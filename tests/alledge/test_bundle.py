import json
import zipfile

import numpy as np
import pytest

from alledge.bundle import Bundle, write_bundle
from alledge.calibration import Calibration
from alledge.errors import BundleRefused, UsageError
from alledge.labels import LABELS
from alledge.manifest import FORMAT, Golden, Manifest, TensorSpec
from alledge.preprocess import Preprocessing


def manifest(**changes):
    tensor = TensorSpec(name="image", shape=(1, 64, 64, 3), dtype="uint8", scale=1.0)
    golden = Golden(image="goldens/0.png", mask="goldens/0_mask.png", tensor_sha256="0" * 64,
                    probabilities=[1, 0, 0, 0])
    return Manifest(**{
        "format": FORMAT, "target": "cpu", "engine": "tflite", "labels": list(LABELS),
        "preprocessing": Preprocessing(size=64), "calibration": Calibration(), "model": "model.tflite",
        "input": tensor, "probs": tensor, "embedding": tensor, "tolerance": 0.01, "goldens": [golden],
        "metrics": {}, "provenance": {}, "members": [], **changes})


MEMBERS = {"model.tflite": b"weights" * 50, "goldens/0.png": b"picture", "goldens/0_mask.png": b"mask"}


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "a.alledge", manifest(), MEMBERS)


def rewritten(bundle, path, change, compression=zipfile.ZIP_STORED):
    """The bundle's members after `change`, zipped again by hand."""
    with zipfile.ZipFile(bundle.path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in change(entries):
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return path


def test_what_is_written_is_read_back(bundle):
    again = Bundle.open(bundle.path)
    assert again.model == MEMBERS["model.tflite"]
    assert again.read("goldens/0.png") == b"picture"
    assert again.manifest.target == "cpu"
    assert len(again.id) == 16


def test_same_content_same_bytes_and_other_content_other_id(bundle, tmp_path):
    again = write_bundle(tmp_path / "b.alledge", manifest(), MEMBERS)
    assert again.path.read_bytes() == bundle.path.read_bytes()
    other = write_bundle(tmp_path / "c.alledge", manifest(), {**MEMBERS, "model.tflite": b"other"})
    assert other.id != bundle.id
    assert write_bundle(tmp_path / "d.alledge", manifest(tolerance=0.02), MEMBERS).id != bundle.id


def test_nothing_but_the_bundle_is_left_beside_it(bundle):
    assert [p.name for p in bundle.path.parent.iterdir()] == ["a.alledge"]


def test_every_truncation_is_refused(bundle, tmp_path):
    whole = bundle.path.read_bytes()
    path = tmp_path / "cut"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(BundleRefused):
            Bundle.open(path)


def test_every_bit_flip_that_changes_content_is_refused(bundle, tmp_path):
    """A flip is either refused or touches a byte (a date, an attribute) that no reader uses."""
    whole = bundle.path.read_bytes()
    path = tmp_path / "flipped"
    random, unseen = np.random.default_rng(0), 0
    for _ in range(1500):
        at, bit = int(random.integers(len(whole))), 1 << int(random.integers(8))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1:])
        try:
            opened = Bundle.open(path)
        except BundleRefused:
            continue
        unseen += 1
        assert opened.manifest == bundle.manifest
        assert {n: opened.read(n) for n in MEMBERS} == MEMBERS
    assert unseen < 150


@pytest.mark.parametrize(("change", "says"), [
    (lambda e: e[1:], "manifest.json first"),
    (lambda e: [e[1], e[0], *e[2:]], "manifest.json first"),
    (lambda e: [*e, ("extra.bin", b"x")], "not those its manifest lists"),
    (lambda e: e[:-1], "not those its manifest lists"),
    (lambda e: [e[0], e[1], (e[2][0], e[3][1]), (e[3][0], e[2][1])], "altered"),
    (lambda e: [*e, ("../evil.png", b"x")], "not allowed"),
    (lambda e: [*e, ("/etc/passwd", b"x")], "not allowed"),
    (lambda e: [*e, ("a/b/c.png", b"x")], "not allowed"),
    (lambda e: [*e, *((f"m{i}.bin", b"") for i in range(80))], "members"),
    (lambda e: [(e[0][0], e[0][1].replace(b'"cpu"', b'"onnx"')), *e[1:]], "altered"),
    (lambda e: [(e[0][0], e[0][1].replace(b'"tolerance":0.01', b'"tolerance":0.9')), *e[1:]], "altered"),
    (lambda e: [(e[0][0], b"[" * 100_000), *e[1:]], "not valid"),
    (lambda e: [(e[0][0], b"{}"), *e[1:]], "format None"),
    (lambda e: [(e[0][0], json.dumps({**json.loads(e[0][1]), "format": 2}).encode()), *e[1:]], "update alledge"),
    (lambda e: [(e[0][0], e[0][1] + b" " * 3_000_000), *e[1:]], "bytes, expected at most"),
])
def test_tampering_is_refused_with_its_own_sentence(bundle, tmp_path, change, says):
    path = rewritten(bundle, tmp_path / "bad.alledge", change)
    with pytest.raises(BundleRefused, match=says) as caught:
        Bundle.open(path)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice_is_refused(bundle, tmp_path):
    path = rewritten(bundle, tmp_path / "twice.alledge", lambda e: [*e, e[-1]])
    with pytest.raises(BundleRefused, match="each member once"):
        Bundle.open(path)


def test_a_compressed_member_is_refused_before_it_is_unpacked(bundle, tmp_path):
    path = rewritten(bundle, tmp_path / "bomb.alledge", lambda e: [*e, ("bomb.bin", bytes(10_000_000))],
                     zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleRefused, match="must be stored"):
        Bundle.open(path)


def test_a_zip64_directory_cannot_overrule_the_bounds(bundle, tmp_path):
    whole = bundle.path.read_bytes()
    path = tmp_path / "zip64.alledge"
    path.write_bytes(whole[:-22] + b"PK\x06\x07" + bytes(16) + whole[-22:])
    with pytest.raises(BundleRefused, match="Zip64"):
        Bundle.open(path)


def test_a_damaged_name_in_the_directory_is_refused(bundle, tmp_path):
    whole = bytearray(bundle.path.read_bytes())
    entry = whole.rfind(b"PK\x01\x02")
    whole[entry + 9] |= 0x08  # the flag that says: this name is UTF-8
    whole[entry + 46] = 0xFF  # its first byte, which UTF-8 never has
    path = tmp_path / "name.alledge"
    path.write_bytes(whole)
    with pytest.raises(BundleRefused, match="not a complete bundle"):
        Bundle.open(path)


@pytest.mark.parametrize("change", [
    (lambda m: {**m, "tolerance": float("nan")}),
    (lambda m: {**m, "calibration": {**m["calibration"], "temperature": float("inf")}}),
    (lambda m: {**m, "preprocessing": {**m["preprocessing"], "scale": [float("nan")] * 3}}),
    (lambda m: {**m, "goldens": [{**m["goldens"][0], "probabilities": [float("nan")] * 4}]}),
    (lambda m: {**m, "goldens": [{**m["goldens"][0], "probabilities": [0.5, 0.5]}]}),
])
def test_numbers_that_would_disarm_a_check_are_refused(bundle, tmp_path, change):
    path = rewritten(bundle, tmp_path / "bad.alledge", lambda e: [
        (e[0][0], json.dumps(change(json.loads(e[0][1])), sort_keys=True, separators=(",", ":")).encode()), *e[1:]])
    with pytest.raises(BundleRefused, match="not valid"):
        Bundle.open(path)


def test_other_labels_are_refused(tmp_path):
    with pytest.raises(BundleRefused, match="its classes are"):
        write_bundle(tmp_path / "x.alledge", manifest(labels=["cat", "dog"]), MEMBERS)


def test_a_manifest_that_names_absent_members_is_refused(tmp_path):
    with pytest.raises(BundleRefused, match=r"lacks model\.onnx"):
        write_bundle(tmp_path / "x.alledge", manifest(model="model.onnx"), MEMBERS)


def test_a_missing_bundle_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        Bundle.open(tmp_path / "absent.alledge")
