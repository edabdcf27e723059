"""`alledge model`, on real bundles and engines: what is kept, rolled back or refused, and what is told of it."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from alledge.archive import pack
from alledge.bundle import MANIFEST, MAX_BYTES, Bundle, write_bundle
from alledge.config import BundleSettings, CameraSettings, DeviceConfig, DisplaySettings, ResultSettings
from alledge.device import update
from alledge.device.health import Health, check_health
from alledge.device.slots import Slots, current
from alledge.device.update import Installation, commit, demand, install, roll_back
from alledge.errors import AlledgeError, BundleRefused, OutputError, UsageError
from alledge.images import write_png
from alledge.signing import SigningKey, new_key
from alledge.synthetic import draw_field

Cli = Callable[..., subprocess.CompletedProcess[str]]
CAMERA = "synthetic://?seed=1&size=96"


@dataclass(frozen=True)
class Lab:
    """Who makes bundles, and the device that trusts it."""

    folder: Path
    key: SigningKey
    config: DeviceConfig
    state: Path
    bundle: Bundle

    def make(self, name: str, key: SigningKey | None = None, **changes: Any) -> Path:
        """A bundle, rightly signed unless another key is given; `key=None` is this lab's."""
        return self.write(name, key or self.key, **changes)

    def write(self, name: str, key: SigningKey | None, **changes: Any) -> Path:
        members = {m.name: self.bundle.read(m.name) for m in self.bundle.manifest.members}
        path = self.folder / f"{name}.alledge"
        return write_bundle(path, self.bundle.manifest.model_copy(update=changes), members, key).path

    @property
    def events(self) -> list[str]:
        return [record.event for record in Slots(self.state).log.records]

    @property
    def in_use(self) -> str | None:
        path = current(self.state)
        return None if path is None else Bundle.open(path).id


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onnx_bundle: Bundle) -> Lab:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key = new_key(tmp_path / "lab.pem")
    config = DeviceConfig(bundle=BundleSettings(trusted_keys=(key.public,), board="bench"),
                          camera=CameraSettings(uri=CAMERA), results=ResultSettings(floor=0))
    return Lab(tmp_path, key, config, tmp_path / "state" / "alledge", onnx_bundle)


def test_a_good_bundle_is_checked_and_kept_and_replaced_by_a_newer_one(lab: Lab) -> None:
    first, second = lab.make("one", release=1), lab.make("two", release=2, compatible=["bench"], latency_ms=5000.0)
    done = install(lab.config, first, frames=2)
    assert (done.event, done.slot) == ("committed", "a")
    assert done.detail.startswith("1 goldens reproduced, ")
    assert done.detail.endswith("ms a field, 2 fields of the camera judged")
    assert install(lab.config, second, frames=0).slot == "b"
    assert install(lab.config, second).event == "unchanged"
    assert lab.in_use == Bundle.open(second).id
    assert lab.events == ["receiving", "verified", "trial", "committed"] * 2


def test_a_trial_waits_for_a_person(lab: Lab) -> None:
    first, second = lab.make("one"), lab.make("two", release=2)
    install(lab.config, first, frames=0)
    done = install(lab.config, second, manual=True, frames=0)
    assert (done.event, Slots(lab.state).state.trial) == ("trial", "manual")
    with pytest.raises(UsageError, match="a model is on trial"):
        install(lab.config, first)
    assert commit() == done.id
    with pytest.raises(UsageError, match="no model is on trial"):
        commit()
    back = roll_back()
    assert back is not None
    assert Bundle.open(back).id == Bundle.open(first).id
    assert roll_back() is None
    with pytest.raises(UsageError, match="no model is installed"):
        roll_back()


def unfit(lab: Lab, onnx_of: Callable[..., bytes], bundle_of: Callable[..., Bundle], what: str) -> Path:
    """A rightly signed bundle that this machine finds out about."""
    path = lab.folder / f"{what}.alledge"
    if what == "slow":
        return lab.make(what, latency_ms=0.001)
    if what == "goldens":
        made = bundle_of(path, onnx_of(), "onnx", probabilities=[0.7, 0.1, 0.1, 0.1])
    elif what == "nan":
        made = bundle_of(path, onnx_of(nan_below=9.0), "onnx", probabilities=[0.25] * 4)
    elif what == "nan in the dark":  # its golden field is bright enough
        made = bundle_of(path, onnx_of(nan_below=0.0), "onnx")
    else:
        made = bundle_of(path, onnx_of(), "onnx")
        members = {m.name: made.read(m.name) for m in made.manifest.members}
        made = write_bundle(path, made.manifest, {**members, "model.onnx": b"no model at all"})
    members = {m.name: made.read(m.name) for m in made.manifest.members}
    return write_bundle(path, made.manifest, members, lab.key).path


