"""The paper's tables, trained again: backbones x heads x losses x seeds, each one a run folder that is kept."""

import datetime
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from alledge.dataset import Dataset
from alledge.errors import AlledgeError, DataError, MemoryExhausted, UsageError, WeightsMissing
from alledge.files import write_bytes
from alledge.output import Progress
from alledge.runfolder import is_run, read_record

from . import paper
from .backbones import find
from .comparison import Cell, compare, page
from .crossval import check_same
from .fit import train
from .options import Options
from .protocol import SPLIT, Protocol

PAPER_BACKBONES = ("vgg19", "inceptionv3", "resnet101", "resnet152v2", "inceptionresnetv2", "mobilenetv2",
                   "densenet201", "efficientnetb7")
PROTOCOLS = ("paper", "leaky", "split")


@dataclass(frozen=True)
class Table:
    """What a table of the paper is about, and so what has to be trained for it."""

    title: str
    heads: tuple[str, ...]
    losses: tuple[str, ...] = ("focal",)
    backbones: tuple[str, ...] = PAPER_BACKBONES


TABLES = {
    5: Table("backbones with self-attention", ("mhsa",)),
    6: Table("backbones without attention", ("plain",)),
    7: Table("heads beside each other", ("mhsa", "compact", "plain")),
    8: Table("focal loss and cross-entropy", ("mhsa", "plain"), ("focal", "crossentropy"), ("vgg19",)),
}


@dataclass(frozen=True)
class Plan:
    """What `alledge reproduce` was asked for; see its `--help`."""

    table: int
    protocol: str = "paper"
    backbones: tuple[str, ...] = ()
    seeds: int = 1
    weights: str = "imagenet"
    epochs: int | None = None
    batch: int = paper.BATCH
    test_per_class: int = paper.TEST_PER_CLASS
    per_class: int = paper.PER_CLASS
    precision: str = Options.precision

    def __post_init__(self) -> None:
        for name, value, known in (("table", self.table, tuple(TABLES)), ("protocol", self.protocol, PROTOCOLS)):
            if value not in known:
                raise UsageError(f"--{name} {value!r} is unknown: expected one of {', '.join(map(str, known))}")
        for backbone in self.backbones:
            find(backbone)
        if self.weights not in ("imagenet", "none") and len(self.backbones) != 1:
            raise UsageError(f"--weights {self.weights}: a file holds the weights of one backbone; name it with "
                             "--backbones")

    @property
    def wishes(self) -> list[str]:
        """The options on the command line that ask for this of any backbone: not which, nor whose weights."""
        own = ("backbones",) if self.weights == "none" else ("backbones", "weights")
        asked = [(f.name, getattr(self, f.name), f.default) for f in fields(self) if f.name not in own]
        return [word for name, value, default in asked if value != default
                for word in (f"--{name.replace('_', '-')}", str(value))]

    @property
    def cells(self) -> list[Cell]:
        """Every cell of the table; those of `--backbones` are trained, the others only shown."""
        table = TABLES[self.table]
        names = dict.fromkeys([*table.backbones, *self.backbones])
        return [Cell(backbone, head, loss) for backbone in names for head in table.heads for loss in table.losses]

    def wanted(self, cell: Cell) -> bool:
        """Is it to be trained now."""
        return not self.backbones or cell.backbone in self.backbones

    def options(self, cell: Cell, seed: int) -> Options:
        """What one training of a cell is asked for."""
        epochs = self.epochs or (Options.epochs if self.protocol == "split" else paper.EPOCHS)
        return Options(cell.backbone, cell.head, cell.loss, self.weights, epochs=epochs, batch=self.batch, seed=seed,
                       precision=self.precision)


def reproduce(dataset: Dataset, out: Path, plan: Plan, command: str, progress: Progress) -> dict[str, Any]:
    """Train what is missing below `out`, and write the table as Markdown and JSON after every training.

    Args:
        dataset: all images; `paper` and `leaky` deal them anew.
        out: runs are kept in PROTOCOL/CELL-SEED.
        plan: what to train.
        command: the beginning of the command that trains a single backbone, to be named beside what is missing.
        progress: who is told.

    Returns:
        The table, see `comparison.compare`.

    Raises:
        DataError: when a run in `out` was made with other options.
    """
    dealt, protocol = _deal(dataset, plan)
    folder = out / plan.protocol
    missing: dict[Cell, AlledgeError] = {}
    report: dict[str, Any] = {}
    for cell, seed in _trainings(plan):
        if cell in missing:
            continue
        try:
            _train(dealt, folder / f"{cell.name}-{seed}", plan.options(cell, seed), progress, protocol)
        except (WeightsMissing, MemoryExhausted) as error:  # another cell may fit, or have its weights
            missing[cell] = error
            progress.say(f"warning: {cell.name} is not measured: {error}")
        report = _write(out, plan, command, compare(plan.cells, folder, dealt, protocol.name, missing, command))
    return report


def _deal(dataset: Dataset, plan: Plan) -> tuple[Dataset, Protocol]:
    if plan.protocol == "split":
        return dataset, SPLIT
    chosen = paper.Paper(plan.test_per_class, plan.per_class, leaky=plan.protocol == "leaky")
    return chosen.deal(dataset), chosen.protocol


def _trainings(plan: Plan) -> Iterator[tuple[Cell, int]]:
    """All cells once, then again with the next seed: an interrupted run has the whole table early."""
    for seed in range(plan.seeds):
        yield from ((cell, seed) for cell in plan.cells if plan.wanted(cell))


def _train(dataset: Dataset, run: Path, options: Options, progress: Progress, protocol: Protocol) -> None:
    if is_run(run):
        check_same(run, dataset, options)
        if read_record(run).provenance["protocol"] != protocol.name:
            raise DataError(f"{run}: holds a run with another --per-class; choose another --out")
        progress.say(f"{run.name}: complete already, kept")
        return
    progress.say(f"{run.name}: training")
    train(dataset, run, options, progress, protocol)


def _write(out: Path, plan: Plan, command: str, compared: Mapping[str, Any]) -> dict[str, Any]:
    own = [f" --{name} {given}" for name, given, said in (("backbones", ",".join(plan.backbones), ("",)),
                                                          ("weights", plan.weights, ("imagenet", "none")))
           if given not in said]
    report = {"table": plan.table, "title": TABLES[plan.table].title, "protocol": plan.protocol,
              "command": command + "".join(own), "date": datetime.date.today().isoformat(),
              "machine": platform.machine(), **compared}
    name = f"table-{plan.table}-{plan.protocol}"
    write_bytes(out / f"{name}.json", json.dumps(report, indent=1).encode())
    write_bytes(out / f"{name}.md", page(report).encode())
    return report
