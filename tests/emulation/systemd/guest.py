"""Runs as root in the virtual machine: puts alledge's units, as they are installed, through a service's life.

Standard library only; no unit has a drop-in. One line of JSON for each point that has to hold.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

UNIT, BACKUP = "alledge.service", "alledge-backup.service"
CONFIG = Path("/etc/alledge/config.toml")
STATE = Path("/var/lib/alledge")
PROGRAM = "/opt/alledge/bin/alledge"
EXPOSED = 2.5  # the most that is asked for
LIMIT_S = 300.0  # for anything to happen in an emulated machine
STEP_S = 1800  # for a step, should a command in it hang
SHOWN = ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd", "Uid")


def point(what: str, holds: object, found: str) -> None:
    """One line for the host."""
    print(json.dumps({"what": what, "holds": bool(holds), "found": found}), flush=True)


def main() -> None:
    """Everything after a start of the machine."""
    ready = until(active)
    took = stamp("ActiveEnterTimestampMonotonic") - stamp("ExecMainStartTimestampMonotonic")
    point("the unit starts with the machine: READY was told (Type=notify)", ready,
          f"{took:.1f} s after its process began; {shown('StatusText')}")
    point("results are told", until(lambda: len(events("result")) >= 3), verdicts())
    signal.signal(signal.SIGALRM, late)
    for step in (sandboxed, exposed, reloaded, killed, silent, stuck, refused, camera, backed_up, stick, ended, kept,
                 uninstalled):
        signal.alarm(STEP_S)
        try:
            step()
        except Exception as error:
            point(f"the step `{step.__name__}` comes to its end", False, f"{type(error).__name__}: {error}")
        signal.alarm(0)
    point("the machine", True, f"{said('systemctl', '--version').splitlines()[0]}, Linux {os.uname().release}")


def late(*_: object) -> None:
    """Leave a step that hangs."""
    raise TimeoutError(f"not done after {STEP_S} s")


def sandboxed() -> None:
    """What the kernel says of the process, not what the unit asks for."""
    number = pid()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{number}/status").read_text().splitlines())
    point("the kernel confirms: no new privileges, system calls filtered, no capability left to have",
          (status["NoNewPrivs"], status["Seccomp"], int(status["CapEff"], 16), int(status["CapBnd"], 16))
          == ("1", "2", 0, 0), ", ".join(f"{name} {status[name].split()[0]}" for name in SHOWN))
    user = said("id", "-u", "alledge").strip()
    point("it runs as the user alledge", user and status["Uid"].split() == [user] * 4, f"uid {user}")
    apart = [name for name in ("net", "mnt") if os.readlink(f"/proc/{number}/ns/{name}") != os.readlink(
        f"/proc/1/ns/{name}")]
    point("it has a network (none) and mounts of its own", apart == ["net", "mnt"], ", ".join(apart))
    inside = ["nsenter", "-t", str(number), "-m"]
    shut = [path for path in ("/etc", "/opt/alledge", "/usr", "/home")
            if subprocess.run([*inside, "touch", f"{path}/x"], capture_output=True, check=False).returncode]
    written = subprocess.run([*inside, "-S", user, "-G", user, "touch", str(STATE / "x")], check=False).returncode == 0
    point("among its mounts its user writes its state folder, and not even root /etc, /opt/alledge, /usr, /home",
          len(shut) == 4 and written, f"refused: {', '.join(shut)}")
    (STATE / "x").unlink(missing_ok=True)


def exposed() -> None:
    """systemd's own judgement of the units it has loaded."""
    for unit in (UNIT, BACKUP, "alledge-model@sda1.service"):
        text = said("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
        level = float(text.partition(": ")[2].split()[0])
        point(f"`systemd-analyze security {unit}` is {EXPOSED} or less", level <= EXPOSED, f"{level}")


def reloaded() -> None:
    """SIGHUP by `systemctl reload`: a good configuration is taken, a wrong one is not."""
    number, good = pid(), CONFIG.read_text()
    CONFIG.write_text(good.replace("seconds = 4", "seconds = 3"))
    done = subprocess.run(["systemctl", "reload", UNIT], check=False)
    point("reload: a good configuration is taken by the same process",
          done.returncode == 0 and until(lambda: events("reloaded")) and pid() == number, f"pid {number} stays")
    CONFIG.write_text(good + "\n[camra]\n")
    subprocess.run(["systemctl", "reload", UNIT], check=False)
    held = until(lambda: events("reload-refused"))
    before = len(events("result"))
    point("reload: a wrong one is refused, the same process goes on judging with the old one",
          held and until(lambda: len(events("result")) > before + 1) and pid() == number and active(),
          events("reload-refused")[-1]["why"] if held else "it was not refused")
    CONFIG.write_text(good)


def killed() -> None:
    """kill -9: systemd starts it again."""
    number, before = pid(), len(events("result"))
    os.kill(number, 9)
    point("kill -9: started again, ready and judging",
          until(lambda: again(number) and len(events("result")) > before + 1), f"NRestarts {shown('NRestarts')}")


def silent() -> None:
    """SIGSTOP: a process that does nothing at all."""
    number, begun = pid(), uptime()
    os.kill(number, 19)
    back = until(lambda: again(number))
    point("watchdog: a process that was stopped (SIGSTOP) is killed after WatchdogSec and started again",
          back and journal().count("Watchdog timeout") == 1,
          f"WatchdogUSec {shown('WatchdogUSec')}, ready again after {uptime() - begun:.0f} s")


def stuck() -> None:
    """A disk that answers no write (a frozen file system): one thread hangs in the kernel, all others go on."""
    number, begun = pid(), uptime()
    until(lambda: len(events("result")) > 2)
    subprocess.run(["fsfreeze", "--freeze", str(STATE)], check=True)
    try:
        shot = until(lambda: journal().count("Watchdog timeout") == 2)
        after, told = uptime() - begun, events("stuck")
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(STATE)], check=True)
    stage = events("stuck")[-1]["stage"] if told else "none"
    point("watchdog: a stage that hangs in a disk is named, and no longer vouched for though the program runs",
          told and shot, f"stage {stage}; shot by systemd {after:.0f} s after the disk went still")
    point("as soon as the disk answers it dies, is started again and judges", until(lambda: again(number)),
          f"NRestarts {shown('NRestarts')}")


