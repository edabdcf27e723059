"""How the proof with libcamera's virtual camera judges. The proof itself: tests/emulation/camera/run.py."""

import ast
import datetime
import importlib
import json
import sys
from itertools import combinations
from pathlib import Path

import cv2
import pytest

CAMERA = Path(__file__).parent / "camera"
BESIDE = ("run", "cage", "userland")


@pytest.fixture(scope="module")
def proof():
    """The script, taken away again with what it imports."""
    before = sys.path.copy()
    sys.path.insert(0, str(CAMERA))
    found = importlib.import_module("run")
    sys.path[:] = before
    for name in BESIDE:
        del sys.modules[name]
    return found


def test_the_fields_it_shows_are_told_apart_and_fit_the_camera(proof, tmp_path):
    proof.show_fields(tmp_path / "fields")
    pictures = [cv2.imread(str(path)) for path in sorted((tmp_path / "fields").iterdir())]
    assert {picture.shape for picture in pictures} == {(480, 640, 3)}
    (near,) = [ast.literal_eval(line.split("=")[1].split("#")[0]) for line in
               (CAMERA / "guest.py").read_text().splitlines() if line.startswith("NEAR =")]
    assert len(pictures) == proof.FIELDS
    assert min(cv2.absdiff(one, other).mean() for one, other in combinations(pictures, 2)) > 2 * near


def test_points_are_found_among_what_libraries_print(proof):
    told = [{"what": "reading", "holds": True, "found": ""}, {"what": "the libraries", "holds": True, "found": ""}]
    lines = "\n".join(["[1:02:03] INFO Camera", *map(json.dumps, told)])
    assert proof.points_of(lines) == told


@pytest.mark.parametrize("said", ["", '{"what": "reading", "holds": true, "found": ""}\nTraceback'])
def test_a_program_that_does_not_come_to_its_end_fails_the_proof(proof, said):
    assert [point["holds"] for point in proof.points_of(said)][-1] is False


def test_the_page_counts_and_names_the_stand_ins(proof):
    points = [{"what": "read", "holds": True, "found": "a | b"}, {"what": "again", "holds": False, "found": ""}]
    text = proof.page(points, datetime.date(2026, 1, 2))
    assert "**1 of 2 points hold.**" in text
    assert "**No sensor and no Pi.**" in text
    assert "| again |  | **no** |" in text
    assert "a / b" in text
    assert "stand-ins" in text
