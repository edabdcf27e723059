"""A Debian arm64 userland with alledge in it, in a folder, made without a board and without being root.

Debian's packages are fetched by the machine's own apt (signed, from its own mirror or DEBIAN_MIRROR) and unpacked;
wheels are chosen by pip as that board's pip would; QEMU is Debian 13's static user-mode emulator, because Debian 12's
version 7.2 crashes in LiteRT.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).parents[3]
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
QEMU_FROM = "trixie"
PACKAGES = ("base-files", "python3", "libstdc++6")
_OLDEST_GLIBC = 17
# LiteRT leaves XNNPACK away, without a word, where it cannot read /sys/devices/system/cpu.
_CAGE = """
mount --rbind /dev "$0/dev" && mount --rbind /sys "$0/sys" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"
"""
_CONFIG = """APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
Acquire::Languages "none";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
APT::Sandbox::User "root";
"""


@dataclass(frozen=True)
class Debian:
    """A release as far as wheels care: its code name, its Python and the minor version of its glibc."""

    name: str
    suite: str
    python: str
    glibc: int


DEBIANS = (Debian("Debian 12", "bookworm", "3.11", 36), Debian("Debian 13", "trixie", "3.13", 41))


def fetch_qemu(work: Path) -> Path:
    """Debian 13's qemu-aarch64 for this machine, which is not installed."""
    architecture = _said("dpkg", "--print-architecture")
    folder = work / "qemu"
    for package in _download(work, QEMU_FROM, architecture, "qemu-user"):
        _unpack(package, folder)
    return folder / "usr" / "bin" / "qemu-aarch64"


def build_wheel(work: Path) -> Path:
    """alledge's wheel from the files of this tree that git knows: a stale build folder would be shipped along."""
    source = work / "source"
    for name in _said("git", "-C", str(TREE), "ls-files", "-z").strip("\0").split("\0"):
        if (TREE / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TREE / name, source / name)
    _pip("wheel", "--no-deps", "--wheel-dir", work, source)
    (wheel,) = work.glob("alledge-*.whl")
    return wheel


def make_root(work: Path, debian: Debian, qemu: Path, wheel: Path) -> Path:
    """Debian's Python with alledge and its two CPU engines among its packages."""
    root = unpack_system(work, debian, "arm64", PACKAGES)
    shutil.copy(qemu, root / "usr" / "bin")
    platforms = ["manylinux2014_aarch64", *(f"manylinux_2_{n}_aarch64" for n in range(_OLDEST_GLIBC, debian.glibc + 1))]
    packages = root / "usr" / "local" / "lib" / f"python{debian.python}" / "dist-packages"
    _pip("install", "--no-compile", "--only-binary=:all:", "--implementation=cp", "--python-version", debian.python,
         *(f"--platform={p}" for p in platforms), "--constraint", TREE / "constraints.txt", "--target", packages,
         f"{wheel}[tflite,onnx]")
    return root


def unpack_system(work: Path, debian: Debian, architecture: str, packages: Sequence[str]) -> Path:
    """Debian's packages with all they depend on, unpacked and not configured, in a folder of their own."""
    root = work / debian.suite
    for name in ("bin", "lib", "sbin"):  # what Debian's own installer makes before it unpacks anything
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in _download(work, debian.suite, architecture, *packages):
        _unpack(package, root)
    for name in ("dev", "proc", "sys", "tmp"):
        (root / name).mkdir(exist_ok=True)
    return root


def run_inside(root: Path, cpu: str, *command: str) -> None:
    """Run a program of the userland on an emulated processor; of this machine's files it sees /dev and /sys only."""
    caged = ["unshare", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _CAGE, root]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "QEMU_CPU": cpu}
    subprocess.run([*caged, "/usr/bin/qemu-aarch64", *command], env=environment, check=True)


def _download(work: Path, suite: str, architecture: str, *packages: str) -> list[Path]:
    """Packages with everything they depend on, as if nothing were installed."""
    folder = work / f"apt-{suite}-{architecture}"
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    (folder / "apt.conf").write_text(_CONFIG.format(architecture=architecture, folder=folder))
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    subprocess.run(["apt-get", "-qq", "update"], env=environment, check=True)
    subprocess.run(["apt-get", "-qq", "--yes", "--download-only", "install", *packages], env=environment, check=True,
                   stdout=subprocess.DEVNULL)
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _mirror() -> str:
    """DEBIAN_MIRROR, or where this machine's own Debian packages come from."""
    if "DEBIAN_MIRROR" in os.environ:
        return os.environ["DEBIAN_MIRROR"]
    known = _said("apt-get", "indextargets", "--format", "$(SITE)", "Origin: Debian", "Component: main")
    sites = known.splitlines()
    if not sites:
        raise SystemExit("apt knows no mirror of Debian here: expected one in DEBIAN_MIRROR, or `apt-get update` first")
    return sites[0]


def _unpack(package: Path, root: Path) -> None:
    """As dpkg does: through the links of the merged /usr, without running anything of the package."""
    root.mkdir(exist_ok=True)
    files = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", root], input=files, check=True)


def _pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
