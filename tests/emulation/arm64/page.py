"""docs/results/arm64.md."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from comparison import EXACT_ENGINES, Comparison
from kernel_sets import Kernels
from replay import LIBRARIES

_HEAD = ("| machine | bundle | engine | goldens | pixels | masks | tensors | probs | embedding | verdict | refused | "
         "apart | limit | holds |")


@dataclass(frozen=True)
class Run:
    """What one run of `run.py` found.

    Attributes:
        here, machines: `replay.about()` of x86-64, and of each emulated machine with `cpu` and `board`, by its name.
        qemu: its version line; comparisons: machine -> bundle -> x86-64 against it.
        kernels: bundle -> each set of kernels against XNNPACK; distinct: bundle -> different embeddings of its fields.
    """

    here: Mapping[str, str]
    machines: Mapping[str, Mapping[str, str]]
    qemu: str
    comparisons: Mapping[str, Mapping[str, Comparison]]
    kernels: Mapping[str, list[Kernels]]
    distinct: Mapping[str, int]

    @property
    def _verdicts(self) -> list[bool]:
        there = [c.holds for found in self.comparisons.values() for c in found.values()]
        return there + [k.holds for found in self.kernels.values() for k in found]

    @property
    def tried(self) -> int:
        """Comparisons made."""
        return len(self._verdicts)

    @property
    def holding(self) -> int:
        """Of them, those that came out as demanded."""
        return sum(self._verdicts)


def write_page(path: Path, run: Run, minutes: float) -> None:
    """Write the whole page."""
    path.write_text(page(run, minutes, datetime.date.today()), encoding="utf-8")


def page(run: Run, minutes: float, today: datetime.date) -> str:
    """The page as Markdown."""
    some = next(iter(next(iter(run.comparisons.values())).values()))
    bundles = ", ".join(f"{name} {c.bundle}" for name, c in next(iter(run.comparisons.values())).items())
    distinct = ", ".join(f"{name} {n}" for name, n in run.distinct.items())
    return f"""# The same bundle on arm64 (emulated)

Command: `nice python tests/emulation/arm64/run.py --fields {some.fields}`, {today}, {minutes:.0f} minutes on two
cores of x86-64, with other work beside it.

**Emulated (qemu-user), not measured on a board.** {run.qemu} runs Debian's arm64
packages, the aarch64 wheels that a board's pip would choose and alledge's own wheel built from the tree. It shows what
this software computes there, not how fast, and nothing of cameras or accelerators; no time here is a latency.

**{run.holding} of {run.tried} comparisons hold** (both tables). Bundles: {bundles}.

{_machines(run)}

## x86-64 against emulated arm64

{some.fields} drawn fields (classes and none, all stains, 160 to 448 pixels, half of them JPEG) and the goldens. Columns
count fields that are equal in every bit: decoded pixels, nucleus mask, prepared tensor, probabilities,
embedding; verdicts with their reasons in every word. *Refused*: of them, answers that the
engine's own check did not believe (four probabilities too far from a sum of 1), on both sides alike if the rest is
equal. *Apart*: largest difference of one raw probability, and of one
number of the embedding. Demanded: goldens, pixels, masks, tensors and verdicts equal; probabilities of engine
{' and '.join(EXACT_ENGINES)} equal in every bit, of others within the bundle's tolerance. Different embeddings among
the fields, so that being equal means something: {distinct}.

{_HEAD}
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
{_rows(run)}

The script demands that both machines ran the same kernels. Where `/sys/devices/system/cpu` cannot be read (a sandbox, a
hardened unit), LiteRT drops XNNPACK without saying so and falls back to built-in kernels, whose bytes differ between
processors; results are then only as equal as the table of kernels below says.

`coral` here is the bundle that has not been through Google's compiler, on the CPU: the Edge TPU itself is not emulated.

## Optimised kernels against TFLite's reference kernels (x86-64)

What boards run by default is XNNPACK; `builtin` is TFLite's own optimised kernels, `reference` the plain ones that
define the format. Demanded: the goldens within the bundle's tolerance, which is a tolerance for goldens, and no other
verdict on any field (sure enough of another class under both sets). Other fields are undecided more often than goldens
and may be further apart, as the column *apart* says.

| bundle | kernels | goldens apart | tolerance | fields | equal | apart | other verdicts | holds |
|---|---|---|---|---|---|---|---|---|
{_kernels(run)}
"""


def _machines(run: Run) -> str:
    head = ["machine", "system", "processor", "Python", *LIBRARIES]
    here = {**run.here, "cpu": "the host's, not emulated", "board": ""}
    rows = [[name, about["system"], f"{about['cpu']} {_in_brackets(about['board'])}".strip(), about["python"],
             *(about[library] for library in LIBRARIES)] for name, about in {"x86": here, **run.machines}.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _in_brackets(board: str) -> str:
    return f"(as in a {board})" if board else ""


def _rows(run: Run) -> str:
    return "\n".join(
        f"| {machine} | {name} | {c.engine} | {c.goldens - c.golden_faults}/{c.goldens} | {c.frames} | {c.masks} | "
        f"{c.tensors} | {c.probs} | {c.embeddings} | {c.verdicts} | {c.refused} | "
        f"{c.apart:.1g}, {c.embeddings_apart:.1g} | {c.tolerance:g} | {_yes(c.holds)} |"
        for machine, found in run.comparisons.items() for name, c in found.items())


def _kernels(run: Run) -> str:
    return "\n".join(
        f"| {name} | {k.name} | {k.goldens_apart:.1g} | {k.tolerance:g} | {k.fields} | {k.equal} | {k.apart:.1g} | "
        f"{k.contradictions} | {_yes(k.holds)} |" for name, found in run.kernels.items() for k in found)


def _yes(holds: bool) -> str:
    return "yes" if holds else "**no**"
