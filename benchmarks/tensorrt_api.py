"""Record what TensorRT's Python bindings offer, version by version: the stand-ins of the tests are made from it.

    python benchmarks/tensorrt_api.py tests/device/tensorrt_api.json --wheels FOLDER --source CHECKOUT TAG...

A wheel of bindings alone (`pip download --no-deps tensorrt-cu12-bindings==10.3.0`) imports once the libraries it links
to are there by name: empty ones are compiled for it, so nothing of TensorRT runs. Versions without a wheel are read
from `python/src` of github.com/NVIDIA/TensorRT. Names of members and of their parameters only.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CLASSES = ("Builder", "BuilderFlag", "DataType", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory",
           "ILayer", "ILogger", "INetworkDefinition", "ITensor", "LayerType", "Logger", "MemoryPoolType",
           "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError", "Runtime", "TensorIOMode")
# Entry points that an import looks up at once. 8.6's C++ names belong to the Caffe and UFF parsers.
SYMBOLS = ("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
           "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
           "getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins",
           "_ZN11nvuffparser15createUffParserEv", "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
           "_ZN14nvcaffeparser117createCaffeParserEv", "_ZN14nvcaffeparser123shutdownProtobufLibraryEv")

_READ = """
import importlib.util, json, os, re, sys
sys.setdlopenflags(os.RTLD_LAZY)
spec = importlib.util.spec_from_file_location("tensorrt", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

def parameters(member):
    text = getattr(member, "__doc__", None) or ""
    signature = re.search(r"\\\\(self: [^,)]+,? ?(.*)\\\\) ->", text)
    return re.findall(r"(\\\\w+): ", signature.group(1)) if signature else None

def members(owner):
    return {name: parameters(getattr(owner, name)) for name in dir(owner) if not name.startswith("_")}

print(json.dumps({name: members(getattr(module, name)) for name in sys.argv[2:] if hasattr(module, name)}))
"""


def of_wheel(wheel: Path) -> dict[str, dict[str, list[str] | None]]:
    """Class -> member -> names of its parameters (None for what is no method), from compiled bindings."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        (bindings,) = Path(folder).rglob("tensorrt.so")
        stub = Path(folder, "stub.c")
        stub.write_text("".join(f"int {name}() {{ return 0; }}\n" for name in SYMBOLS))
        library = Path(folder, "stub.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, stub], check=True)
        for name in set(re.findall(rb"libnv\w+\.so\.\d+", bindings.read_bytes())):
            Path(folder, name.decode()).write_bytes(library.read_bytes())
        done = subprocess.run([sys.executable, "-c", _READ.replace("\\\\", "\\"), bindings, *CLASSES], check=True,
                              capture_output=True, text=True, env={**os.environ, "LD_LIBRARY_PATH": folder})
    return json.loads(done.stdout)


def of_source(checkout: Path, tag: str) -> dict[str, dict[str, list[str] | None]]:
    """The same from the C++ that the bindings are compiled from."""
    def show(path):
        return subprocess.run(["git", "-C", checkout, "show", f"{tag}:{path}"], check=True, capture_output=True,
                              text=True).stdout
    found = {}
    for file in ("infer/pyCore", "infer/pyGraph", "infer/pyFoundationalTypes", "parsers/pyOnnx"):
        parts = re.split(r"py::(?:class_|enum_)<[^;]*?\"(\w+)\"", show(f"python/src/{file}.cpp"))
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            body = body.split("py::class_")[0]
            found.setdefault("ILogger" if name == "Severity" else name, {}).update(_members(body))
    return {name: found[name] for name in CLASSES if name in found}


def _members(body):
    pieces = re.split(r"(?<!\bm)\.(def|def_property|def_property_readonly|def_readwrite|value)\(\s*\"(\w+)\"", body)
    return {name: re.findall(r'"(\w+)"_a', text) if kind == "def" else None
            for kind, name, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True)
            if not name.startswith("__")}


def _lines(found):
    """JSON with one class per line, so that a change of the bindings is a change of few lines."""
    versions = [f' "{version}": {{"from": {json.dumps(entry["from"])}, "members": {{\n' + ",\n".join(
        f'  "{name}": {json.dumps(members, sort_keys=True)}' for name, members in sorted(entry["members"].items()))
        + "\n }}" for version, entry in sorted(found.items())]
    return "{\n" + ",\n".join(versions) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheels", type=Path, help="folder of bindings wheels")
    parser.add_argument("--source", nargs="+", metavar="CHECKOUT TAG", help="of NVIDIA/TensorRT")
    options = parser.parse_args()
    found = {}
    for tag in (options.source or [])[1:]:
        found[tag] = {"from": f"source of NVIDIA/TensorRT, tag {tag}", "members": of_source(options.source[0], tag)}
    for wheel in sorted(options.wheels.glob("tensorrt*bindings*.whl")):
        name, version = wheel.name.split("-")[:2]
        found[version] = {"from": f"wheel {name} {version}", "members": of_wheel(wheel)}
    options.out.write_text(_lines(found))


if __name__ == "__main__":
    main()
