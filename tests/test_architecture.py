"""The house keeps its shape: who may import whom, what is packaged, how large a room may be."""

import ast
import graphlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import alledge

ROOT = Path(__file__).parent.parent
STAGES = ("train", "convert", "device")
CORE_LIBRARIES = {"PIL", "cryptography", "cv2", "numpy", "pydantic", "rich", "tomli", "typer"}
HEAVY = ("keras", "tensorflow", "sklearn", "scipy", "matplotlib", "onnx", "onnxruntime", "ai_edge_litert", "torch")

SOURCES = sorted(p for folder in ("alledge", *STAGES, "firmware_configs") for p in (ROOT / folder).rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "alledge" else ("alledge", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, top_level_only=False):
    """Absolute names of all modules a file imports."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            known = [f"{base}.{n.name}" for n in node.names]
            yield from (k if k in MODULES else base for k in known)


MODULES = {module_of(p): p for p in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_only_to_the_vocabulary(path):
    own = module_of(path).split(".")[1] if module_of(path).count(".") else ""
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "alledge" and len(parts) > 1 and parts[1] in STAGES:
            assert parts[1] == own, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "alledge")],
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_the_vocabulary_needs_only_the_light_libraries(path):
    foreign = {n.split(".")[0] for n in imports(path)} - set(sys.stdlib_module_names) - {"alledge"}
    assert foreign <= CORE_LIBRARIES


@pytest.mark.parametrize("stage", ["alledge.cli", *(f"alledge.{s}.cli" for s in STAGES)])
def test_help_loads_nothing_heavy(stage):
    program = f"import sys, {stage}; print([m for m in {(*HEAVY, 'cv2')!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(done.stdout)
    assert not loaded if stage != "alledge.train.cli" else not set(loaded) - {"cv2"}


def test_there_is_no_import_cycle():
    graph = {name: {n for n in imports(path, top_level_only=True) if n in MODULES and n != name}
             for name, path in MODULES.items()}
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    order = graphlib.TopologicalSorter({n: {d for d in deps if not (d in packages and n.startswith(f"{d}."))}
                                        for n, deps in graph.items()})
    assert len(list(order.static_order())) >= len(MODULES)


def test_every_package_is_listed_and_mapped():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for path in SOURCES:
        if path.name == "__init__.py":
            assert f'"{module_of(path)}"' in text, f"pyproject.toml does not list {module_of(path)}"
    for path in SOURCES:
        assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"


def test_nothing_but_alledge_lands_in_site_packages(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    for folder in ("alledge", *STAGES, "firmware_configs"):  # a copy: an old build/ here would be shipped along
        shutil.copytree(ROOT / folder, source / folder)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, source], check=True,
                   capture_output=True)
    names = {p.name for p in site.iterdir() if not p.name.endswith(".dist-info")}
    assert names - {"bin"} == {"alledge"}
    shipped = {str(p.relative_to(site)) for p in (site / "alledge").rglob("*.py")}
    assert shipped == {f"{name.replace('.', '/')}{'/__init__' if p.name == '__init__.py' else ''}.py"
                       for name, p in MODULES.items()}
    assert (site / "alledge" / "py.typed").exists()
    for name in ("desktop.toml", "systemd/alledge.service", "systemd/alledge-backup.timer"):
        assert (site / "alledge" / "firmware_configs" / name).exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_stay_small(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name}"


def test_the_front_door_opens():
    for name in alledge.__all__:
        assert getattr(alledge, name) is not None
    assert callable(alledge.segment)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = alledge.nothing
