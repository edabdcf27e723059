"""Run a program as root of a folder's system: its own users, processes and mounts, and no network at all.

Unlike arm64/userland.py's, this one may give files to other users, as an installation does, and lets a program start
others of its own processor: binfmt_misc of a user namespace (Linux 6.7) has QEMU run them.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

# unshare(1) starts it before its users are mapped, which costs it its rights; starting another shell brings them back.
_ENTER = 'read go && exec sh -c "$0" "$@"'
_CAGE = """
root="$0"
mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" && mount -t proc proc "$root/proc" || exit 125
if [ -n "$BINFMT" ]; then
  mount -t binfmt_misc binfmt_misc "$root/proc/sys/fs/binfmt_misc" || exit 125
  printf '%s' "$BINFMT" > "$root/proc/sys/fs/binfmt_misc/register" || exit 125
fi
exec chroot "$root" "$@"
"""
# ELF of 64 bits for AArch64 (machine 183), as Debian's qemu-user-binfmt registers it; F: QEMU is opened here and now.
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_IDS = "0 0 65536\n"


def run_caged(root: Path, *command: str, qemu: Path | None, cpu: str = "cortex-a72",
              seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of the system in a folder, for this machine's processor or for `qemu`'s.

    After so many seconds it is killed (-9) with all that it started.

    Raises:
        SystemExit: when there can be no cage, as this user or on this kernel.
    """
    line = ["unshare", "--user", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "sh", "-c", _ENTER,
            _CAGE, str(root), *command]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "QEMU_CPU": cpu,
                   "BINFMT": f":aarch64:M::{_MAGIC}:{_MASK}:{qemu}:F" if qemu else ""}
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment)
    _map_users(process.pid)
    try:
        out, err = process.communicate("go\n", timeout=seconds)
    except subprocess.TimeoutExpired:
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGKILL)  # the first process of its namespace takes all others with it
        out, err = process.communicate()
        return subprocess.CompletedProcess(command, -signal.SIGKILL, out, err)
    if process.returncode == 125:
        raise SystemExit(f"no cage can be made here: {err.strip()}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _map_users(pid: int) -> None:
    """Every user of the caged system is the one of that number here, which only root may say."""
    own, place = os.readlink("/proc/self/ns/user"), Path(f"/proc/{pid}")
    while (place / "ns/user").readlink() == Path(own):
        time.sleep(0.01)
    (place / "uid_map").write_text(_IDS)
    (place / "gid_map").write_text(_IDS)
