"""`alledge device install` and `uninstall` in a folder that stands for a system."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alledge.config import load_config
from alledge.device.conflicts import faults_of
from alledge.device.provision import install as installing
from alledge.device.provision import packages
from alledge.device.provision import provision as provisioning
from alledge.device.provision.boards import BOARDS, Board, find_board
from alledge.device.provision.environment import BUNDLE
from alledge.device.provision.plan import configuration, plan
from alledge.device.provision.provision import AsItIs, provision, unprovision
from alledge.device.provision.record import FILE, Record
from alledge.device.provision.tree import Tree
from alledge.errors import AlledgeError, OutputError, UsageError

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "firmware_configs"
CONFIG_TXT = "# Raspberry Pi OS\n#dtparam=i2c_arm=on\ndtparam=audio=on\n"
PASSWD = "root:x:0:0:root:/root:/bin/bash\n"
GROUP = "root:x:0:\nvideo:x:44:\nplugdev:x:46:\n"

needs_sysusers = pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder with as much of Raspberry Pi OS 12 as an installation looks at."""
    root = tmp_path / "root"
    for name, text in {"boot/firmware/config.txt": CONFIG_TXT, "etc/passwd": PASSWD, "etc/group": GROUP,
                       "etc/sysctl.d/README": "", "var/lib/dpkg/status": "", "etc/shadow": "root:*:1::::::\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/shadow").chmod(0o600)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/python3").symlink_to("python3.11")
    return root


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power cut happens here: nothing need reach the disk."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def without_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is taken as there: its wheels have a test of their own."""
    monkeypatch.setattr(provisioning, "mark_of", lambda tree: ("rpi-cpu", provisioning.__version__))


