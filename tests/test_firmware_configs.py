"""What ships for boards is what udev and this program accept; tests/device/test_units.py looks at the units."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from alledge.config import load_config
from alledge.device.conflicts import faults_of

FOLDER = Path(__file__).parents[1] / "firmware_configs"
RULES = sorted(FOLDER.glob("udev/*"))
_MATCH = re.compile(r'(ACTION|SUBSYSTEM|KERNEL|TAG|MODE|GROUP|(ENV|ATTR|ATTRS)\{\w+\})(==|=|\+=|!=)"[^"]*"')


def test_everything_that_is_there_is_looked_at() -> None:
    assert RULES


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.toml")), ids=lambda p: str(p.relative_to(FOLDER)))
def test_every_configuration_can_be_run(path: Path) -> None:
    config = load_config(path)
    assert faults_of(config) == []
    assert config.bundle.board in ("", path.stem)


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


def test_the_page_on_boards_names_every_file_and_the_pins_of_the_configurations() -> None:
    text = (FOLDER.parent / "docs" / "boards.md").read_text("utf-8")
    for path in [*FOLDER.glob("*.toml"), *FOLDER.glob("*.txt"), *RULES]:
        assert path.name in text
    for name in ("rpi-cpu", "rpi-coral"):
        config = load_config(FOLDER / f"{name}.toml")
        for pin in (config.trigger.options["pin"], config.led.pin):
            assert f"GPIO{pin} " in text


def test_the_rule_and_the_unit_name_each_other() -> None:
    rule = (FOLDER / "udev" / "90-alledge-model.rules").read_text()
    assert "alledge-model@%k.service" in rule
    assert (FOLDER / "systemd" / "alledge-model@.service").exists()
