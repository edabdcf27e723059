"""What the power-cut proof may do to a disk, and a sample of it. The proof itself: tests/emulation/power_cut/run.py."""

import importlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

PROOF = Path(__file__).parent / "power_cut"
MODULES = ("write_log", "recorded_disk")


@pytest.fixture(scope="module")
def proof():
    """The script's modules by name, taken away again."""
    sys.path.insert(0, str(PROOF))
    found = {name: importlib.import_module(name) for name in MODULES}
    sys.path.remove(str(PROOF))
    for name in MODULES:
        del sys.modules[name]
    return found


def head(count):
    return struct.pack("<QQQI", 0x6A736677736872, 1, count, 512).ljust(512, b"\0")


def request(sector, data=b"", flags=0):
    return struct.pack("<QQQQ", sector, len(data) // 512, flags, len(data)).ljust(512, b"\0") + data


def test_a_log_is_followed_while_it_grows(proof, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(head(0) + bytes(1 << 16))
    log = proof["write_log"].WriteLog(path)
    assert log.follow() == 0
    with path.open("r+b") as file:
        file.write(head(3) + request(8, b"a" * 1024) + request(0, flags=1))
        file.flush()
        assert log.follow() == 2
        file.write(request(2, b"b" * 512, flags=1))
        file.flush()
        assert log.follow() == 3
    log.close()
    assert [(entry.at, entry.data, entry.flush) for entry in log.entries] == [
        (4096, b"a" * 1024, False), (0, b"", True), (1024, b"b" * 512, True)]


def test_requests_that_cannot_be_played_back_and_other_files_are_refused(proof, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(head(1) + request(8, flags=4) + bytes(4096))
    with pytest.raises(ValueError, match="request 0 has the flags 4"):
        proof["write_log"].WriteLog(path).follow()
    path.write_bytes(bytes(8192))
    with pytest.raises(ValueError, match="not the log"):
        proof["write_log"].WriteLog(path).close()


def test_what_was_flushed_stays_and_the_rest_is_there_dropped_or_torn(proof):
    entry = proof["write_log"].Entry
    entries = [entry(0, b"a" * 1024, False), entry(0, b"", True), entry(0, b"b" * 1024, False),
               entry(2048, b"c" * 512, False)]
    seen = set()
    for seed in range(200):
        disk = proof["write_log"].Disk(bytes(4096), entries)
        seen.add(bytes(disk.cut(4, random.Random(seed))))
    states = {(held[:512][:1], held[512:1024][:1], held[2048:2560][:1]) for held in seen}
    assert states == {(x, y, z) for x in (b"a", b"b") for y in (b"a", b"b") for z in (b"\0", b"c")}
    assert all(held[1024:2048] == bytes(1024) and held[2560:] == bytes(1536) for held in seen)


def test_cuts_go_on_from_what_was_flushed_and_never_from_what_was_perhaps_there(proof):
    entry = proof["write_log"].Entry
    entries = [entry(512 * n, bytes([n + 1]) * 512, False) for n in range(4)] + [entry(0, b"", True),
                                                                               entry(0, b"e" * 512, False)]
    disk, chance = proof["write_log"].Disk(bytes(2048), entries), random.Random(1)
    for end in (1, 2, 3, 4):
        disk.cut(end, chance)
    assert disk.dropped
    assert disk.cut(6, chance)[512:] == b"".join(e.data for e in entries[1:4])


def test_a_superblock_torn_between_its_sectors_is_repaired_with_all_that_was_kept(proof, tmp_path):
    if absent := [tool for tool in ("mke2fs", "e2fsck", "debugfs") if shutil.which(tool) is None]:
        pytest.skip(f"not here: {', '.join(absent)}")
    disk, image = proof["recorded_disk"], tmp_path / "disk.img"
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "kept").write_text("a result")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "1024", "-d", tmp_path / "files", image, "16M"], check=True)
    assert disk.sound(image)
    held = bytearray(image.read_bytes())
    held[1024 + 44] ^= 1  # the time of the last mount, in the first sector; the checksum is in the second
    image.write_bytes(held)
    assert not disk.sound(image)
    assert "Superblock checksum does not match superblock" in disk.repair(image)
    assert disk.sound(image)
    read = subprocess.run(["debugfs", "-R", "cat /kept", image], capture_output=True, text=True, check=True)
    assert read.stdout == "a result"
    image.write_bytes(bytes(1 << 20))
    with pytest.raises(subprocess.CalledProcessError):
        disk.repair(image)


def may_mount():
    """Whether this process may have mounts of its own."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


def test_a_sample_of_the_cuts_loses_nothing(proof, tmp_path):
    if absent := proof["recorded_disk"].missing():
        pytest.skip(f"not here: {', '.join(absent)}")
    if not may_mount():
        pytest.skip("mounting a disk needs root")
    done = subprocess.run([sys.executable, PROOF / "run.py", "--results", "20", "--cuts", "4", "--install-cuts", "2"],
                          capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["results"]["cuts"], found["models"]["cuts"]) == (4, 2)
    assert found["results"]["acknowledged"] >= 20
    assert found["results"]["flushes"] > 20