@pytest.mark.parametrize(("what", "says"), [("goldens", "probabilities differ by"), ("slow", "its limit is 0.001 ms"),
                                            ("nan", "received [nan"), ("nan in the dark", "received [nan"),
                                            ("no model", "does not load in onnxruntime")])
def test_what_is_not_fit_is_rolled_back_by_itself_with_the_reason(
        lab: Lab, onnx_of: Callable[..., bytes], bundle_of: Callable[..., Bundle], what: str, says: str) -> None:
    good = lab.make("good")
    install(lab.config, good, frames=0)
    write_png(lab.folder / "dark" / "f.png", draw_field("pro_b", 1, 96).rgb // 3)
    dark = lab.config.model_copy(update={"camera": CameraSettings(uri=f"file://{lab.folder / 'dark'}")})
    done = install(dark, unfit(lab, onnx_of, bundle_of, what), frames=3)
    assert (done.event, says in done.detail) == ("rolled back", True), done.detail
    with pytest.raises(BundleRefused, match="was rolled back"):
        demand(done)
    assert lab.in_use == Bundle.open(good).id
    last = Slots(lab.state).log.records[-1]
    assert (last.event, last.detail) == ("rolled back", done.detail)


def test_a_camera_that_gives_nothing_proves_nothing(lab: Lab) -> None:
    gone = lab.config.model_copy(update={"camera": CameraSettings(uri="file:///nowhere")})
    assert "cannot be opened" in install(gone, lab.make("one")).detail
    assert lab.in_use is None
    assert install(gone, lab.make("one"), frames=0).event == "committed"


def test_a_health_check_that_hangs_is_ended(lab: Lab) -> None:
    assert check_health(lab.bundle.path, lab.config, limit_s=0.05) == Health(
        "its health check gave no answer within 0.05 s")


def test_a_jetsons_engine_is_built_before_the_switch(lab: Lab, jetson: Callable[[str], Path],
                                                     jetson_bundle: Bundle) -> None:
    jetson("8.2.1")  # a stand-in
    members = {m.name: jetson_bundle.read(m.name) for m in jetson_bundle.manifest.members}
    path = write_bundle(lab.folder / "j.alledge", jetson_bundle.manifest, members, lab.key).path
    done = install(lab.config, path, frames=0)
    assert done.event == "committed", done.detail
    assert lab.events == ["receiving", "verified", "engine built", "trial", "committed"]


def test_ctrl_c_goes_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*ignored: Any) -> Health:
        raise KeyboardInterrupt

    monkeypatch.setattr(update, "check_health", interrupted)
    with pytest.raises(KeyboardInterrupt):
        install(lab.config, lab.make("one"))
    assert (lab.in_use, lab.events[-1]) == (None, "rolled back")


def rewritten(path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Path:
    bundle = Bundle.open(path)
    whole = path.read_bytes()
    begin = whole.index(MANIFEST.encode()) + len(MANIFEST)
    end = whole.index(b"PK\x03\x04", begin)
    members = {MANIFEST: whole[begin:end], **{m.name: bundle.read(m.name) for m in bundle.manifest.members}}
    path.write_bytes(pack(change(members)))
    return path


def swapped(members: dict[str, bytes]) -> dict[str, bytes]:
    picture, mask = "golden/g0.png", "golden/g0_mask.png"
    return {**members, picture: members[mask], mask: members[picture]}


def oversized(path: Path) -> Path:
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)  # a hole: it takes no room
    return path


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-100])
    return path


