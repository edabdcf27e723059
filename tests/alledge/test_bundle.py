import importlib.util
import json
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest

from alledge.archive import pack
from alledge.bundle import Bundle, write_bundle
from alledge.calibration import Calibration
from alledge.errors import BundleRefused, UsageError
from alledge.files import write_bytes
from alledge.labels import LABELS
from alledge.manifest import FORMAT, Golden, Manifest, TensorSpec
from alledge.preprocess import Preprocessing
from alledge.signing import key_id, new_key


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


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return new_key(tmp_path_factory.mktemp("keys") / "lab.pem")


@pytest.fixture(params=["unsigned", "signed"])
def either(request, tmp_path, key):
    return write_bundle(tmp_path / "e.alledge", manifest(), MEMBERS, key if request.param == "signed" else None)


def rewritten(bundle, path, change):
    """The bundle's members after `change`, packed again as a bundle would be."""
    with zipfile.ZipFile(bundle.path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    path.write_bytes(pack(dict(change(entries))))
    return path


def zipped(bundle, path, **settings):
    """The bundle's own members, zipped by a library."""
    with zipfile.ZipFile(bundle.path) as archive, zipfile.ZipFile(path, "w", **settings) as other:
        for entry in archive.infolist():
            other.writestr(entry.filename, archive.read(entry))
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


def test_any_zip_tool_reads_a_bundle(bundle):
    with zipfile.ZipFile(bundle.path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", *MEMBERS]
        assert archive.read("model.tflite") == MEMBERS["model.tflite"]


def test_every_truncation_and_every_extension_is_refused(either, tmp_path):
    whole = either.path.read_bytes()
    path = tmp_path / "cut"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(BundleRefused):
            Bundle.open(path)
    for more in (b"\0", whole, b"PK\x05\x06" + bytes(18)):
        path.write_bytes(whole + more)
        with pytest.raises(BundleRefused, match="goes on after its end"):
            Bundle.open(path)


def test_every_bit_flip_is_refused(either, tmp_path):
    """All of them where no content is: names, sizes, dates, attributes, directory. A sample of the rest."""
    whole = either.path.read_bytes()
    path = tmp_path / "flipped"
    spots = {i for i in range(len(whole)) if i % 37 == 0 or i < 60 or i > len(whole) - 320}
    for at in sorted(spots):
        for bit in (0, 5, 7):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1:])
            with pytest.raises(BundleRefused):
                Bundle.open(path)


@pytest.mark.parametrize(("change", "says"), [
    (lambda e: e[1:], "manifest.json first"),
    (lambda e: [e[1], e[0], *e[2:]], "manifest.json first"),
    (lambda e: [*e, ("extra.bin", b"x")], "not those its manifest lists"),
    (lambda e: e[:-1], "not those its manifest lists"),
    (lambda e: [e[0], e[1], (e[2][0], e[3][1]), (e[3][0], e[2][1])], "altered"),
    (lambda e: [e[0], e[2], e[1], e[3]], "not those its manifest lists"),
    (lambda e: [*e, ("evil.exe/", b"")], "not allowed"),
    (lambda e: [*e, ("C\\evil.png", b"")], "not allowed"),
    (lambda e: [*e, ("../evil.png", b"x")], "not allowed"),
    (lambda e: [*e, ("/etc/passwd", b"x")], "not allowed"),
    (lambda e: [*e, ("a/b/c.png", b"x")], "not allowed"),
    (lambda e: [*e, *((f"m{i}.bin", b"") for i in range(80))], "members"),
    (lambda e: [(e[0][0], e[0][1].replace(b'"cpu"', b'"onnx"')), *e[1:]], "altered"),
    (lambda e: [(e[0][0], e[0][1].replace(b'"tolerance":0.01', b'"tolerance":0.9')), *e[1:]], "altered"),
    (lambda e: [(e[0][0], b"[" * 100_000), *e[1:]], "not valid"),
    (lambda e: [(e[0][0], b"{}"), *e[1:]], "format None"),
    (lambda e: [(e[0][0], json.dumps({**json.loads(e[0][1]), "format": FORMAT + 1}).encode()), *e[1:]],
     "update alledge"),
    (lambda e: [(e[0][0], json.dumps({**json.loads(e[0][1]), "format": 1}).encode()), *e[1:]], "convert its run again"),
    (lambda e: [(e[0][0], e[0][1] + b" " * 3_000_000), *e[1:]], "bytes, expected at most"),
])
def test_tampering_is_refused_with_its_own_sentence(bundle, tmp_path, change, says):
    path = rewritten(bundle, tmp_path / "bad.alledge", change)
    with pytest.raises(BundleRefused, match=says) as caught:
        Bundle.open(path)
    assert "\n" not in str(caught.value)


