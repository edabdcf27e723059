"""The forms in which a network is offered to the Edge TPU, in order, until one is taken whole."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from alledge.errors import AlledgeError, DataError, GateNotMet

from .cpu import quantise_run
from .edge_split import crossing_names, split
from .edgetpu_compiler import Compilation, Compiler, compile_model
from .layer_error import LayerError, errors_of
from .lint import Lint, check_runtime, check_static_integer, lint, name
from .tflite import to_float
from .tflite_graph import operators
from .trained import OUTPUTS, Trained, ranging_tensors

MAX_FLOAT_DIFFERENCE = 1e-4  # of a probability between the trained network and its other form, both in float
_PROOF_TILES = 8


@dataclass(frozen=True)
class Attempt:
    """One rung, tried.

    Attributes:
        rung: `table`, `replicated`, `tokens` or `split`; `plain` for a network without attention.
        difference: largest difference of a probability to the trained network, both in float.
        content: full-integer TFLite; head: float TFLite of what stays on the CPU, in a split network.
        layers: how far each layer of a whole network is from float, worst first.
        failure: why it got no further.
    """

    rung: str
    difference: float | None = None
    content: bytes = b""
    head: bytes | None = None
    lint: Lint | None = None
    compilation: Compilation | None = None
    layers: tuple[LayerError, ...] = ()
    failure: AlledgeError | None = None

    @property
    def holds(self) -> bool:
        """Taken whole: by the compiler where there is one, else as far as the table tells."""
        if self.failure or self.lint is None:
            return False
        return self.compilation.whole if self.compilation else not self.lint.refused

    @property
    def usable(self) -> bool:
        """Good for a board if some operations may stay on its CPU."""
        return self.lint is not None and (self.compilation is None or self.compilation.report is not None)

    def words(self) -> str:
        """Why it does not hold, in a clause."""
        if self.failure:
            return str(self.failure)
        if self.compilation and self.compilation.failure:
            return self.compilation.failure
        if self.compilation and self.compilation.report:
            return self.compilation.report.words()
        return _first_blocking(self.lint) if self.lint else ""

    def to_json(self) -> dict[str, Any]:
        """Plain types only, for manifest and report."""
        report = self.compilation.report if self.compilation else None
        return {"rung": self.rung, "holds": self.holds, "float_max_abs": self.difference,
                "lint": self.lint.to_json() if self.lint else None, "compiler": report.to_json() if report else None,
                "reason": "" if self.holds else self.words()}


def climb(trained: Trained, compiler: Compiler | None, allow_cpu_fallback: bool) -> list[Attempt]:
    """Try rung after rung and stop at the first that holds; it is the last of the list.

    With `allow_cpu_fallback` and none that holds, the last is the one that leaves least to the CPU.

    Raises:
        GateNotMet: when the Edge TPU would take no form whole, naming what stands in the way of the first.
        DataError: when the network has no 8-bit form at all.
    """
    attempts: list[Attempt] = []
    for rung, build in _rungs(trained.model):
        attempts.append(_attempt(trained, rung, build, compiler))
        if attempts[-1].holds:
            return attempts
    usable = [attempt for attempt in attempts if attempt.usable]
    if allow_cpu_fallback and usable:
        best = min(usable, key=_left_to_the_cpu)
        return [*(attempt for attempt in attempts if attempt is not best), best]
    raise _refusal(attempts)


def _rungs(model: Any) -> Iterator[tuple[str, Callable[[Any], tuple[Any, Any]]]]:
    """Name and (model -> whole or trunk, None or head)."""
    from .attention import has_attention
    from .edge_attention import ReplicatedAttention, TableAttention
    from .edge_tokens import TokenAttention

    forms = {"table": TableAttention, "replicated": ReplicatedAttention, "tokens": TokenAttention}
    if not has_attention(model):
        forms = {"plain": TableAttention}
    for rung, form in forms.items():
        yield rung, partial(_whole, form)
    yield "split", split


def _whole(form: type[Any], model: Any) -> tuple[Any, None]:
    from .attention import with_attention

    return with_attention(model, form), None


def _attempt(trained: Trained, rung: str, build: Callable[[Any], tuple[Any, Any]],
             compiler: Compiler | None) -> Attempt:
    try:
        model, head = build(trained.model)
        difference = _proven(trained, rung, model, head)
        names = OUTPUTS if head is None else crossing_names(model)
        content = quantise_run(trained, model, names)
        check_static_integer(content)
        found = lint(content)
        check_runtime(found)
        rest = None if head is None else to_float(head, names)
    except (DataError, GateNotMet) as error:
        return Attempt(rung, failure=error)
    compilation = None if compiler is None else compile_model(compiler, content)
    layers = errors_of(model, content, ranging_tensors(trained)) if head is None else ()
    return Attempt(rung, difference, content, rest, found, compilation, layers)


def _proven(trained: Trained, rung: str, model: Any, head: Any) -> float:
    """Largest difference of a probability to the trained network, in float, on training tiles.

    Raises:
        DataError: when it is not the same function.
    """
    differences = []
    for tile in ranging_tensors(trained)[:_PROOF_TILES]:
        answer = model(tile, training=False)
        answer = answer if head is None else head(list(answer.values()), training=False)
        wanted = np.asarray(trained.model(tile, training=False)["probs"])
        differences.append(float(np.abs(np.asarray(answer["probs"]) - wanted).max()))
    if not max(differences) <= MAX_FLOAT_DIFFERENCE:
        raise DataError(f"the form {rung!r} for the Edge TPU differs from the trained network by "
                        f"{max(differences):.1e} in a probability (at most {MAX_FLOAT_DIFFERENCE:g}); please report it")
    return max(differences)


def _left_to_the_cpu(attempt: Attempt) -> float:
    """To be made small: operations that the compiler left, or without one the negative work before the first block."""
    head = 0 if attempt.head is None else len(operators(attempt.head))
    report = attempt.compilation.report if attempt.compilation else None
    if report is not None:
        return report.on_cpu + head
    return -attempt.lint.macs_before * attempt.lint.macs if attempt.lint else 0


def _first_blocking(found: Lint) -> str:
    row = found.refused[0]
    return (f"{name(row)}: {row.reason}; the Edge TPU would stop there, after {found.macs_before:.0%} of the "
            "multiply-accumulates")


def _refusal(attempts: Sequence[Attempt]) -> AlledgeError:
    """What to tell when nothing holds: the first form's trouble is the one that the user knows."""
    first = attempts[0]
    if all(attempt.failure for attempt in attempts):
        return first.failure or AlledgeError()
    refused = first.lint.refused if first.lint else ()
    remedy = f"{refused[0].remedy}, or " if refused else ""
    return GateNotMet(f"the Edge TPU takes no form of this network whole ({', '.join(a.rung for a in attempts)}): "
                      f"{first.words()}; no bundle was written. Way out: {remedy}accept operations on the CPU with "
                      "--allow-cpu-fallback, or use --target cpu")