TAMPERING: dict[str, tuple[Callable[[Lab], Path], str]] = {
    "unsigned": (lambda lab: lab.write("x", None), "is unsigned, but only bundles signed by"),
    "wrong key": (lambda lab: lab.make("x", new_key(lab.folder / "other.pem")), "is signed by an unknown key"),
    "altered member": (lambda lab: rewritten(lab.make("x"), lambda m: {**m, "model.onnx": m["model.onnx"] + b"."}),
                       "member model.onnx was altered after it was written"),
    "swapped member": (lambda lab: rewritten(lab.make("x"), swapped), "member golden/g0.png was altered"),
    "older version": (lambda lab: lab.make("x", release=2), "is release 2, older than the installed one (release 3)"),
    "expired": (lambda lab: lab.make("x", release=4, expires=date(2020, 1, 31)), "expired on 2020-01-31"),
    "other board": (lambda lab: lab.make("x", release=4, compatible=["jetson-nano"]),
                    "is for 'jetson-nano', this one is 'bench'"),
    "oversized": (lambda lab: oversized(lab.make("x")), f"bytes are no bundle, expected at most {MAX_BYTES}"),
    "path traversal": (lambda lab: rewritten(lab.make("x"), lambda m: {**m, "../../etc/cron.d/x": b"x"}),
                       "member name '../../etc/cron.d/x' is not allowed"),
    "truncated": (lambda lab: truncated(lab.make("x")), "is truncated, it ends too early"),
}


def test_ten_kinds_of_tampering_are_refused_each_with_its_own_sentence(lab: Lab) -> None:
    install(lab.config, lab.make("good", release=3), frames=0)
    before, said = lab.in_use, []
    for make, says in TAMPERING.values():
        with pytest.raises(BundleRefused) as caught:
            install(lab.config, make(lab), frames=0)
        sentence = str(caught.value)
        assert says in sentence
        assert "\n" not in sentence
        said.append(says)
        assert Slots(lab.state).log.records[-1].detail == sentence
    assert len(set(said)) == 10
    assert lab.in_use == before
    assert lab.events[4:] == ["refused"] * 10


def test_other_labels_are_refused_and_in_the_log(lab: Lab) -> None:
    with pytest.raises(BundleRefused):  # which reads what it has written, and leaves it there
        lab.make("x", labels=["benign", "early_pre_b", "pre_b", "cat"])
    with pytest.raises(BundleRefused, match=r"its classes are .*cat"):
        install(lab.config, lab.folder / "x.alledge")
    assert lab.events == ["refused"]


def test_a_device_that_trusts_nobody_installs_nothing(lab: Lab) -> None:
    with pytest.raises(UsageError, match="trusts no key"):
        install(DeviceConfig(), lab.make("x"))


def test_results_keep_their_room(lab: Lab) -> None:
    tight = lab.config.model_copy(update={"results": ResultSettings(floor=10**9)})
    with pytest.raises(OutputError, match=r"must stay free, but .* MB left"):
        install(tight, lab.make("x"))
    assert lab.in_use is None


def test_of_a_folder_the_newest_that_may_be_is_taken(lab: Lab) -> None:
    stick = lab.folder / "stick"
    stick.mkdir()
    for name, release in (("old", 1), ("new", 7), ("middle", 3)):
        lab.make(name, release=release).rename(stick / f"{name}.alledge")
    lab.write("forged", None, release=9).rename(stick / "forged.alledge")
    lab.make("hidden", release=9).rename(stick / "._hidden.alledge")
    said: list[str] = []
    done = install(lab.config, stick, frames=0, say=said.append)
    assert done.id == Bundle.open(stick / "new.alledge").id
    assert "not taken:" in said[0]
    assert "is unsigned" in said[0]
    assert install(lab.config, stick, frames=0).event == "unchanged"
    (stick / "new.alledge").unlink()
    with pytest.raises(BundleRefused, match="none of 3 bundles may be installed here"):
        install(lab.config, stick)
    with pytest.raises(UsageError, match="found none"):
        install(lab.config, lab.state)


def test_an_installation_that_was_interrupted_gives_way_to_the_next(lab: Lab) -> None:
    good, other = lab.make("one", release=1), lab.make("two", release=2)
    install(lab.config, good, frames=0)
    slots = Slots(lab.state)
    slots.switch(slots.receive(Bundle.open(lab.make("never", release=1, tolerance=0.03))), "automatic")
    assert install(lab.config, other, frames=0) == Installation(
        Bundle.open(other).id, "b", "committed", slots.log.records[-1].detail)
    assert "its health check was interrupted" in next(
        record.detail for record in slots.log.records if record.event == "rolled back")


