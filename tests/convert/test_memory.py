import re
from pathlib import Path

import pytest

from alledge.convert import memory
from alledge.convert.cli import convert
from alledge.errors import AlledgeError
from alledge.runfolder import CALIBRATION_TILES, MODEL

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine(gib)`: as many GiB left, and `limit` and `used` of a container."""
    def make(gib, swap=0.0, limit=None, used=0.0):
        (tmp_path / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {int(gib * 2**20)} kB\n"
                                          f"SwapFree: {int(swap * 2**20)} kB\n")
        monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
        monkeypatch.setattr(memory, "GROUP", tmp_path)
        if limit is not None:
            (tmp_path / "memory.max").write_text(f"{limit if limit == 'max' else int(limit * GIB)}\n")
            (tmp_path / "memory.current").write_text(f"{int(used * GIB)}\n")
    return make


def test_a_board_with_too_little_memory_is_told_before_anything_is_loaded(trained_run, machine, tmp_path, monkeypatch):
    machine(0.7)
    monkeypatch.setattr("alledge.convert.conversion.open_trained", lambda *arguments: pytest.fail("the run was opened"))
    with pytest.raises(AlledgeError, match=r"for cpu needs about \d\.\d GiB .* machine has 0\.7 GiB left"):
        convert(run=trained_run, target="cpu", out=tmp_path / "bundle.alledge")
    assert not (tmp_path / "bundle.alledge").exists()


def test_swap_counts_and_a_containers_limit_too(machine, tmp_path):
    machine(1, swap=2)
    assert memory.available_memory() == pytest.approx(3 * GIB)
    machine(8, limit="max")
    assert memory.available_memory() == pytest.approx(8 * GIB)
    machine(8, limit=4, used=1)
    assert memory.available_memory() == pytest.approx(3 * GIB)
    (tmp_path / "meminfo").unlink()
    assert memory.available_memory() is None


def test_more_tiles_and_more_weights_need_more(run_copy):
    whole = memory.estimate(run_copy, "cpu")
    (run_copy / CALIBRATION_TILES).unlink()  # 200 of 224 px will be drawn instead of 160 of 64 px
    assert 1.5 * GIB < whole < memory.estimate(run_copy, "cpu") < 3 * GIB
    with (run_copy / MODEL).open("ab") as file:
        file.truncate(100 * 2**20)
    assert memory.estimate(run_copy, "cpu") - whole > 2 * GIB


MEASURED = (Path(__file__).parents[2] / "docs" / "results" / "conversions.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in row.split("|")[1:-1]]
        for row in re.findall(r"^\| [a-z0-9]+ \| [a-z-]+ \| [0-9.]+ MiB \|.*$", MEASURED, re.M)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_estimate_holds_for_every_conversion_that_was_measured(row, tmp_path):
    """The float32 weights are about as large as the Orin's bundle."""
    weights = next(float(other[2].split()[0]) for other in ROWS if other[:2] == [row[0], "jetson-orin"])
    with (tmp_path / MODEL).open("wb") as file:
        file.truncate(int(weights * 2**20))
    assert memory.estimate(tmp_path, row[1]) >= float(row[8]) * GIB
