"""Target `coral`: the same network for the Edge TPU, in the first form that its compiler, or its table, takes whole."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alledge.manifest import Head, TensorSpec

from .converted import INT8_TOLERANCE, Converted, Operation
from .edge_split import HEAD
from .edgetpu_compiler import Compiler, find_compiler
from .edgetpu_log import Report, merged
from .edgetpu_ops import SRAM_BYTES
from .ladder import Attempt, climb
from .lint import Lint
from .options import Options
from .tflite_graph import operators
from .tflite_run import BUILTIN, kernels, specs
from .trained import Trained

MODEL, COMPILED, LOG = "model.tflite", "model_edgetpu.tflite", "edgetpu_compiler.log"

NOT_COMPILED = ("not compiled for the Edge TPU: Google's compiler runs on x86-64 Linux only and was not used; finish "
                "it there with `alledge convert --finish BUNDLE` (docs/coral.md has a container for it). Until then it "
                "runs on the CPU with `alledge run --engine tflite`.")


def convert(trained: Trained, options: Options) -> Converted:
    """Re-express attention, quantise, hold the result against the Edge TPU's table and compile it if that can be done.

    Raises:
        DataError: when a layer cannot be expressed in 8-bit integers or its attention is not self-attention.
        GateNotMet: when the Edge TPU would not take the model whole, and operations on the CPU are not allowed.
        UsageError, BackendMissing: for a `--compiler` that is none, is too old or does not run here.
    """
    compiler = find_compiler(options.compiler)
    attempts = climb(trained, compiler, options.allow_cpu_fallback)
    last = attempts[-1]
    assert last.lint is not None  # nothing that got no further is ever the last
    report = last.compilation.report if last.compilation else None
    rows = operation_table(last.lint.rows, last.head, report)
    tensors = specs(last.content)
    answers = tensors if last.head is None else specs(last.head)
    return _finished(Converted(
        last.content, MODEL, "coral", tensors["image"], answers["probs"], answers["embedding"],
        kernels(last.content, last.head), rows, INT8_TOLERANCE, slow_kernels=frozenset({BUILTIN}), compiled=False,
        layers=last.layers,
        head=None if last.head is None else _head(tensors, answers),
        extra_members={} if last.head is None else {HEAD: last.head}, facts=_facts(last, last.lint),
        warnings=_warnings(last, last.lint),
        findings={"ladder": [attempt.to_json() for attempt in attempts]}), last, compiler)


def _head(trunk: Mapping[str, TensorSpec], head: Mapping[str, TensorSpec]) -> Head:
    """What crosses the cut, in the order of the trunk's outputs."""
    names = [name for name in trunk if name in head]
    return Head(model=HEAD, features=[trunk[name] for name in names], inputs=[head[name] for name in names])


def _finished(converted: Converted, last: Attempt, compiler: Compiler | None) -> Converted:
    """With the compiler's work beside the network for the CPU, or with the sentence on how to have it done."""
    compilation = last.compilation
    if compiler is None or compilation is None:
        return replace(converted, warnings=(*converted.warnings, NOT_COMPILED))
    return replace(converted, content=compilation.content, member=COMPILED, compiled=True, compiler=compiler.version,
                   fallback=MODEL,
                   extra_members={**converted.extra_members, MODEL: last.content, LOG: compilation.log.encode()},
                   warnings=(*converted.warnings, *foreign(compiler)))


def foreign(compiler: Compiler) -> tuple[str, ...]:
    """A warning when a compiler does not call itself what Google's does."""
    if compiler.genuine:
        return ()
    return (f"compiled by something that calls itself version {compiler.version!r}, not by a release of Google's "
            "compiler: this proves nothing about an Edge TPU",)


def operation_table(linted: Sequence[Operation], head: bytes | None, report: Report | None) -> tuple[Operation, ...]:
    """The lint's rows with the compiler's verdicts where it spoke, then the operations of the head."""
    rows = linted if report is None else merged(linted, report)
    rest = () if head is None else operators(head)
    return (*rows, *(Operation(o.op, 1, False, "in the head, which runs on the board's CPU by design", "", o.layer,
                               o.version) for o in rest))


def _facts(last: Attempt, found: Lint) -> dict[str, Any]:
    return {"lint": {"refused": len(found.refused), "passed": not found.refused},
            "float_form": {"rung": last.rung, "max_abs": last.difference, "passed": True},
            "runtime": {"min_runtime_version": found.runtime, "passed": found.known_runtime},
            "parameters": {"bytes": found.parameters, "on_chip": SRAM_BYTES}}


def _warnings(last: Attempt, found: Lint) -> tuple[str, ...]:
    lines = []
    if not last.holds:
        lines.append(f"not taken whole, and accepted with --allow-cpu-fallback: {last.words()}")
    if last.head is not None:
        lines.append("split: the convolutions are for the Edge TPU, attention and classification for the board's CPU")
    if found.streamed:
        lines.append(f"{found.parameters / 2**20:.1f} MiB of parameters exceed the {SRAM_BYTES // 2**20} MiB on the "
                     f"chip: at least {found.streamed / 2**20:.1f} MiB stream over USB at every inference")
    return tuple(lines)
