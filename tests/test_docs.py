"""The documents agree with the code: every command, option, key and link."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from alledge.cli import COMMANDS, _import
from alledge.config import DeviceConfig
from alledge.errors import CameraError
from alledge.manifest import Manifest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "firmware_configs").rglob("*.md")])


def commands():
    """(name, command) of every command and sub-command."""
    for name in COMMANDS:
        command = _import(name)
        for sub, inner in getattr(command, "commands", {}).items() or [("", command)]:
            yield f"{name} {sub}".strip(), inner


def section(name):
    """The part of commands.md about a command: its own heading, or its group's."""
    parts = re.split(r"^## (.+)$", (ROOT / "docs" / "commands.md").read_text(), flags=re.M)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return found.get(name) or found[name.split()[0]]


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda v: v if isinstance(v, str) else "")
def test_every_option_is_documented_and_explained(name, command):
    text = section(name)
    for parameter in command.params:
        for option in [o for o in parameter.opts if o.startswith("--") and o not in ("--json", "--help")]:
            assert option in text, f"docs/commands.md says nothing of {option} of {name}"
    assert "alledge " in (command.help or ""), f"{name} --help has no example"


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda v: v if isinstance(v, str) else "")
def test_no_option_is_documented_that_does_not_exist(name, command):
    if " " in name and name.split()[0] == "results":
        return  # one section for three sub-commands
    known = {o for p in command.params for o in p.opts} | {"--json", "--debug"}
    assert set(re.findall(r"`(--[a-z-]+)", section(name))) <= known


def test_every_configuration_key_is_documented():
    text = (ROOT / "docs" / "configuration.md").read_text()
    for part, field in DeviceConfig.model_fields.items():
        assert f"[{part}]" in text
        for key in field.annotation.model_fields:
            assert f"`{key}`" in text, f"docs/configuration.md says nothing of {key} in [{part}]"


def test_every_manifest_key_is_documented():
    text = (ROOT / "docs" / "bundle.md").read_text()
    for key in Manifest.model_fields:
        assert f"`{key}`" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_documents_exist(document):
    text = document.read_text("utf-8")
    for word in re.findall(r"^(?:\$ )?alledge ([a-z]+)", text, re.M) + re.findall(r"`alledge ([a-z]+)", text):
        assert word in COMMANDS, f"{document.name} names `alledge {word}`"
    for script in re.findall(r"benchmarks/[a-z_]+\.py", text):
        assert (ROOT / script).exists(), f"{document.name} names {script}"


def test_readme_names_the_commands_a_newcomer_needs_and_the_makefile_has_them():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, re.M)
    assert "RESEARCH USE ONLY" in readme


def test_every_warning_of_use_is_on_the_command_line_too():
    done = subprocess.run([sys.executable, "-m", "alledge", "--help"], capture_output=True, text=True, check=True)
    assert "RESEARCH USE ONLY" in " ".join(done.stdout.split())
    assert all(name in done.stdout for name in COMMANDS)


def test_commands_are_typer_commands():
    assert all(isinstance(command, typer.core.TyperCommand) for _, command in commands())


def test_the_example_back_end_works_as_it_stands(tmp_path, monkeypatch):
    import alledge.device.camera as cameras

    code = re.search(r"```python\n(.+?)```", (ROOT / "docs" / "new-backend.md").read_text(), re.S).group(1)
    (tmp_path / "npy.py").write_text(code)
    monkeypatch.setattr(cameras, "__path__", [*cameras.__path__, str(tmp_path)])
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    camera = cameras.open_camera(f"npy://{tmp_path / 'frames.npy'}")
    seen = [camera.read() for _ in range(4)]
    assert seen[3] is None
    assert np.array_equal([frame.rgb for frame in seen[:3]], frames)
    camera.close()
    with pytest.raises(CameraError, match="cannot be opened"):
        cameras.open_camera("npy://absent.npy")


def test_the_memory_that_conversion_demands_is_the_documented_one():
    from alledge.convert import memory

    said = (f"about {memory.LIBRARIES / 2**30:.1f} GiB, {memory.PER_PIXEL} times the tiles, and {memory.PER_WEIGHT} "
            f"times the weights for `cpu` and `coral`, {memory.PER_ONNX_WEIGHT} times for the others")
    assert said in " ".join(section("convert").split())


def test_the_page_on_quality_has_every_figure_and_limit():
    from alledge.device import quality

    text = (ROOT / "docs" / "quality.md").read_text("utf-8")
    figures = {*quality.measure(np.zeros((64, 64, 3), np.uint8)), "stain"}
    assert all(f"| `{name}` |" in text for name in figures)
    bad = {"focus": 0.0, "level": 0.0, "saturated": 1.0, "black": 0.0, "glass": 0.0, "cast": 9.0, "stain": 9.0}
    said = {sentence.partition(":")[0] for sentence in quality.complaints(bad)}
    said |= {sentence.partition(":")[0] for sentence in quality.complaints({**bad, "black": 1.0})}
    assert len(said) == len(figures)
    assert all(f"| {words} |" in text for words in said)
    assert f"below {quality.FOCUS_MIN:.2f} |" in text
    for limit in (quality.CAST_MAX, quality.STAIN_MAX):
        assert f"above {limit:.1f} |" in text
    for share in (quality.SATURATED_MAX, quality.BLACK_MAX):
        assert f"above {share:.0%}".replace("%", " %") in text
    assert f"below {quality.LEVEL_MIN:.0f} |" in text
    assert f"below {quality.GLASS_MIN:.0%} |".replace("%", " %") in text
