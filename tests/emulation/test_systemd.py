"""What the proof in a virtual machine is made of and how it judges. The proof: tests/emulation/systemd/run.py."""

import datetime
import importlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alledge import reference
from alledge.bundle import Bundle

FOLDERS = ("vm", "systemd")
MODULES = ("image", "machine", "guest", "page", "run")


@pytest.fixture(scope="module")
def proof():
    """The scripts' modules by name, taken away again."""
    places = [str(Path(__file__).parent / folder) for folder in FOLDERS]
    before = sys.path.copy()
    sys.path[:0] = places
    found = {name: importlib.import_module(name) for name in MODULES}
    sys.path[:] = before
    for name in MODULES:
        del sys.modules[name]
    return found


def tool(*names):
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}")


def test_the_image_is_refused_where_it_cannot_be_made_and_taken_where_it_is(proof, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="mmdebstrap, unshare"):
        proof["image"].make_image(tmp_path)
    boot = tmp_path / "tree/boot"
    boot.mkdir(parents=True)
    for name in ("vmlinuz-6", "initrd.img-6"):
        (boot / name).touch()
    assert proof["image"].make_image(tmp_path).kernel == boot / "vmlinuz-6"


def test_the_unit_that_runs_the_proof_is_one_for_systemd(proof, tmp_path):
    tool("systemd-analyze")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    proof["image"].furnish(tmp_path)
    units = tmp_path / "etc/systemd/system"
    assert (units / "multi-user.target.wants/proof.service").is_symlink()
    done = subprocess.run(["systemd-analyze", "verify", "--recursive-errors=one", units / "proof.service"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_machine_has_disks_of_its_own_no_network_and_no_display(proof, tmp_path):
    tool("mke2fs", "debugfs")
    for name in ("tree", "program"):
        (tmp_path / name).mkdir()
    (tmp_path / "program/guest.py").write_text("found me")
    image = proof["image"].Image(tmp_path / "tree", tmp_path / "k", tmp_path / "i")
    found = proof["machine"].Machine(image, image.tree, tmp_path, tmp_path / "program", tmp_path / "stick.img")
    line = [str(word) for word in found.command()]
    assert [line[line.index(option) + 1] for option in ("-nic", "-accel", "-display")] == ["none", "tcg", "none"]
    assert [word for word in line if word.endswith(".img")] == [
        *(f"if=virtio,format=raw,cache=unsafe,file={tmp_path / name}" for name in ("root.img", "state.img",
                                                                                  "program.img")),
        f"if=none,id=stick,format=raw,file={tmp_path / 'stick.img'}"]
    read = subprocess.check_output(["debugfs", "-R", "cat /guest.py", tmp_path / "program.img"], text=True,
                                   stderr=subprocess.DEVNULL)
    assert read == "found me"


def test_what_a_machine_tells_is_read_and_one_that_hangs_is_ended(proof, monkeypatch):
    """A stand-in for QEMU: a shell that tells a line when its input has not ended, and another, then sleeps."""
    tool("sh", "sleep", "timeout", "cat")
    machine = object.__new__(proof["machine"].Machine)
    script = """timeout 0.2 cat; [ $? = 124 ] && echo '{"what": "a", "holds": true}'
    echo '{"what": "b", "holds": false}'; exec sleep 60"""
    monkeypatch.setattr(machine, "command", lambda: ["sh", "-c", script], raising=False)
    assert [line["what"] for line in machine.lines(2.0)] == ["a", "b"]


def test_a_stick_is_a_fat_with_its_name_and_the_bundle(proof, tmp_path):
    tool("mformat", "mcopy", "mdir", "mlabel")
    stick = proof["run"].make_stick(tmp_path / "stick.img", Bundle.open(reference.BUNDLE).path)
    assert "ALLEDGE" in subprocess.check_output(["mlabel", "-i", stick, "-s", "::"], text=True)
    assert reference.BUNDLE.name in subprocess.check_output(["mdir", "-b", "-i", stick, "::"], text=True)


def test_events_are_found_among_what_else_a_journal_says(proof, monkeypatch):
    lines = ["Starting alledge.service...", json.dumps({"event": "result", "result": {"verdict": "pre_b"}}),
             json.dumps({"event": "state"}), "Watchdog timeout (limit 1min)!"]
    monkeypatch.setattr(proof["guest"], "journal", lambda: "\n".join(lines))
    assert [event["result"]["verdict"] for event in proof["guest"].events("result")] == ["pre_b"]
    assert proof["guest"].verdicts() == "1 results, the last: pre_b"
    assert proof["guest"].events("stuck") == []


def test_a_step_that_breaks_or_hangs_is_a_point_that_does_not_hold_and_the_others_are_made(proof, monkeypatch, capsys):
    guest = proof["guest"]
    steps = ("sandboxed", "exposed", "reloaded", "killed", "silent", "stuck", "refused", "camera", "backed_up", "stick",
             "ended", "kept", "uninstalled")
    for name in steps:
        monkeypatch.setattr(guest, name, lambda: None)
    for name, value in {"until": lambda holds: True, "shown": lambda name: "0", "said": lambda *words: "systemd 257",
                        "verdicts": lambda: ""}.items():
        monkeypatch.setattr(guest, name, value)

    def killed():
        raise ProcessLookupError("no such process")

    monkeypatch.setattr(guest, "killed", killed)
    monkeypatch.setattr(guest, "STEP_S", 1)
    monkeypatch.setattr(guest, "stick", lambda: subprocess.run(["sleep", "30"], check=False))
    before = signal.getsignal(signal.SIGALRM)
    try:
        guest.main()
    finally:
        signal.signal(signal.SIGALRM, before)
    points = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [point["holds"] for point in points] == [True, True, False, False, True]
    assert "no such process" in points[2]["found"]
    assert "not done after 1 s" in points[3]["found"]
    assert points[-1]["what"] == "the machine"


@pytest.mark.parametrize("told", [[], ["reload"]])
def test_a_machine_that_does_not_come_to_its_end_fails_the_proof(proof, tmp_path, told):
    class Dies:
        console = tmp_path / "console.log"

        def lines(self, limit_s):
            return ({"what": name, "holds": True, "found": ""} for name in told)

    points = proof["run"].live(Dies())
    assert len(points) == len(told) + 1
    assert not points[-1]["holds"]


def test_the_page_says_emulated_and_counts(proof):
    points = [{"what": "reload", "holds": True, "found": "a | b"}, {"what": "watchdog", "holds": False, "found": ""}]
    text = proof["page"].page(points, "QEMU emulator version 7", "x86_64", 3.0, datetime.date(2026, 1, 2))
    assert "**A virtual machine, emulated (QEMU emulator version 7, TCG" in text
    assert "**1 of 2 points hold.**" in text
    assert "| watchdog |  | **no** |" in text
    assert "a / b" in text
