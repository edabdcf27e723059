"""The device's commands. What does the work is imported when a command runs, so that `--help` stays fast."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alledge.output import command_group, emit, present, say

if TYPE_CHECKING:
    from alledge.config import DeviceConfig

BundleFile = Annotated[Path | None, typer.Argument(metavar="BUNDLE", help="Bundle made by `alledge convert`; else "
                                                   "the installed one.", show_default=False)]
EngineName = Annotated[str | None, typer.Option("--engine", metavar="NAME", show_default=False,
                                                help="Another engine than the bundle's own, one that reads its model.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="TOML", show_default=False,
                                                 help="Device settings; else the system's or the user's.")]
Database = Annotated[Path | None, typer.Option("--results", metavar="DB", show_default=False,
                                               help="Results database; else the configured one.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, everything else on stderr.")]

device = command_group(help="Make a board the device, and pack what it needs.")


def run(
    bundle: BundleFile = None,
    config: ConfigFile = None,
    camera: Annotated[str | None, typer.Option(metavar="URI", show_default=False,
                                               help="picamera2://0, v4l2:///dev/video0, file://PATH ...")] = None,
    frames: Annotated[int | None, typer.Option(metavar="N", min=1, show_default=False,
                                               help="Stop after N fields; else when the camera ends.")] = None,
    display: Annotated[str | None, typer.Option(metavar="NAME", show_default=False,
                                                help="ssd1306, st7789, png, terminal ... or none.")] = None,
    database: Database = None,
    engine: EngineName = None,
    sample: Annotated[str | None, typer.Option(metavar="ID", show_default=False,
                                               help="Slide that the fields belong to; its verdict comes last.")] = None,
    trigger: Annotated[str | None, typer.Option(metavar="NAME", show_default=False,
                                                help="gpio, keyboard or interval; else every frame is judged.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Plain lines, on a terminal, too.")] = False,
    as_json: Json = False,
) -> None:
    """Capture, segment, classify, show and log, field by field. RESEARCH USE ONLY.

    For example:

      alledge run model.alledge --camera file://smears/test

      alledge run model.alledge --camera "synthetic://?seed=1&class=pre_b" --frames 8 --display png

      alledge run --camera file://slide-17 --sample S-0017

      alledge run --camera v4l2:///dev/video0 --trigger keyboard

      alledge run --config desktop.toml --json | jq .verdict

    Stops cleanly on Ctrl-C. Exit code 3 when no field could be given a verdict.
    """
    from rich.console import Console

    from .live import live
    from .run import judge
    from .run import run as run_device
    from .settling import at_start

    settings = _draft(config, bundle=bundle, camera=camera, display=display, database=database, engine=engine,
                      sample=sample, trigger=trigger)
    if bundle is None:
        settings = at_start(settings)
    settings = _with_display(settings, as_json)
    if sys.stdout.isatty() and not (as_json or headless or settings.display.name == "terminal"):
        with live(Console(), settings.trigger.name) as told:
            summary = run_device(settings, frames, *told)
    else:
        summary = run_device(settings, frames, _teller(settings, as_json), lambda event: say(event.sentence),
                             _sample_teller(as_json))
    say(f"{'stopped: ' if summary.interrupted else ''}{summary.fields} fields, {summary.conclusive} with a verdict, "
        f"{summary.unreadable} unreadable; results in {settings.database}")
    judge(summary)


def daemon(config: ConfigFile = None) -> None:
    """Do what `run` does, headless, under systemd: notify, watchdog, reload, recovery. RESEARCH USE ONLY.

    For example:

      alledge daemon --config /etc/alledge/config.toml

      alledge daemon --config scope.toml | jq 'select(.event == "result").result.verdict'

    Every event is one JSON line on standard output. SIGTERM finishes the field in hand, SIGHUP reads the configuration
    again.
    """
    from itertools import chain, repeat

    from .daemon import serve
    from .settling import at_start, with_installed

    choose = chain([at_start], repeat(with_installed))  # reading the configuration again is no start
    serve(lambda: _with_display(next(choose)(_draft(config)), as_json=True), "" if config is None else str(config))


def bench(
    bundle: BundleFile = None,
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Steady fields to measure.")] = 100,
    seconds: Annotated[float | None, typer.Option(metavar="S", min=1, show_default=False,
                                                  help="Measure so long instead, each of the two ways.")] = None,
    warm_up: Annotated[int, typer.Option(metavar="N", min=0, help="Fields before, which do not count.")] = 20,
    starts: Annotated[int, typer.Option(metavar="N", min=1, help="Processes to start to a first verdict.")] = 3,
    engine: EngineName = None,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, max=64, show_default=False,
                                                help="CPU threads of the engine; else the configured.")] = None,
    camera: Annotated[str | None, typer.Option(metavar="URI", show_default=False,
                                               help="A camera to measure with; else drawn fields.")] = None,
    display: Annotated[str | None, typer.Option(metavar="NAME", show_default=False,
                                                help="A display to measure with; else a PNG file.")] = None,
    config: ConfigFile = None,
    power_command: Annotated[str | None, typer.Option(metavar="COMMAND", show_default=False,
                                                      help="Prints watts, for a meter of your own.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", show_default=False,
                                             help="Write bench.json, bench.csv and bench.html there.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", show_default=False,
                                             help="Append one row as in benchmarks/reference.")] = None,
    compare: Annotated[Path | None, typer.Option(metavar="FILE", show_default=False,
                                                 help="An earlier bench.json or CSV; exit code 6 when slower.")] = None,
    band: Annotated[float, typer.Option(metavar="PERCENT", min=1, help="How much slower is let pass.")] = 20,
    as_json: Json = False,
) -> None:
    """Measure latency per stage on this machine: start, warm-up and steady state apart, tails un-clipped.

    For example:

      alledge bench

      alledge bench model.alledge --frames 1000 --out my-board

      alledge bench --seconds 600 --threads 4 --csv benchmarks/reference/my-board.csv

      alledge bench --compare my-board/bench.json && echo as fast as before

    Warns of everything that makes the figures worth less: governor, throttling, heat, other work.
    """
    from .bench.deliver import delivery
    from .bench.measure import bench as measure
    from .bench.plan import Plan
    from .bench.sensors import sensors

    settings = _settings(config, bundle=bundle, engine=engine, threads=threads, display=display)
    settings = _with_installed(settings, bundle)
    plan = Plan(frames, seconds, warm_up, starts, camera, None if display is None else settings.display)
    ready = delivery(out, csv, compare, 1 + band / 100)
    ready.deliver(measure(settings, plan, sensors(power_command)), as_json)


def doctor(
    bundle: BundleFile = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Say what this machine has, what is missing and the exact command that mends it.

    For example:

      alledge doctor

      alledge doctor model.alledge     (replays its goldens as well)
    """
    from .doctor import examine, judge, table

    settings = _with_installed(_settings(config, bundle=bundle), bundle)
    checks = examine(settings)
    present({"checks": [check.to_json() for check in checks]}, table(checks), as_json)
    judge(checks)


