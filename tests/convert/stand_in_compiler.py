"""A stand-in for Google's edgetpu_compiler: its command line, log and terminal output, and nothing of its work.

Every result calls itself a stand-in: the version in the log and on the terminal, and the description of the file. The
first argument chooses what it does; the rest is the compiler's own command line.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

VERSION = "16.0.384591198 stand-in for tests"
OLD = "15.0.340273435 stand-in for tests"
MAPPED = "Mapped to Edge TPU"
LIMITED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
BEHIND = "More than one subgraph is not supported"


def two_sided(shapes: list[tuple[int, ...]], out: tuple[int, ...]) -> bool:
    return len(shapes) == 2 and all(shape != out for shape in shapes)


# Mode -> which operators it leaves to the CPU: (name, shapes of its computed inputs, shape of its output) -> bool.
REFUSALS = {
    "whole": lambda op, shapes, out: False,
    "no_broadcast": lambda op, shapes, out: op == "MUL" and two_sided(shapes, out),
    "no_tables": lambda op, shapes, out: op == "REDUCE_MAX",
    "no_attention": lambda op, shapes, out: op == "RSQRT",
    "nothing": lambda op, shapes, out: op == "CONV_2D",
}


def main(mode: str, arguments: list[str]) -> int:
    version = OLD if mode == "old" else VERSION
    print(f"Edge TPU Compiler version {version}")
    if arguments == ["--version"]:
        return 0
    if mode == "crash":
        print("\nInternal compiler error. Aborting!", flush=True)
        os.abort()
    if mode == "hang":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])  # the real one has a child, too
        time.sleep(300)
    source = Path(arguments[-1])
    folder = Path(arguments[arguments.index("-o") + 1])
    print("Started a compilation timeout timer of 180 seconds.\n\nModel compiled successfully in 1234 ms.\n")
    statuses, subgraphs = judged(source.read_bytes(), mode), 2 if mode == "two" else 1
    rows = Counter(statuses)
    table = "\n".join(f"{op:<30} {count:<10} {status}" for (op, status), count in rows.items())
    log = f"Edge TPU Compiler version {version}\nInput: {source}\nOutput: {source.stem}_edgetpu.tflite\n\n" \
          f"{'Operator':<30} {'Count':<10} Status\n\n{table}\n"
    content = b"nonsense" if mode == "nonsense" else compiled(source.read_bytes(), 0 if mode == "liar" else subgraphs)
    (folder / f"{source.stem}_edgetpu.tflite").write_bytes(content)
    (folder / f"{source.stem}_edgetpu.log").write_text(log)
    print(f"Input model: {source}\nOn-chip memory used for caching model parameters: 2.39MiB\n"
          "On-chip memory remaining for caching model parameters: 4.52MiB\n"
          "Off-chip memory used for streaming uncached model parameters: 41.75KiB\n"
          f"Number of Edge TPU subgraphs: {subgraphs}\nTotal number of operations: {len(statuses)}\n"
          f"Operation log: {source.stem}_edgetpu.log\n\n{table}\n"
          "Compilation child process completed within timeout period.\nCompilation succeeded!")
    return 0


def judged(content: bytes, mode: str) -> list[tuple[str, str]]:
    """(operator, status) in order; after the first that is left behind, all are."""
    from alledge.convert.tflite_graph import operators

    refuses, found = REFUSALS.get(mode, REFUSALS["whole"]), []
    for operator in operators(content):
        behind = any(status != MAPPED for _, status in found)
        shapes = [t.shape for t in operator.inputs if not t.constant]
        refused = refuses(operator.op, shapes, operator.outputs[0].shape)
        found.append((operator.op, BEHIND if behind else LIMITED if refused else MAPPED))
    return found


def compiled(content: bytes, parts: int) -> bytes:
    """The same inputs and outputs around `parts` custom operators that hold nothing."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content)
    model.description = VERSION.encode()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"edgetpu-custom-op"
    model.operatorCodes = [code]
    graph = model.subgraphs[0]
    graph.operators = []
    for _ in range(parts):
        operator = schema.OperatorT()
        operator.inputs, operator.outputs, operator.opcodeIndex = list(graph.inputs), list(graph.outputs), 0
        graph.operators.append(operator)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    assert re.fullmatch(r"\w+", sys.argv[1])
    sys.exit(main(sys.argv[1], sys.argv[2:]))
