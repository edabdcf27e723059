"""Tiles on disk: decoded once, whatever happens to the disk or to another writer."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra `train`")

from alledge.dataset import read_dataset
from alledge.images import read_image
from alledge.preprocess import Preprocessing, prepare_field
from alledge.train import batches, cache
from alledge.train.batches import read_tiles

SMALL = Preprocessing(size=64)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def items(smears):
    return read_dataset(smears).items[:6]


def read(items, preprocessing=SMALL):
    """Pixels, how many files were decoded, and what was told."""
    decoded, told = [], []
    tiles = read_tiles(items, preprocessing, lambda: decoded.append(1), told.append)
    assert np.array_equal(tiles.pixels, expected(items, preprocessing))
    assert tiles.truth.tolist() == [i.index for i in items]
    return tiles.pixels, len(decoded), told


def expected(items, preprocessing=SMALL):
    return np.stack([prepare_field(read_image(i.path), preprocessing).tile for i in items])


def packs(folder):
    return sorted(folder.rglob("*.npy"))


def test_a_file_is_decoded_once_and_mapped_from_then_on(folder, items):
    assert read(items)[1] == 6
    pixels, decoded, _ = read(items)
    assert decoded == 0
    assert isinstance(pixels, np.memmap)
    assert not pixels.flags.writeable


def test_other_rows_take_what_is_there(folder, items):
    read(items[:4])
    assert read(items[2:])[1] == 2
    assert read(items[::-1])[1] == 0
    assert read((*items[:2], items[0]))[1] == 0


def test_another_size_segmentation_or_code_is_another_tile(folder, items, monkeypatch):
    read(items)
    assert read(items, Preprocessing(size=96))[1] == 6
    assert read(items, Preprocessing(size=64, segment="stain"))[1] == 6
    assert read(items, Preprocessing(size=64, scale=(1.0, 1.0, 1.0)))[1] == 0
    monkeypatch.setattr(batches, "_TILES_MADE_BY", batches._TILES_MADE_BY[1:])
    assert read(items)[1] == 6


def test_the_content_counts_not_the_name(folder, smears, items, tmp_path):
    read(items)
    copy = tmp_path / "data"
    for item in read_dataset(smears).items[:24:2]:
        (copy / item.label).mkdir(parents=True, exist_ok=True)
        (copy / item.label / item.path.name).write_bytes(Path(items[0].path).read_bytes())
    assert read(read_dataset(copy).items)[1] == 0


@pytest.mark.parametrize("damage", [lambda b: b[:200], lambda b: b[:-500], lambda b: b"", lambda b: b[:-9] + b"x" * 9,
                                    lambda b: b"not a pack" * 99])
def test_a_damaged_pack_is_made_again(folder, items, damage):
    read(items)
    pack, = packs(folder)
    pack.write_bytes(damage(pack.read_bytes()))
    assert read(items)[1] == 6
    assert read(items)[1] == 0


def test_a_full_disk_costs_the_cache_and_nothing_else(folder, items, monkeypatch):
    def full(*_):  # a stand-in for the disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "_write", full)
    _, _, told = read(items)
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert "without a cache" in told[0]


def test_a_folder_that_cannot_be_written_and_off_work_without(items, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALLEDGE_CACHE", str(tmp_path / "file"))
    assert "without a cache" in read(items)[2][0]
    monkeypatch.setenv("ALLEDGE_CACHE", "off")
    monkeypatch.setattr(cache, "_kept", None)
    assert read(items)[1:] == (6, [])


WRITER = """
import os, sys
import numpy as np
from alledge.train.cache import kept

def make(row):
    if row == int(sys.argv[1]):
        os.kill(os.getpid(), 9)
    return np.full((64, 64, 3), row, np.uint8)

kept("tiles/drawn", [f"{i:032x}" for i in range(50)], make, print)
"""


def writer(dies_at):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(dies_at)])


def test_a_killed_writer_leaves_no_pack_and_two_writers_agree(folder):
    with writer(30) as killed:
        assert killed.wait(60) == -9
    assert not packs(folder)
    left, = folder.rglob("*.part")
    os.utime(left, (0, 0))
    with writer(-1) as one, writer(-1) as other:
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert len(packs(folder)) == 1
    assert not left.exists()
    pixels = cache.kept("tiles/drawn", [f"{i:032x}" for i in range(50)], None, None)
    assert pixels[:, 0, 0, 0].tolist() == list(range(50))


def test_the_users_cache_folder_is_the_default(monkeypatch, tmp_path):
    monkeypatch.delenv("ALLEDGE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "alledge"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "alledge"
