"""`alledge model`: install, commit, rollback, show. What does the work is imported when a command runs."""

from pathlib import Path
from typing import Annotated

import typer

from alledge.errors import AlledgeError
from alledge.output import command_group, emit, present, say

from .cli import ConfigFile, Json

model = command_group(help="Install models on this device, safely: signed, checked, and rolled back by itself.")


@model.command("install")
def model_install(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Signed bundle; or a folder, of which the newest that "
                                           "may be installed is taken.", show_default=False)],
    config: ConfigFile = None,
    trial: Annotated[bool, typer.Option("--trial", help="Keep it only once `alledge model commit` says so; the fourth "
                                        "start without it rolls back.")] = False,
    frames: Annotated[int, typer.Option(metavar="N", min=0, max=1000, help="Fields of the configured camera that it "
                                        "has to judge.")] = 8,
    as_json: Json = False,
) -> None:
    """Install a bundle beside the one in use, check it on this machine, and keep it or go back.

    For example:

      alledge model install model.alledge

      alledge model install /media/stick --config device.toml

    Exit code 5 when it is refused or rolled back; what was in use then still is.
    """
    from alledge.config import load_config

    from .announcing import announce
    from .notice import CHECKING_MODEL, installed, refused, rolled_back
    from .update import demand, install

    settings = load_config(config)
    announce(settings, CHECKING_MODEL)
    try:
        done = install(settings, source, manual=trial, frames=frames, say=say)
    except AlledgeError as error:
        announce(settings, refused(str(error).removeprefix(f"{source}: ")), lasting=True)
        raise
    went_back = done.event == "rolled back"
    announce(settings, rolled_back(done.detail) if went_back else installed(done.id, done.detail), lasting=True)
    document = {"id": done.id, "slot": done.slot, "event": done.event, "detail": done.detail}
    if as_json:
        emit(document)
    elif not went_back:  # the error says it
        typer.echo(f"{done.id} in slot {done.slot}, {done.event}: {done.detail}")
    demand(done)


@model.command("commit")
def model_commit(as_json: Json = False) -> None:
    """Keep the model that is on trial.

    Example: alledge model commit
    """
    from .update import commit

    identity = commit()
    present({"id": identity, "event": "committed"}, [f"{identity} is kept"], as_json)


@model.command("rollback")
def model_rollback(as_json: Json = False) -> None:
    """Go back to the model that was in use before the installed one.

    Example: alledge model rollback
    """
    from .update import roll_back

    path = roll_back()
    now = None if path is None else str(path)
    present({"path": now, "event": "rolled back"}, [f"in use: {now or 'the configured or shipped model'}"], as_json)


@model.command("show")
def model_show(
    config: ConfigFile = None,
    events: Annotated[int, typer.Option(metavar="N", min=0, help="Of what happened, the last N.")] = 10,
    as_json: Json = False,
) -> None:
    """Show what is installed, read it as a whole, and verify the log of what happened to it.

    For example:

      alledge model show

      alledge model show --json | jq .active

    Exit code 1 when a model or the log is not what was written.
    """
    from alledge.config import load_config

    from .installed import describe, lines

    document = describe(load_config(config), events)
    present(document, lines(document), as_json)
    if document["faults"]:
        raise AlledgeError(str(document["faults"][0]))
