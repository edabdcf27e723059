"""`alledge demo`: the whole product once, on smears that are drawn, through the same commands a user types.

Each step is a process of its own: the stages really hand each other nothing but files, and the runtime that judges
the unseen smears never had TensorFlow in its memory.
"""

import json as jsonlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from alledge.demo_report import table, write_demo_report
from alledge.errors import AlledgeError, OutputError, UsageError
from alledge.files import write_bytes
from alledge.labels import LABELS
from alledge.manifest import Target
from alledge.output import emit, say
from alledge.predictions import read_predictions

TARGETS = get_args(Target)
PER_CLASS = 240
UNSEEN_PER_CLASS = 60  # drawn from another seed: other slides, other stains' strengths, other lamps
EPOCHS = 40
SEED = 20
SHOWN_PER_CLASS = 3  # unseen smears that go through the device runtime and onto the simulated display
BENCH_FRAMES = 100


def demo(
    out: Annotated[Path, typer.Option(help="Folder to leave everything in; an earlier demo in it is "
                                      "replaced.")] = Path("demo"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make smears, train a small self-attention model, convert it for every target, run the device on unseen smears.

    Example: alledge demo --out demo
    """
    _prepare(out)
    found = _run(out)
    if json:
        emit(found)
    else:
        typer.echo(table(found))


def _prepare(out: Path) -> None:
    """An empty folder; only a folder that a demo made is ever emptied."""
    marker = out / ".alledge-demo"
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: expected a folder, found a file")
    if out.is_dir() and any(out.iterdir()) and not marker.exists():
        raise UsageError(f"--out {out}: expected a new or empty folder or an earlier demo, found other files")
    try:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        marker.touch()
    except OSError as error:
        raise OutputError(f"--out {out}: cannot be made ({error.strerror}); choose a folder that you own") from error


def _run(out: Path) -> dict[str, Any]:
    started = time.monotonic()
    smears, unseen, run, slide = (out / name for name in ("smears", "unseen", "run", "slide"))
    _step("drawing smears", "synth", smears, "--per-class", PER_CLASS, "--seed", SEED)
    _step("drawing unseen smears", "synth", unseen, "--per-class", UNSEEN_PER_CLASS, "--seed", SEED + 1)
    trained = _step("training", "train", "--data", smears, "--backbone", "tiny", "--weights", "none",
                    "--epochs", EPOCHS, "--seed", SEED, "--out", run)
    converted = {target: _step(f"converting for {target}", "convert", run, "--target", target,
                               "--out", out / f"{target}.alledge") for target in TARGETS}
    scores = {name: _step(f"judging the {name} model on unseen smears", "evaluate", model, "--data", unseen,
                          "--subset", "all", "--predictions", out / f"{name}.csv")
              for name, model in (("float", run), ("int8", out / "cpu.alledge"))}
    _pick(unseen, slide)
    _step("running the device", "run", out / "cpu.alledge", "--config", _device_config(out))
    bench = _step("measuring latency", "bench", out / "cpu.alledge", "--frames", BENCH_FRAMES)
    found = {
        "float_accuracy": scores["float"]["accuracy"],
        "int8_accuracy": scores["int8"]["accuracy"],
        "baseline_histogram_accuracy": trained["baseline_histogram_accuracy"],
        "accuracy_ci95": {name: score["accuracy_ci95"] for name, score in scores.items()},
        "unseen": scores["int8"]["n"],
        "agreement": _agreement(out / "float.csv", out / "int8.csv"),
        "bundles": {t: {"path": c["bundle"], "bytes": c["bytes"]} for t, c in converted.items()},
        "latency_ms": {stage: {p: row[p] for p in ("p50", "p95")} for stage, row in bench["stages"].items()},
        "screens": sorted(str(p) for p in (out / "screens").glob("*.png")),
        "results": str(out / "results.db"),
        "report": str(out / "report.html"),
        "seconds": time.monotonic() - started,
    }
    write_demo_report(out / "report.html", found)
    return found


def _step(title: str, *arguments: object) -> Any:
    """Run one `alledge` command in its own process and return the last JSON document it printed."""
    started = time.monotonic()
    say(f"{title} ...")
    command = [sys.executable, "-m", "alledge", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise AlledgeError(f"demo: `alledge {' '.join(map(str, arguments))}` ended with exit code {done.returncode}; "
                           "its own message stands above")
    say(f"  done in {time.monotonic() - started:.0f} s")
    return jsonlib.loads(done.stdout.splitlines()[-1])


def _pick(unseen: Path, slide: Path) -> None:
    """A few unseen fields of each class in one folder, as a camera would deliver them."""
    slide.mkdir()
    for label in LABELS:
        for image in sorted((unseen / label).glob("*.png"))[:SHOWN_PER_CLASS]:
            shutil.copy(image, slide)


def _device_config(out: Path) -> Path:
    """The device's own file: the camera delivers the slide, the display leaves pictures."""
    path = out / "device.toml"
    quoted = {name: jsonlib.dumps(str(value), ensure_ascii=False) for name, value in (
        ("uri", f"file://{out.absolute()}/slide"), ("screens", out / "screens"), ("database", out / "results.db"))}
    write_bytes(path, (f"[camera]\nuri = {quoted['uri']}\n\n"
                       f'[display]\nname = "png"\noptions = {{ path = {quoted["screens"]} }}\n\n'
                       f"[results]\ndatabase = {quoted['database']}\n").encode())
    return path


def _agreement(one: Path, other: Path) -> float:
    """Share of images that both models call the same."""
    first, second = read_predictions(one)[0], read_predictions(other)[0]
    return float((first.argmax(1) == second.argmax(1)).mean())
