"""Device settings: where they are looked for, and that every fault in a file is named at once."""

from pathlib import Path

import pytest

from alledge import config
from alledge.config import DeviceConfig, draft_config, load_config, state_folder
from alledge.errors import UsageError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_everything_may_be_left_out(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "c.toml", "")) == DeviceConfig()


def test_a_whole_file(tmp_path: Path) -> None:
    got = load_config(write(tmp_path / "c.toml", """
        bundle.path = "m.alledge"
        camera.uri = "synthetic://?seed=1"
        engine = {name = "onnx", threads = 3}
        results = {database = "r.db", jsonl = "r.jsonl"}
        [display]
        name = "png"
        options = {path = "screens", size = "128x64"}
    """))
    assert (got.bundle.path, got.camera.uri, got.engine.threads) == (Path("m.alledge"), "synthetic://?seed=1", 3)
    assert (got.display.options, got.database) == ({"path": "screens", "size": "128x64"}, Path("r.db"))


def test_all_faults_at_once_with_what_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", """
        colour = 1
        [camera]
        url = "file://x"
        [engine]
        threads = 0
    """)
    with pytest.raises(UsageError) as caught:
        load_config(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "key colour is unknown, allowed are bundle, camera, engine, display, trigger, sample, led, results" in said
    assert "key camera.url is unknown, allowed are camera.uri" in said
    assert "engine.threads" in said
    assert "received 0" in said
    assert "\n" not in said


def test_a_draft_keeps_what_is_right_and_says_what_is_not(tmp_path: Path) -> None:
    draft = draft_config(write(tmp_path / "c.toml", """
        colour = {red = 1}
        [display]
        name = "png"
        options = {size = "128x64", path = ["a", "b"], when = 1979-05-27, fine = {ness = 1}}
        [engine]
        threads = "3"
        [bundle]
        trusted_keys = ["x", "y"]
        [results]
        floor = true
    """))
    assert {*draft.faults} == {"colour", "display.options.path", "display.options.when", "display.options.fine",
                               "engine.threads", "bundle.trusted_keys", "results.floor"}
    assert (draft.display.name, draft.display.options, draft.engine.threads) == ("png", {"size": "128x64"}, 1)
    assert "'x'" in draft.faults["bundle.trusted_keys"]
    assert "'y'" in draft.faults["bundle.trusted_keys"]
    assert draft.model_copy(update={"engine": draft.engine}).faults == draft.faults


@pytest.mark.parametrize(("text", "said"), [("a = ", "not valid TOML"), (None, "cannot read it"),
                                            ("camera = 3", "camera")])
def test_what_is_no_configuration(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "c.toml"
    if text is not None:
        write(path, text)
    with pytest.raises(UsageError, match=said):
        load_config(path)


def test_the_system_comes_before_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    assert load_config() == DeviceConfig()
    write(tmp_path / "home" / "alledge" / "config.toml", 'camera.uri = "file://user"')
    assert load_config().camera.uri == "file://user"
    write(tmp_path / "etc" / "config.toml", 'camera.uri = "file://system"')
    assert load_config().camera.uri == "file://system"


def test_state_goes_to_the_system_when_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "SYSTEM_STATE", tmp_path / "var")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    assert state_folder() == tmp_path / "home" / "alledge"
    assert DeviceConfig().database == tmp_path / "home" / "alledge" / "results.db"
    (tmp_path / "var").mkdir()
    assert state_folder() == tmp_path / "var"