def listing(root: Path) -> dict[str, tuple[object, ...]]:
    """Every path with kind, mode, owner, time of files, and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        when = about.st_mtime_ns if path.is_file() and not path.is_symlink() else 0
        found[str(path.relative_to(root))] = (oct(about.st_mode), about.st_uid, about.st_gid, when, content)
    return found


def put(root: Path, dry_run: bool = False, **options: object) -> list[str]:
    return provision(find_board("rpi-cpu"), root, None, dry_run, lambda line: None, **options).changes


def take(root: Path, dry_run: bool = False) -> list[str]:
    return unprovision(root, dry_run, lambda line: None)


@needs_sysusers
@pytest.mark.usefixtures("without_wheels")
class TestWholeSystem:
    def test_a_dry_run_names_every_change_and_makes_none(self, system: Path) -> None:
        before = listing(system)
        said = put(system, dry_run=True)
        assert listing(system) == before
        assert put(system) == said
        files = {f"/{name}" for name, is_now in listing(system).items() if is_now != before.get(name)}
        named = " ".join(said)
        for path in files - {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/.pwd.lock"}:
            if (system / path[1:]).is_file() and "alledge-setup" not in path and not path.endswith("-"):
                assert path in named

    def test_installing_again_changes_nothing(self, system: Path) -> None:
        put(system)
        before = listing(system)
        assert put(system) == []
        assert listing(system) == before

    def test_uninstalling_brings_every_byte_back(self, system: Path) -> None:
        before = listing(system)
        put(system)
        assert "# >>> alledge" in (system / "boot/firmware/config.txt").read_text()
        assert take(system, dry_run=True)
        assert (system / "etc/alledge/config.toml").exists()
        take(system)
        assert listing(system) == before
        assert take(system) == []

    def test_an_installation_cut_short_anywhere_is_finished_or_undone(
            self, system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before, steps = listing(system), len(put(system, dry_run=True))
        whole = contents_after(system)
        for cut in range(steps):
            for before_making in (True, False):
                with monkeypatch.context() as patched:
                    patched.setattr(installing, "_make", cut_short(cut, before_making))
                    with pytest.raises(AlledgeError, match="run this again to finish"):
                        put(system)
                if cut % 2:
                    put(system)
                    assert contents(system) == whole
                take(system)
                assert listing(system) == before, cut

    def test_what_came_since_is_kept(self, system: Path) -> None:
        put(system)
        results = system / "var/lib/alledge/results.db"
        results.write_text("results")
        for name, line in {"boot/firmware/config.txt": "gpu_mem=64", "etc/passwd": "ann:x:1000:1000::/home:"}.items():
            with (system / name).open("a") as file:
                file.write(f"{line}\n")
        said = take(system)
        assert results.read_text() == "results"
        assert any("keep folder /var/lib/alledge (not empty)" in line for line in said)
        assert (system / "boot/firmware/config.txt").read_text() == CONFIG_TXT + "gpu_mem=64\n"
        assert (system / "etc/passwd").read_text() == PASSWD + "ann:x:1000:1000::/home:\n"
        assert (system / "etc/group").read_text() == GROUP

    def test_a_changed_configuration_is_the_users(self, system: Path) -> None:
        put(system)
        config = system / "etc/alledge/config.toml"
        config.write_text(config.read_text().replace("pin = 17", "pin = 5"))
        assert put(system) == []
        said = take(system)
        assert "pin = 5" in config.read_text()
        assert any("/etc/alledge/config.toml (changed since" in line for line in said)

    def test_lines_that_somebody_took_out_come_back_once(self, system: Path) -> None:
        boot = system / "boot/firmware/config.txt"
        put(system)
        boot.write_text(CONFIG_TXT + "gpu_mem=64\n")
        assert put(system) == ["change /boot/firmware/config.txt"]
        assert put(system) == []
        assert boot.read_text().count("dtparam=spi=on") == 1
        take(system)
        assert boot.read_text() == CONFIG_TXT + "gpu_mem=64\n"

    def test_the_record_is_for_root_alone(self, system: Path) -> None:
        put(system)
        assert (system / FILE[1:]).stat().st_mode & 0o077 == 0
        assert (system / FILE[1:]).parent.stat().st_mode & 0o077 == 0

    def test_a_torn_record_is_read_and_a_damaged_one_refused(self, system: Path) -> None:
        before = listing(system)
        put(system)
        record = system / FILE[1:]
        with record.open("a") as file:
            file.write('{"path": "/etc/hosts", "ear')
        take(system)
        assert listing(system) == before
        put(system)
        record.write_text("{}\n" + record.read_text())
        with pytest.raises(AlledgeError, match=r"line 1 of the record .* is damaged"):
            take(system)

    def test_packages_that_apt_brought_go_again_and_others_stay(
            self, system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        status = system / "var/lib/dpkg/status"
        text = "Package: {}\nStatus: install ok installed\n\n"
        status.write_text(text.format("python3-lgpio"))
        before, asked = listing(system), []

        def apt(verb: str, *names: str) -> bool:  # a stand-in, with one more that is needed
            asked.append((verb, *names))
            if verb == "install":
                status.write_text(status.read_text() + text.format(names[0]) + text.format(f"lib-{names[0]}"))
            else:
                status.write_text(text.format("python3-lgpio"))
            return True

        monkeypatch.setattr(packages, "_apt", apt)
        tree = Tree(system)
        step = packages.Packages(("python3-lgpio", "python3-spidev"))
        record = Record.read(tree)
        assert step.pending(tree, record) == "apt-get install python3-spidev"
        step.make(tree, record)
        assert step.pending(tree, Record.read(tree)) == ""
        take(system)
        assert asked == [("install", "python3-spidev"), ("remove", "python3-spidev", "lib-python3-spidev")]
        assert listing(system).keys() == before.keys()

    def test_the_command_line_does_the_same(self, system: Path) -> None:
        line = [sys.executable, "-m", "alledge", "device", "install", "--board", "rpi-cpu", "--root", system]
        done = subprocess.run([*line, "--dry-run", "--json"], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        assert found["dry_run"]
        assert "make environment /opt/alledge: Python 3.11" in " ".join(found["changes"])
        assert any("python3-picamera2" in note for note in found["notes"])


def contents(root: Path) -> dict[str, bytes]:
    """Of all files, without the record and what shadow's dates and passwd's spare copies say."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*")
            if p.is_file() and "alledge-setup" not in str(p) and not p.name.endswith("-")}


