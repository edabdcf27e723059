"""What cameras refuse, and that one bad picture costs one field."""

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from alledge import reference
from alledge.bundle import Bundle
from alledge.device.camera import FrameError, open_camera
from alledge.device.engine import open_engine
from alledge.device.pipeline import Pipeline
from alledge.errors import CameraError, UsageError
from alledge.images import HALVED_FROM, read_image, write_png
from alledge.labels import LABELS
from alledge.synthetic import draw_field, write_dataset


@pytest.mark.parametrize(("uri", "error", "said"), [
    ("smears", UsageError, "is not a URI: expected one of picamera2://0"),
    ("http://x", UsageError, "'http' is unknown"),
    ("file://", CameraError, "found nothing there"),
    ("file:///no/such/folder", CameraError, "found nothing there"),
    ("video:///no/such.mkv", CameraError, "found none there"),
    ("synthetic://?seed=x", UsageError, "seed=x is out of range"),
    ("synthetic://?seed=-1", UsageError, "seed=-1 is out of range"),
    ("synthetic://?class=pre-b", UsageError, "class 'pre-b' is unknown, expected one of benign"),
    ("synthetic://?size=9", UsageError, "from 32 to 4096"),
    ("synthetic://?colour=red", UsageError, "colour=red is not understood, expected seed, class, size"),
    ("synthetic://?seed=1&seed=2", UsageError, "given twice"),
    ("synthetic://?seed", UsageError, "expected key=value"),
    ("synthetic://folder?seed=1", UsageError, "received the path 'folder'"),
])
def test_refusals(uri: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        open_camera(uri)
    assert said in str(caught.value)


def test_a_film_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.avi").write_bytes(b"RIFF" + bytes(200))
    with pytest.raises(CameraError, match="OpenCV cannot play"):
        open_camera(f"video://{tmp_path / 'film.avi'}")


def test_a_film_cut_short_does_not_end_as_if_it_were_whole(cut_film: Path) -> None:
    with closing(open_camera(f"video://{cut_film}")) as camera:
        seen: list[object] = []
        with pytest.raises(CameraError) as caught:
            seen.extend(iter(camera.read, None))
    assert 0 < len(seen) < 30
    assert f"expected 30 frames, received {len(seen)}" in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(CameraError, match="holds no image"):
        open_camera(f"file://{tmp_path}")


def test_a_bad_picture_costs_one_field_only(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        write_png(tmp_path / name, draw_field("pro_b", 1, 64).rgb)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 broken")
    with closing(open_camera(f"file://{tmp_path}")) as camera:
        first = camera.read()
        with pytest.raises(FrameError, match="does not decode") as caught:
            camera.read()
        third = camera.read()
        assert camera.read() is None
    assert caught.value.source == str(tmp_path / "b.jpg")
    assert first is not None
    assert third is not None
    assert third.metadata["source"] == str(tmp_path / "c.png")


def test_a_folder_is_read_in_order_and_without_masks(tmp_path: Path) -> None:
    write_dataset(tmp_path, 2, seed=3, size=64)
    with closing(open_camera(f"file://{tmp_path}")) as camera:
        frames = [frame for _ in range(8) if (frame := camera.read())]
        assert camera.read() is None
    sources = [Path(f.metadata["source"]) for f in frames]
    assert sources == sorted(sources)
    assert [s.parent.name for s in sources] == ["benign"] * 2 + ["early_pre_b"] * 2 + ["pre_b"] * 2 + ["pro_b"] * 2


@pytest.mark.parametrize("name", ["plain", "with space", "100%#?&"])
def test_paths_relative_odd_and_encoded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.parse import quote

    write_png(tmp_path / name / "a.png", draw_field("pro_b", 1, 64).rgb)
    monkeypatch.chdir(tmp_path)
    for uri in (f"file://{name}", f"file://{name}/a.png", f"file://{quote(str(tmp_path / name))}"):
        with closing(open_camera(uri)) as camera:
            assert camera.read() is not None


def test_synthetic_repeats_itself_and_takes_all_classes_in_turn() -> None:
    uri = "synthetic://?seed=4&size=64"
    with closing(open_camera(uri)) as one, closing(open_camera(uri)) as two:
        frames = [(one.read(), two.read()) for _ in range(5)]
    sources = [a.metadata["source"] for a, _ in frames if a]
    assert sources == [f"synthetic {label} seed {seed}" for seed, label in enumerate((*LABELS, LABELS[0]), 4)]
    assert all(a and b and np.array_equal(a.rgb, b.rgb) for a, b in frames)


def test_a_large_jpeg_is_read_at_half_its_size_and_gets_the_same_verdict(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the shipped bundle's engine")
    bundle = Bundle.open(reference.BUNDLE)
    for seed, label in enumerate(LABELS):
        field = cv2.resize(draw_field(label, seed, 448).rgb, (HALVED_FROM, HALVED_FROM), interpolation=cv2.INTER_CUBIC)
        Image.fromarray(field).save(tmp_path / f"{seed}.jpg", quality=90)
    with closing(open_camera(f"file://{tmp_path}")) as camera, closing(open_engine(bundle)) as engine:
        pipeline = Pipeline(bundle, engine)
        for seed in range(len(LABELS)):
            frame = camera.read()
            assert frame is not None
            assert frame.rgb.shape == (HALVED_FROM // 2, HALVED_FROM // 2, 3)
            half, whole = pipeline(frame.rgb), pipeline(read_image(tmp_path / f"{seed}.jpg"))
            assert half.verdict == whole.verdict
            # drawn fields are less decided than smears: as far apart as two sets of kernels may be on them
            assert half.probabilities == pytest.approx(whole.probabilities, abs=bundle.manifest.tolerance)
