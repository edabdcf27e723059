"""`alledge device install`, `uninstall` and `pack`. What does the work is imported when a command runs."""

from pathlib import Path
from typing import Annotated

import typer

from alledge.output import emit, present, say

from ..cli import Json, device

BoardName = Annotated[str, typer.Option("--board", metavar="NAME", show_default=False,
                                        help="rpi-cpu, rpi-coral, jetson-nano, jetson-orin or desktop.")]
Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Another system's files, in a folder.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be changed, change nothing.")]
Keys = Annotated[list[str] | None, typer.Option("--trust", metavar="KEY", show_default=False,
                                                help="Public key whose bundles the device runs; may be repeated.")]


@device.command("install")
def device_install(
    board: BoardName,
    pack: Annotated[Path | None, typer.Option("--pack", metavar="FILE", show_default=False,
                                              help="From `alledge device pack`; else wheels come from the network."
                                              )] = None,
    root: Root = Path("/"),
    trust: Keys = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make this machine the device: user, groups, units, rules, settings, environment, configuration, doctor.

    For example:

      alledge device install --board rpi-cpu --dry-run

      sudo alledge device install --board rpi-coral --pack rpi-coral.pyz

    Only what differs is changed. What was there before is recorded, and `alledge device uninstall` brings it back.
    """
    from dataclasses import asdict

    from .boards import find_board
    from .provision import demand, examined, provision
    from .trust import checked

    done = provision(find_board(board), root, pack, dry_run, say if as_json else print, checked(trust))
    if not as_json:
        print(*done.lines, sep="\n", flush=True)
    done = examined(done, as_json)
    if as_json:
        emit(asdict(done))
    demand(done)


@device.command("uninstall")
def device_uninstall(root: Root = Path("/"), dry_run: DryRun = False, as_json: Json = False) -> None:
    """Put back what `alledge device install` changed; results, models and what others changed since are kept.

    For example:

      alledge device uninstall --dry-run

      sudo /opt/alledge/bin/alledge device uninstall
    """
    from .provision import unprovision

    done = unprovision(root, dry_run, say if as_json else print)
    if as_json:
        emit({"root": str(root), "changes": done, "dry_run": dry_run})


@device.command("pack")
def device_pack(
    board: BoardName,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", show_default=False,
                                             help="Else alledge-NAME.pyz.")] = None,
    python: Annotated[list[str] | None, typer.Option("--python", metavar="VERSION", show_default=False,
                                                     help="For boards with this Python only; may be repeated.")] = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", metavar="FILE", show_default=False,
                                                help="First model; else the shipped one.")] = None,
    trust: Keys = None,
    python_archive: Annotated[Path | None, typer.Option("--python-archive", metavar="FILE", show_default=False,
                                                        help="Relocatable Python for the board, as .tar.gz, where "
                                                        "its own is too old.")] = None,
    as_json: Json = False,
) -> None:
    """Make one file from which a board without a network becomes the device.

    For example:

      alledge device pack --board rpi-cpu

      alledge device pack --board rpi-coral --bundle coral.alledge --trust 1f2e...

    On the board: sudo python3 alledge-rpi-cpu.pyz install
    """
    import hashlib

    from .boards import find_board
    from .pack import choose_systems, make_pack
    from .trust import check_first, checked

    chosen = find_board(board)
    keys = checked(trust)
    check_first(chosen, bundle, keys)
    systems = choose_systems(chosen, tuple(python or ()))
    made = make_pack(chosen, systems, out or Path(f"alledge-{board}.pyz"), say, bundle=bundle, trusted_keys=keys,
                     python_archive=python_archive)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    document = {"pack": str(made), "board": board, "bytes": made.stat().st_size, "sha256": digest,
                "pythons": [system.python for system in systems]}
    present(document, [f"{made}: {made.stat().st_size / 1e6:.0f} MB, SHA-256 {digest}",
                       f"on the board: sudo python3 {made.name} install"], as_json)