def refused() -> None:
    """A start that cannot succeed, tried again until it does."""
    good = CONFIG.read_text()
    subprocess.run(["systemctl", "stop", UNIT], check=False)
    CONFIG.write_text(good.replace("synthetic://?seed=1", "file:///nothing"))
    subprocess.run(["systemctl", "start", "--no-block", UNIT], check=False)
    tried = until(lambda: len(events("start-failed")) >= 3)
    failed = events("start-failed")
    point("a start without its camera fails, says why and is tried again and again", tried and not active(),
          f"{failed[-1]['why']}; {len(failed)} starts" if failed else "no start failed")
    CONFIG.write_text(good)
    point("once the configuration is mended it starts by itself", until(active), shown("StatusText"))


def camera() -> None:
    """A V4L2 device (the kernel's vivid) through the unit's list of devices."""
    good, before = CONFIG.read_text(), len(events("result"))
    if subprocess.run(["modprobe", "vivid", "n_devs=1", "node_types=0x1"], check=False).returncode:
        return point("the kernel has its emulated camera (vivid)", False, "modprobe failed")
    subprocess.run(["udevadm", "settle"], check=False)
    CONFIG.write_text(good.replace("synthetic://?seed=1", "v4l2:///dev/video0?width=640&height=480&format=YUYV"))
    subprocess.run(["systemctl", "restart", UNIT], check=False)
    judged = until(lambda: len(events("result")) > before + 1, 120)
    why = "; ".join(sorted({event["why"] for event in events("start-failed")})[-1:])
    point("a V4L2 camera (the kernel's emulated one, vivid) can be used from within the sandbox", judged,
          verdicts() if judged else why)
    CONFIG.write_text(good)
    subprocess.run(["systemctl", "restart", UNIT], check=False)
    until(active)
    return None


def backed_up() -> None:
    """The timer, by setting the clock, while the daemon works."""
    begun, number = time.time(), pid()
    subprocess.run(["systemctl", "start", "alledge-backup.timer"], check=False)
    subprocess.run(["date", "-s", f"@{int(begun) + 86400 + 3600}"], stdout=subprocess.DEVNULL, check=False)
    copied = until(lambda: list(STATE.glob("backups/results-*.db")) and shown("ActiveState", BACKUP) == "inactive")
    point("the timer starts the backup when its hour has passed, and it ends well under its own sandbox",
          copied and (shown("Result", BACKUP), shown("ExecMainStatus", BACKUP)) == ("success", "0"),
          ", ".join(path.name for path in STATE.glob("backups/results-*.db")) + ", made and read whole")
    point("the daemon goes on although the clock was set by a day", pid() == number and active(), f"pid {number}")


