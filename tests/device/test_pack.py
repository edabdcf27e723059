"""A pack: a system without alledge installs from it; a damaged or foreign one is refused."""

import ensurepip
import json
import os
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

import alledge
from alledge.device.provision import environment, pack
from alledge.device.provision.boards import BOARDS, System, find_board
from alledge.device.provision.packfile import FORMAT, MANIFEST, open_pack
from alledge.device.provision.trust import check_first, checked
from alledge.device.provision.wheels import pinned
from alledge.errors import AlledgeError, OutputError, UsageError

ROOT = Path(__file__).parents[2]
BOOTSTRAP = ROOT / "device" / "provision" / "bootstrap.py"
WHEEL = f"alledge-{alledge.__version__}-py3-none-any.whl"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real pack for rpi-cpu but for its wheels: alledge's from the tree, Python's own copy of pip, and no library."""
    folder = tmp_path_factory.mktemp("pack")
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        for source, target in {"alledge": "alledge", "device": "alledge/device",
                               "firmware_configs": "alledge/firmware_configs"}.items():
            for path in sorted((ROOT / source).rglob("*")):
                if path.is_file() and path.suffix not in (".alledge", ".pyc", ".npz"):
                    wheel.write(path, f"{target}/{path.relative_to(ROOT / source)}")
        about = f"alledge-{alledge.__version__}.dist-info"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: alledge\nVersion: {alledge.__version__}\n")
        wheel.writestr(f"{about}/WHEEL",
                       "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    (pip,) = (Path(str(files(ensurepip))) / "_bundled").glob("pip-*.whl")
    (folder / "bundle").write_bytes(b"no bundle: nothing here runs it")
    manifest = {"format": FORMAT, "board": "rpi-cpu", "alledge": alledge.__version__,
                "alledge_wheel": f"wheels/{WHEEL}",
                "environments": {"3.11": [f"wheels/{WHEEL}"]}, "glibc": {"3.11": 36}, "trusted_keys": ["ab" * 32],
                "pip": f"wheels/{pip.name}", "bundle": "first.alledge", "python": ""}
    members = {f"wheels/{WHEEL}": folder / WHEEL, f"wheels/{pip.name}": pip, "first.alledge": folder / "bundle"}
    pack._write(folder / "pack.pyz", manifest, members)
    return folder / "pack.pyz"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder that stands for Raspberry Pi OS 12."""
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/python3").symlink_to("python3.11")
    (root / "etc").mkdir()
    return root


