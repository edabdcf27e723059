"""The systemd units: systemd's own checks of them, and that what they run exists."""

import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from alledge.cli import COMMANDS

UNITS = Path(str(files("alledge.firmware_configs"))) / "systemd"
PROGRAM = "/opt/alledge/bin/alledge"
MOST_EXPOSED = 2.5  # of 10, by `systemd-analyze security`

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a folder, with a program that is there."""
    program = tmp_path / "alledge"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in UNITS.iterdir():
        name = unit.name.replace("@.", "@sda1.")  # of a template, the instance for a memory stick
        text = unit.read_text().replace(PROGRAM, str(program)).replace("/usr/bin/jetson_clocks", str(program))
        (tmp_path / name).write_text(text)
    return tmp_path


def analysed(*arguments: object) -> str:
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(installed: Path) -> None:
    units = sorted(path for path in installed.iterdir() if path.suffix in (".service", ".timer", ".path"))
    assert len(units) == 7
    assert analysed("--recursive-errors=one", "verify", *units) == ""


@needs_systemd
@pytest.mark.parametrize("unit", ["alledge.service", "alledge-backup.service", "alledge-clocks.service",
                                  "alledge-drop.service",
                                  "alledge-model@sda1.service"])
def test_little_is_exposed(installed: Path, unit: str) -> None:
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)",
                      analysed("security", "--offline=true", installed / unit))
    assert found
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="there is no systemd-sysusers here")
def test_the_user_is_made_with_its_groups(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", UNITS / "alledge.sysusers"], check=True,
                   capture_output=True)
    groups = re.findall(r"^(\w+):x:\d+:alledge$", (tmp_path / "etc" / "group").read_text(), re.M)
    assert sorted(groups) == ["gpio", "i2c", "plugdev", "render", "spi", "video"]
    assert "/usr/sbin/nologin" in (tmp_path / "etc" / "passwd").read_text()


def test_what_the_units_run_exists_and_is_documented() -> None:
    run = re.findall(rf"^ExecStart={PROGRAM} (.+)$", "\n".join(unit.read_text() for unit in UNITS.iterdir()), re.M)
    assert len(run) == 4
    for line in run:
        words = line.split()
        assert words[0] in COMMANDS
        command = [word for word in words if re.fullmatch("[a-z]+", word)]
        done = subprocess.run([sys.executable, "-m", "alledge", *command, "--help"], capture_output=True, text=True,
                              check=True)
        assert all(word in done.stdout for word in words if word.startswith("--"))
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "daemon.md").read_text("utf-8") + (docs / "model-updates.md").read_text("utf-8")
    assert all(unit.name in text for unit in UNITS.iterdir())