def stick() -> None:
    """A memory stick with a signed release comes into the socket: udev, the template unit, the update, the start."""
    number, begun = pid(), uptime()
    next(path for path in Path("/sys/bus/usb/devices").glob("[0-9]*/authorized") if ":" not in path.parent.name
         ).write_text("1")  # of a device, neither a root hub's nor an interface's
    done = until(lambda: {"Finished", "Failed"} & set(said("journalctl", "-o", "cat", "-u", "alledge-model@*").split()))
    model = json.loads(said(PROGRAM, "model", "show", "--config", str(CONFIG), "--json", user="alledge") or "{}")
    last = model["events"][-1]["event"] if model.get("events") else said("journalctl", "-o", "cat", "-u",
                                                                         "alledge-model@*")[-400:]
    point("a memory stick (FAT, emulated USB) with a signed release is mounted, checked, installed and kept",
          done and last == "committed" and not model["faults"], f"{last} {uptime() - begun:.0f} s after it came")
    before = len(events("result"))
    back = until(lambda: again(number) and len(events("result")) > before)
    running = events("self-test-passed")[-1]["bundle_id"]
    point("the device was stopped for it, starts again by itself and judges with the new release",
          back and running in {slot["id"] for slot in model["slots"].values()}, f"bundle {running}")


def ended() -> None:
    """SIGTERM."""
    until(active)
    done = subprocess.run(["systemctl", "stop", UNIT], check=False).returncode
    result, code = shown("Result"), shown("ExecMainStatus")
    fields = events("stopped")[-1]["fields"] if events("stopped") else "no event of"
    point("SIGTERM: it finishes what is in hand and ends with code 0 and the event `stopped`",
          done == 0 and (result, code) == ("success", "0") and isinstance(fields, int),
          f"Result {result}, ExecMainStatus {code}, {fields} fields")


def kept() -> None:
    """Every result that the journal says was acknowledged, in all lives of the process."""
    out = STATE / "all.jsonl"
    said(PROGRAM, "results", "export", str(out), "--config", str(CONFIG), user="alledge")
    rows = {row["sequence"]: row["hash"] for row in map(json.loads, out.read_text().splitlines())}
    told = {event["result"]["sequence"]: event["result"]["hash"] for event in events("result")}
    lost = [number for number in told if rows.get(number) != told[number]]
    sound = subprocess.run(["runuser", "-u", "alledge", "--", PROGRAM, "results", "verify", "--config", str(CONFIG)],
                           capture_output=True, check=False)
    point("every result in the journal is in the database with its hash, and the chain verifies",
          told and not lost and sound.returncode == 0, f"{len(told)} told, {len(lost)} lost, {len(rows)} kept")
    denied = [line for line in said("journalctl", "-b", "-k", "-o", "cat").splitlines() if "seccomp" in line.lower()]
    point("no system call was answered by the kernel with a kill", not denied, f"{len(denied)} lines in its log")


def uninstalled() -> None:
    """Back, while the service runs."""
    subprocess.run(["systemctl", "start", UNIT], check=False)
    done = subprocess.run([PROGRAM, "device", "uninstall"], capture_output=True, text=True, check=False)
    gone = shown("LoadState") == "not-found" and not Path("/opt/alledge").exists()
    point("`alledge device uninstall` stops the running service, takes the units and keeps the results",
          done.returncode == 0 and gone and (STATE / "results.db").exists(),
          f"exit code {done.returncode}, LoadState {shown('LoadState')}")


def events(name: str) -> list[dict[str, Any]]:
    """The daemon's events of this name, from the journal."""
    return list(_events(journal().splitlines(), name))


def _events(lines: Iterable[str], name: str) -> Iterable[dict[str, Any]]:
    for line in lines:
        if line.startswith("{"):
            event = json.loads(line)
            if event["event"] == name:
                yield event


def verdicts() -> str:
    """How many results there are, and what the last says."""
    told = events("result")
    return f"{len(told)} results, the last: {told[-1]['result']['verdict']}" if told else "none"


def journal() -> str:
    """What the unit and systemd said of it, of all lives of the machine."""
    return said("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")


def active() -> bool:
    """Whether READY was told, and the unit is not on its way out."""
    return shown("ActiveState") == "active"


def again(before: int) -> bool:
    """Whether another process is ready."""
    return pid() not in (0, before) and active()


def pid() -> int:
    """The unit's main process, or 0."""
    return int(shown("MainPID"))


def stamp(name: str) -> float:
    """A moment in seconds since the machine's start."""
    return int(shown(name)) / 1e6


def shown(name: str, unit: str = UNIT) -> str:
    """A property of a unit."""
    return said("systemctl", "show", "-p", name, "--value", unit).strip()


def until(holds: Callable[[], object], limit_s: float = LIMIT_S) -> bool:
    """Wait for it."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(4)  # asking costs an emulated processor a second
    return False


def said(*command: str, user: str = "") -> str:
    """What a command prints."""
    before = ["runuser", "-u", user, "--"] if user else []
    return subprocess.run([*before, *command], stdout=subprocess.PIPE, text=True, check=False).stdout


def uptime() -> float:
    """Seconds since the machine's start."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


if __name__ == "__main__":
    main()