def test_a_member_that_stands_twice_is_refused(bundle, tmp_path):
    whole = bundle.path.read_bytes()
    first, second = whole.index(b"PK\x03\x04", 4), whole.index(b"PK\x03\x04", 40)
    assert first == second
    last = whole.rindex(b"PK\x03\x04")
    end = whole.index(b"PK\x01\x02")
    path = tmp_path / "twice.alledge"
    path.write_bytes(whole[:end] + whole[last:end] + whole[end:])
    with pytest.raises(BundleRefused, match="each member once"):
        Bundle.open(path)


@pytest.mark.parametrize("settings", [{"compression": zipfile.ZIP_DEFLATED}, {"compression": zipfile.ZIP_STORED}])
def test_a_zip_of_another_form_is_refused_before_it_is_unpacked(bundle, tmp_path, settings):
    path = zipped(bundle, tmp_path / "other.alledge", **settings)
    with pytest.raises(BundleRefused, match="not stored as bundles store it"):
        Bundle.open(path)


def test_a_zip_bomb_is_refused_at_its_header(tmp_path):
    path = tmp_path / "bomb.alledge"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", bytes(50_000_000))
    with pytest.raises(BundleRefused, match="not stored"):
        Bundle.open(path)


@pytest.mark.parametrize("size", [2**32 - 1, 2**31, 5_000])
def test_a_member_cannot_claim_more_than_the_file_has(bundle, tmp_path, size):
    whole = bytearray(bundle.path.read_bytes())
    whole[18:26] = size.to_bytes(4, "little") * 2
    path = tmp_path / "oversized.alledge"
    path.write_bytes(whole)
    with pytest.raises(BundleRefused, match="more than the file has"):
        Bundle.open(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "picture.alledge"
    for content in (b"", b"PK", b"\x89PNG\r\n" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(BundleRefused, match=r"another format|too early"):
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
    with pytest.raises(BundleRefused, match=r"lacks cpu\.tflite"):
        write_bundle(tmp_path / "x.alledge", manifest(fallback="cpu.tflite"), MEMBERS)


def test_a_model_for_the_cpu_is_found_and_its_key_is_absent_from_bundles_without_one(bundle, tmp_path):
    both = write_bundle(tmp_path / "b.alledge", manifest(fallback="cpu.tflite"), {**MEMBERS, "cpu.tflite": b"cpu"})
    assert (both.model, both.cpu_model, bundle.cpu_model) == (MEMBERS["model.tflite"], b"cpu", bundle.model)
    assert (b'"fallback":' in both.path.read_bytes(), b'"fallback":' in bundle.path.read_bytes()) == (True, False)


def test_a_missing_bundle_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        Bundle.open(tmp_path / "absent.alledge")


def test_a_signature_says_who_vouches_and_changes_no_id(bundle, tmp_path, key):
    signed = write_bundle(tmp_path / "s.alledge", manifest(), MEMBERS, key)
    assert signed.id == bundle.id
    assert bundle.signature_in_words([key.public]) == "unsigned"
    assert signed.signature_in_words() == f"signed by an unknown key ({key_id(key.public)})"
    assert signed.signature_in_words([key.public]) == f"signed by a trusted key ({key_id(key.public)})"
    assert Bundle.open(signed.path, [key.public]).id == signed.id


def test_the_same_key_gives_the_same_bytes(tmp_path, key):
    one, two = (write_bundle(tmp_path / f"{i}.alledge", manifest(), MEMBERS, key).path.read_bytes() for i in range(2))
    assert one == two


def test_with_trusted_keys_only_what_they_signed_is_opened(bundle, tmp_path, key):
    other = new_key(tmp_path / "other.pem")
    foreign = write_bundle(tmp_path / "s.alledge", manifest(), MEMBERS, other)
    for path, says in ((bundle.path, "is unsigned"), (foreign.path, f"unknown key \\({key_id(other.public)}")):
        with pytest.raises(BundleRefused, match=f"{says}.*only bundles signed by {key_id(key.public)}") as caught:
            Bundle.open(path, [key.public])
        assert caught.value.exit_code == 5
    assert Bundle.open(foreign.path, [key.public, other.public])


def resigned(m, **changes):
    return {**m, "signature": {**m["signature"], **changes}}


@pytest.mark.parametrize("change", [
    lambda m, other: resigned(m, public_key=other),
    lambda m, other: resigned(m, public_key="f" * 64),
    lambda m, other: resigned(m, value="0" * 128),
    lambda m, other: resigned(m, value=m["signature"]["value"][:64] + "f" * 64),
    lambda m, other: {**m, "tolerance": 0.5},
    lambda m, other: {**m, "release": 9},
])
def test_a_forged_signature_is_refused_by_everybody(tmp_path, key, change):
    """Also by a device that was told no key, and with an id made to fit."""
    other = new_key(tmp_path / "other.pem").public
    signed = write_bundle(tmp_path / "s.alledge", manifest(), MEMBERS, key)
    document = change(json.loads(zipfile.ZipFile(signed.path).read("manifest.json")), other)
    fitting = write_bundle(tmp_path / "f.alledge", Manifest.model_validate(document), MEMBERS).id
    content = json.dumps({**document, "id": fitting}, sort_keys=True, separators=(",", ":")).encode()
    path = tmp_path / "forged.alledge"
    path.write_bytes(pack({"manifest.json": content, **MEMBERS}))
    with pytest.raises(BundleRefused, match="not by the key it names"):
        Bundle.open(path)


def test_a_bundle_is_good_on_its_last_day_and_not_after(tmp_path):
    bundle = write_bundle(tmp_path / "x.alledge", manifest(expires=date(2027, 6, 30)), MEMBERS)
    bundle.check_current(date(2027, 6, 30))
    with pytest.raises(BundleRefused, match="expired on 2027-06-30, today is 2027-07-01"):
        bundle.check_current(date(2027, 7, 1))


@pytest.mark.parametrize(("installed", "new", "taken"), [(None, None, True), (None, 1, True), (3, 3, True),
                                                         (3, 4, True), (3, 2, False), (3, None, False)])
def test_a_device_never_goes_back(tmp_path, installed, new, taken):
    bundle = write_bundle(tmp_path / "x.alledge", manifest(release=new), MEMBERS)
    today = date(2027, 1, 1)
    if taken:
        bundle.check_current(today, manifest(release=installed))
        return
    with pytest.raises(BundleRefused, match=r"older than the installed one \(release 3\)"):
        bundle.check_current(today, manifest(release=installed))


def test_an_unsigned_bundle_is_opened_without_the_signing_library(bundle):
    program = ("import sys; from alledge.bundle import Bundle; Bundle.open(sys.argv[1]); "
               "print('cryptography' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", program, bundle.path], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_sample_of_the_tamper_script_is_refused(bundle):
    """The whole of it, with its counts: docs/results/tamper.md."""
    script = Path(__file__).parents[2] / "benchmarks" / "tamper.py"
    spec = importlib.util.spec_from_file_location("tamper", script)
    tamper = importlib.util.module_from_spec(spec)
    sys.modules["tamper"] = tamper  # its dataclass looks itself up
    spec.loader.exec_module(tamper)
    tried, accepted = tamper.measure(bundle.path, flips=400, cuts=40, seed=1)
    assert not +accepted
    assert len(tried) >= 18
    assert tried.total() > 1200


def test_an_interrupted_write_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch):
    path = tmp_path / "a.alledge"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_a_bundle_for_other_boards_is_refused_and_one_that_names_none_is_for_all(bundle, tmp_path):
    bundle.check_board("")
    picky = write_bundle(tmp_path / "p.alledge", manifest(compatible=["ward-3", "ward-4"], latency_ms=80), MEMBERS)
    picky.check_board("ward-4")
    for board, says in (("ward-5", "for 'ward-3' or 'ward-4', this one is 'ward-5'"), ("", "this one has no name")):
        with pytest.raises(BundleRefused, match=says):
            picky.check_board(board)
    assert picky.manifest.latency_ms == 80
    assert b"compatible" not in bundle.path.read_bytes(), "bundles that say nothing keep their bytes and ids"
