"""`alledge keys`: make and show the keys that sign bundles."""

from pathlib import Path
from typing import Annotated

import typer

from alledge.output import command_group, emit, say
from alledge.signing import SigningKey, exposed, key_id, load_key, new_key

KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Private key, PEM.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

keys = command_group(help="Make and show the keys that sign bundles.")


@keys.command("new")
def new(file: KeyFile, json: Json = False) -> None:
    """Make a signing key. Whoever has the file can sign in your name: keep it off the devices.

    Example: alledge keys new lab.pem
    """
    _show(file, new_key(file), json)


@keys.command("show")
def show(file: KeyFile, json: Json = False) -> None:
    """Show the public half of a signing key, as devices need it.

    Example: alledge keys show lab.pem
    """
    _show(file, load_key(file), json)
    warn_if_exposed(file)


def warn_if_exposed(file: Path) -> None:
    """One line on stderr when others may read a private key."""
    if exposed(file):
        say(f"warning: {file} can be read or written by others; mend it with: chmod 600 {file}")


def _show(file: Path, key: SigningKey, as_json: bool) -> None:
    if as_json:
        emit({"file": str(file), "id": key_id(key.public), "public_key": key.public})
        return
    typer.echo(f"{file}: key {key_id(key.public)}\n"
               "devices accept only what it signed when their configuration says:\n"
               f'  [bundle]\n  trusted_keys = ["{key.public}"]')
