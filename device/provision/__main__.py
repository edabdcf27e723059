"""What a pack runs: `python3 -m alledge.device.provision PACK install|uninstall`, before alledge is on the board."""

import argparse
import sys
from pathlib import Path

from alledge.errors import AlledgeError

from .boards import find_board
from .packfile import board_of
from .provision import INTERRUPTED, demand, examined, provision, unprovision


def main(arguments: list[str]) -> None:
    """Raise AlledgeError as the commands do."""
    parser = argparse.ArgumentParser(prog=f"python3 {Path(arguments[0]).name}", description="RESEARCH USE ONLY.")
    parser.add_argument("pack", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("verb", choices=("install", "uninstall"))
    parser.add_argument("--dry-run", action="store_true", help="say what would be changed, change nothing")
    parser.add_argument("--root", type=Path, default=Path("/"), help="another system's files, in a folder")
    asked = parser.parse_args(arguments)
    if asked.verb == "uninstall":
        unprovision(asked.root, asked.dry_run, print)
        return
    done = provision(find_board(board_of(asked.pack)), asked.root, asked.pack, asked.dry_run, print)
    print(*done.lines, sep="\n", flush=True)
    demand(examined(done))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except AlledgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)