def test_as_a_user_would(lab: Lab, alledge: Cli) -> None:
    """Every command, the display, and that `run` takes what is installed."""
    settings = lab.folder / "device.toml"
    settings.write_text(f'[bundle]\ntrusted_keys = ["{lab.key.public}"]\npath = "{lab.bundle.path}"\n'
                        f'[camera]\nuri = "file://{lab.folder}/f.png"\n[results]\nfloor = 0\n'
                        f'[display]\nname = "png"\noptions = {{ path = "{lab.folder}/screen.png" }}\n')
    write_png(lab.folder / "f.png", draw_field("pro_b", 1, 96).rgb)
    good, bad = lab.make("good", release=1), lab.make("bad", release=2, latency_ms=0.001)
    done = alledge("model", "install", good, "--config", settings, "--frames", 1)
    assert (done.returncode, "in slot a, committed: 1 goldens" in done.stdout) == (0, True), done.stderr
    failed = alledge("model", "install", bad, "--config", settings, "--json")
    assert (failed.returncode, json.loads(failed.stdout)["event"]) == (5, "rolled back")
    assert "its limit is 0.001 ms; the model before it is in use" in failed.stderr
    assert b"Model rolled back" in (lab.folder / "screen.png").read_bytes()
    ran = alledge("run", "--config", settings, "--frames", 1, "--json")
    assert json.loads(ran.stdout)["bundle_id"] == Bundle.open(good).id
    served = alledge("daemon", "--config", settings, env={"RUNTIME_DIRECTORY": str(lab.folder)})
    assert Bundle.open(good).id in [json.loads(line).get("bundle_id") for line in served.stdout.splitlines()]
    shown = alledge("model", "show", "--config", settings)
    assert (shown.returncode, "slot a: " in shown.stdout, "release 1, signed by a trusted key" in shown.stdout) == (
        0, True, True)
    assert "rolled back: it takes" in shown.stdout
    path = current(lab.state)
    assert path is not None
    path.write_bytes(b"worn out")
    broken = alledge("model", "show", "--config", settings, "--json")
    assert (broken.returncode, len(json.loads(broken.stdout)["faults"])) == (1, 1)
    again = alledge("run", "--config", settings, "--frames", 1, "--json", "--display", "none")
    assert "the installed model was rolled back: it is damaged" in again.stderr
    assert (again.returncode, "is unsigned" in again.stderr) == (5, True), "the configured one is nobody's"


def test_refusals_of_the_command_line(lab: Lab, alledge: Cli) -> None:
    assert alledge("model", "commit").returncode == 2
    assert alledge("model", "rollback").returncode == 2
    missing = alledge("model", "install", lab.folder / "gone.alledge")
    assert (missing.returncode, "trusts no key" in missing.stderr) == (2, True)
    assert issubclass(BundleRefused, AlledgeError)


def test_a_refusal_is_shown_to_its_end_before_something_else_is(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from alledge.device import announcing
    from alledge.device.notice import refused

    class Glass:  # a stand-in for an OLED
        size, mode = (128, 64), "1"
        shown: ClassVar[list[bytes]] = []

        def show(self, picture: Image.Image, words: object) -> None:
            self.shown.append(picture.tobytes())

        def close(self) -> None: ...

    waited: list[float] = []
    monkeypatch.setattr(announcing, "open_display", lambda *ignored: Glass())
    monkeypatch.setattr("time.sleep", waited.append)
    oled = lab.config.model_copy(update={"display": DisplaySettings(name="ssd1306")})
    announcing.announce(oled, refused("is unsigned, but only bundles signed by a81f6d2090ce3b17 are accepted here; "
                                      "convert it with --sign and that key"), lasting=True)
    assert len(set(Glass.shown)) > 2, "a page each"
    assert Glass.shown[0] == Glass.shown[-1]
    assert sum(waited) >= 2.5 * len(Glass.shown)
    Glass.shown.clear()
    announcing.announce(oled, refused("is unsigned"))
    assert len(Glass.shown) == 1


def test_the_display_stays_out_of_the_way(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    from alledge.device.announcing import announce
    from alledge.device.notice import CHECKING_MODEL

    broken = DisplaySettings(name="png", options={"path": "/proc/nowhere/x.png"})
    announce(lab.config.model_copy(update={"display": broken}), CHECKING_MODEL)
    assert "the display does not show it" in capsys.readouterr().err
