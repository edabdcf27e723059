"""What ships for boards is what systemd, udev and this program accept."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alledge.config import load_config

FOLDER = Path(__file__).parents[1] / "firmware_configs"
UNITS = sorted(FOLDER.glob("systemd/*"))
RULES = sorted(FOLDER.glob("udev/*"))
EXPOSURE_MAX = 2.5  # `systemd-analyze security`, 0 (closed) to 10
_MATCH = re.compile(r'(ACTION|SUBSYSTEM|KERNEL|TAG|MODE|GROUP|(ENV|ATTR|ATTRS)\{\w+\})(==|=|\+=|!=)"[^"]*"')


def test_everything_that_is_there_is_looked_at() -> None:
    assert UNITS
    assert RULES


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.toml")), ids=lambda p: str(p.relative_to(FOLDER)))
def test_every_configuration_loads(path: Path) -> None:
    load_config(path)


def installed(folder: Path) -> Path:
    """All units, with this very program where a board has it; an instance for each template."""
    for path in UNITS:
        text = path.read_text().replace("/opt/alledge/bin/alledge", str(Path(sys.executable).with_name("alledge")))
        (folder / path.name.replace("@.", "@sda1.")).write_text(text)
        (folder / path.name).write_text(text)
    if not (folder / "alledge.service").exists():
        (folder / "alledge.service").write_text("[Service]\nExecStart=/bin/true\n")
    return folder


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.name)
def test_systemd_takes_every_unit_and_they_are_closed(unit: Path, tmp_path: Path) -> None:
    path = installed(tmp_path) / unit.name.replace("@.", "@sda1.")
    verified = subprocess.run(["systemd-analyze", "verify", "--recursive-errors=one", path], capture_output=True,
                              text=True, check=False)
    assert verified.returncode == 0, verified.stderr
    broken = path.with_name(f"broken-{path.name}")
    broken.write_text(path.read_text() + "\n[Service]\nNoSuchKey=yes\n")
    control = subprocess.run(["systemd-analyze", "verify", "--recursive-errors=one", broken], capture_output=True,
                             text=True, check=False)
    assert control.returncode != 0, "verifying must be able to fail"
    if unit.suffix == ".service":
        said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", path],
                              capture_output=True, text=True, check=True).stdout
        level = re.search(r"exposure level for .*: ([\d.]+)", said)
        assert level is not None
        assert float(level.group(1)) <= EXPOSURE_MAX, said


@pytest.mark.parametrize("rules", RULES, ids=lambda p: p.name)
def test_every_udev_rule_is_made_of_known_words(rules: Path) -> None:
    for line in rules.read_text().splitlines():
        if line and not line.startswith("#"):
            assert all(_MATCH.fullmatch(word.strip()) for word in line.split(",")), line


def can_verify() -> bool:
    """`udevadm verify` came with systemd 254."""
    if shutil.which("udevadm") is None:
        return False
    return subprocess.run(["udevadm", "verify", "--help"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_verify(), reason="udevadm here cannot verify rules (systemd 254 can)")
@pytest.mark.parametrize("rules", RULES, ids=lambda p: p.name)
def test_udev_takes_every_rule(rules: Path) -> None:
    done = subprocess.run(["udevadm", "verify", "--resolve-names=never", rules], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rule_and_the_unit_name_each_other() -> None:
    rule = (FOLDER / "udev" / "90-alledge-model.rules").read_text()
    assert "alledge-model@%k.service" in rule
    assert (FOLDER / "systemd" / "alledge-model@.service").exists()