def contents_after(system: Path) -> dict[str, bytes]:
    put(system)
    found = contents(system)
    take(system)
    return found


def cut_short(cut: int, before_making: bool):
    """A `_make` that fails at the nth change, before or after it was made."""
    made, real = iter(range(1000)), installing._make

    def make(step, tree, record, line):
        if next(made) != cut:
            return real(step, tree, record, line)
        if not before_making:
            record_keep = Record.keep
            Record.keep = lambda self, path: None  # the power goes between the change and the note of it
            try:
                real(step, tree, record, line)
            finally:
                Record.keep = record_keep
        raise OutputError(f"cut short; {installing._WAY_OUT}")

    return make


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda b: b.name)
def test_every_boards_plan_is_made_of_what_is_shipped_and_can_be_run(board: Board, tmp_path: Path) -> None:
    assert plan(board, AsItIs())
    for keys in ((), ("ab" * 32, "cd" * 32)):
        config = tmp_path / "config.toml"
        config.write_text(configuration(board, keys))
        read = load_config(config)
        assert read.bundle.trusted_keys == keys
        assert read.bundle.path == Path(BUNDLE)
        assert not [fault for fault in faults_of(read) if "first.alledge" not in fault]


def test_refusals_are_sentences(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"expected one of rpi-cpu, .* received 'pi'"):
        find_board("pi")
    with pytest.raises(UsageError, match="expected a folder with a system in it"):
        put(system / "absent")
    (system / "usr/bin/python3").unlink()
    with pytest.raises(UsageError, match=r"expected Python 3.11 or 3.13 .* found none"):
        put(system)
    (system / "usr/bin/python3").symlink_to("python3.9")
    with pytest.raises(UsageError, match=r"found 3.9"):
        put(system)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(UsageError, match=r"expected aarch64 .* this system is riscv64"):
        put(Path("/"))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="expected root"):
        put(Path("/"))
    with pytest.raises(UsageError, match="expected root"):
        Tree(Path("/")) and provisioning.check_may_write(Tree(Path("/")))


def test_links_that_lead_out_of_the_tree_are_not_followed(system: Path, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (system / "etc/udev").symlink_to(tmp_path / "host")
    with pytest.raises(AlledgeError, match="leads out of"):
        put(system, dry_run=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_what_is_laid_over_its_units(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "system/tmp.mount", tmp_path)
    unit = (CONFIGS / "systemd/alledge.service").read_text().replace("/opt/alledge/bin/alledge", "/bin/true")
    (tmp_path / "alledge.service").write_text(unit)
    (tmp_path / "alledge.service.d").mkdir()
    shutil.copy(CONFIGS / "system/jetson.conf", tmp_path / "alledge.service.d")
    line = ["systemd-analyze", "--recursive-errors=one", "verify", "tmp.mount", "alledge.service"]
    done = subprocess.run(line, capture_output=True, text=True, check=False,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})
    assert (done.returncode, done.stderr) == (0, "")
    line = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "alledge.service"]
    subprocess.run(line, check=True, capture_output=True, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})


def test_linux_has_every_setting_and_the_page_every_file() -> None:
    lines = (CONFIGS / "system/sysctl.conf").read_text().splitlines()
    names = [line.partition(" = ")[0] for line in lines if line and not line.startswith("#")]
    assert names
    for name in names:
        assert (Path("/proc/sys") / name.replace(".", "/")).exists(), name
    text = (ROOT / "docs" / "boards.md").read_text("utf-8")
    assert all(path.name in text for path in (CONFIGS / "system").iterdir())