def inspect(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle made by `alledge convert`.",
                                           show_default=False)],
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Verify a bundle and show what it says about itself, and whether this device trusts its signature.

    For example:

      alledge inspect model.alledge

      alledge inspect model.alledge --json | jq .metrics
    """
    from alledge.bundle import Bundle

    from .inspection import describe, lines

    opened, trusted = Bundle.open(bundle), _settings(config).bundle.trusted_keys
    present(describe(opened, trusted), lines(opened, trusted), as_json)


@device.command("build-engine")
def device_build_engine(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle for a Jetson.", show_default=False)],
    config: ConfigFile = None,
    cache: Annotated[Path | None, typer.Option(metavar="DIR", show_default=False,
                                               help="Folder of engines; else in the state folder.")] = None,
    workspace: Annotated[int, typer.Option(metavar="MIB", min=16, help="Scratch memory of a layer.")] = 256,
    python: Annotated[Path | None, typer.Option(metavar="PATH", show_default=False,
                                                help="Python with TensorRT; else this one or the system's.")] = None,
    trtexec: Annotated[Path | None, typer.Option(metavar="PATH", show_default=False,
                                                 help="Build with NVIDIA's trtexec instead.")] = None,
    ignore_memory: Annotated[bool, typer.Option("--ignore-memory", help="Try although memory seems short.")] = False,
    as_json: Json = False,
) -> None:
    """Build a Jetson bundle's TensorRT engine here, once: minutes on a Nano. It is kept, and found again.

    For example:

      alledge device build-engine jetson-nano.alledge

      alledge device build-engine jetson-orin.alledge --trtexec /usr/src/tensorrt/bin/trtexec
    """
    from .admission import open_bundle
    from .build_engine import build_engine

    opened = open_bundle(bundle, _settings(config).bundle)
    options = ["--workspace", str(workspace), *(["--trtexec", str(trtexec)] if trtexec else []),
               *(["--ignore-memory"] if ignore_memory else [])]
    document = build_engine(opened, cache, options, python)
    did = f"built in {document['seconds']:.0f} s" if document["built"] else "built before"
    present(document, [f"{document['engine']}: {document['precision']} engine for {document['gpu']}, TensorRT "
                      f"{document['tensorrt']}, {did}"], as_json)


def _settings(config: Path | None, *, bundle: Path | None = None, engine: str | None = None,
              threads: int | None = None, display: str | None = None) -> "DeviceConfig":
    """The configuration with what the command line says laid over it; UsageError with all that is wrong with it."""
    from alledge.config import refuse

    settings = _draft(config, bundle=bundle, engine=engine, threads=threads, display=display)
    refuse(settings)
    return settings


def _draft(config: Path | None, *, bundle: Path | None = None, camera: str | None = None,
           display: str | None = None, database: Path | None = None, engine: str | None = None,
           threads: int | None = None, sample: str | None = None, trigger: str | None = None) -> "DeviceConfig":
    """The same, still with `faults`: a run refuses them together with all else that is wrong, and on the display."""
    from alledge.config import draft_config
    from alledge.errors import UsageError
    from alledge.sample import check_sample_id

    settings, faults = draft_config(config), dict[str, str]()
    try:
        sample = None if sample is None else check_sample_id(sample)
    except UsageError as error:
        sample, faults["--sample"] = None, str(error)
    said: dict[str, dict[str, Any]] = {
        "bundle": {"path": bundle},
        "camera": {"uri": camera},
        "display": _named(display, settings.display.name),
        "engine": {"name": engine, "threads": threads},
        "results": {"database": database},
        "trigger": _named(trigger, settings.trigger.name),
        "sample": {"id": sample},
    }
    changes = {section: getattr(settings, section).model_copy(
        update={key: value for key, value in values.items() if value is not None}) for section, values in said.items()}
    return settings.model_copy(update=changes).with_faults(faults)


def _with_installed(settings: "DeviceConfig", bundle: Path | None) -> "DeviceConfig":
    """With the installed bundle, unless the command line names one."""
    from .settling import with_installed

    return settings if bundle is not None else with_installed(settings)


def _named(name: str | None, configured: str | None) -> dict[str, Any]:
    """Another back end than the configured one takes other options."""
    return {"name": name, "options": None if name is None or configured in (None, name) else {}}


def _with_display(settings: "DeviceConfig", as_json: bool) -> "DeviceConfig":
    """Without a word about displays: none; `_teller` prints a line per field. stdout is JSON's alone."""
    display = settings.display
    if display.name is None:
        display = display.model_copy(update={"name": "none"})
    if as_json and display.name == "terminal":
        display = display.model_copy(update={"options": {**display.options, "stream": "stderr"}})
    return settings.model_copy(update={"display": display})


def _sample_teller(as_json: bool) -> Any:
    """What to do with a sample's verdict: standard output has one JSON line per field and nothing else."""
    from .words import sample_words

    stream = sys.stderr if as_json else sys.stdout
    return lambda verdict: print("\n".join(sample_words(verdict)), file=stream, flush=True)


def _teller(settings: "DeviceConfig", as_json: bool) -> Any:
    """What to do with each finished field: a JSON line, a plain line, or nothing where the display is the terminal."""
    from alledge.verdict import RESEARCH_USE_ONLY

    from .words import line

    if as_json:
        return lambda verdict: emit(verdict.to_json())
    if settings.display.name == "terminal":
        return lambda verdict: None
    return lambda verdict: print(f"{line(verdict)} · {RESEARCH_USE_ONLY}", flush=True)