def run_pack(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """As on a board: without any library and without the alledge of this environment."""
    return subprocess.run([sys.executable, "-I", "-S", path, *map(str, arguments)], capture_output=True, text=True,
                          check=False, env={"PATH": os.environ["PATH"]})


@pytest.mark.skipif(environment.shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here")
def test_a_system_without_alledge_installs_from_it_and_is_itself_again(made: Path, system: Path) -> None:
    before = sorted(system.rglob("*"))
    dry = run_pack(made, "install", "--dry-run", "--root", system)
    assert dry.returncode == 0, dry.stderr
    assert sorted(system.rglob("*")) == before
    done = run_pack(made, "install", "--root", system)
    assert done.returncode == 0, done.stderr
    home = system / environment.HOME[1:]
    assert (home / "bin/python").readlink() == Path("/usr/bin/python3.11")
    assert "include-system-site-packages = true" in (home / "pyvenv.cfg").read_text()
    assert (home / "lib/python3.11/site-packages/alledge/device/provision/bootstrap.py").exists()
    assert (home / "bin/alledge").read_text().startswith("#!/opt/alledge/bin/python\n")
    assert (home / "bin/alledge").stat().st_mode & 0o777 == 0o755
    assert f'trusted_keys = ["{"ab" * 32}"]' in (system / "etc/alledge/config.toml").read_text()
    assert "nothing to change" in run_pack(made, "install", "--root", system).stdout
    assert run_pack(made, "uninstall", "--root", system).returncode == 0
    assert sorted(system.rglob("*")) == before


def test_without_a_verb_it_says_how_it_is_used(made: Path) -> None:
    assert "sudo python3 FILE install" in run_pack(made, "--help").stderr
    assert run_pack(made).returncode == 2


def test_the_bootstrap_runs_on_a_jetson_nanos_python() -> None:
    vermin = pytest.importorskip("vermin", reason="vermin, which knows what came with which Python, is not installed")
    _, python_3 = vermin.visit(BOOTSTRAP.read_text()).minimum_versions()
    assert python_3 <= (3, 6)
    assert BOOTSTRAP.read_bytes() == files("alledge.device.provision").joinpath("bootstrap.py").read_bytes()


def test_a_pack_that_was_cut_short_is_refused_by_a_sentence(made: Path, tmp_path: Path) -> None:
    whole = made.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        (tmp_path / "cut.pyz").write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"damaged|is not what was packed"):
            open_pack(tmp_path / "cut.pyz", "rpi-cpu")


def test_a_changed_byte_in_any_member_is_found(made: Path, tmp_path: Path) -> None:
    whole = made.read_bytes()
    with zipfile.ZipFile(made) as file:
        members = [info for info in file.infolist() if info.filename not in ("__main__.py", MANIFEST)]
    for info in members:
        damaged = bytearray(whole)
        damaged[info.header_offset + 30 + len(info.filename) + info.file_size // 2] ^= 1
        (tmp_path / "damaged.pyz").write_bytes(damaged)
        with pytest.raises(UsageError, match=r"damaged|is not what was packed"):
            open_pack(tmp_path / "damaged.pyz", "rpi-cpu")


def repacked(made: Path, out: Path, **changes: object) -> Path:
    """The pack with other words in its manifest."""
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, json.dumps({**json.loads(content), **changes}) if name == MANIFEST else content)
    return out


def test_what_does_not_fit_is_refused_by_a_sentence(made: Path, tmp_path: Path, system: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "other.pyz"
    with pytest.raises(UsageError, match="is a pack for rpi-cpu, expected one for rpi-coral"):
        open_pack(made, "rpi-coral")
    with pytest.raises(UsageError, match="no such file"):
        open_pack(tmp_path / "absent.pyz", "rpi-cpu")
    with pytest.raises(UsageError, match="is of format 2, expected 1"):
        open_pack(repacked(made, out, format=2), "rpi-cpu")
    with pytest.raises(UsageError, match=r"lacks wheels/absent\.whl"):
        open_pack(repacked(made, out, environments={"3.11": ["wheels/absent.whl"]}), "rpi-cpu")
    with pytest.raises(UsageError, match="leads out of the pack"):
        open_pack(repacked(made, out, members={"../x": {"sha256": "", "bytes": 0}}), "rpi-cpu")
    (system / "usr/bin/python3").unlink()
    (system / "usr/bin/python3").symlink_to("python3.13")
    done = run_pack(made, "install", "--root", system)
    assert done.returncode == 2
    assert "has wheels for Python 3.11, this system has 3.13" in done.stderr
    opened = open_pack(made, "rpi-cpu")
    usage = environment.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    step = environment.Environment(opened, find_board("rpi-cpu").systems[0], "aarch64")
    with pytest.raises(OutputError, match="MB free for alledge, found 0 MB"):
        step._check(environment.Tree(system), environment.Record(environment.Tree(system)))
    (system / "opt/alledge").mkdir(parents=True)
    with pytest.raises(OutputError, match="was not made by `alledge device install`"):
        step._check(environment.Tree(system), environment.Record(environment.Tree(system)))


def test_wheels_ask_for_no_newer_c_library_than_the_systems() -> None:
    for board in BOARDS.values():
        for system in board.systems:
            newest = max(int(tag.split("_")[2]) for tag in environment.platforms(board.machine, system)
                         if tag.startswith("--platform=manylinux_"))
            assert newest == system.glibc
    (nano,) = BOARDS["jetson-nano"].systems
    assert (nano.glibc, nano.own) == (27, True)


def test_constraints_hold_where_their_versions_exist() -> None:
    text = (ROOT / "constraints.txt").read_text()
    everything = pinned(text, System("", "3.11", 36)).splitlines()
    assert len(everything) == sum("==" in line for line in text.splitlines())
    assert pinned(text, System("", "3.10", 36)) == ""
    assert set(everything) - set(pinned(text, BOARDS["jetson-nano"].systems[0]).splitlines()) == {
        line for line in everything if line.startswith("onnxruntime==")}


def test_keys_first_models_and_pythons_are_checked_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--trust: expected 64 hex digits"):
        checked(["mine"])
    with pytest.raises(UsageError, match="give it a signed one with --bundle"):
        check_first(BOARDS["rpi-cpu"], None, ("ab" * 32,))
    with pytest.raises(AlledgeError):
        check_first(BOARDS["rpi-cpu"], tmp_path / "absent.alledge", ())
    with pytest.raises(UsageError, match=r"--python: expected one of 3.11, 3.13 for rpi-cpu, received '3.9'"):
        pack.choose_systems(BOARDS["rpi-cpu"], ("3.9",))
    with pytest.raises(UsageError, match="--python-archive: jetson-nano has a Python that is too old"):
        pack.make_pack(BOARDS["jetson-nano"], BOARDS["jetson-nano"].systems, tmp_path / "x.pyz", print)
