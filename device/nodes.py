"""Device files of Linux: is one there, may this user use it, and what mends it when not."""

import os
from pathlib import Path

from alledge.backends import Lack

DEV = Path("/dev")


def missing_node(name: str, switch_on: str, group: str) -> Lack | None:
    """What keeps this user from `/dev/NAME`.

    Args:
        name: file below /dev.
        switch_on: command or action that makes the file appear.
        group: group that may use it.
    """
    node = DEV / name
    if not node.exists():
        return Lack(f"{node} is not there", switch_on)
    if not os.access(node, os.R_OK | os.W_OK):
        return Lack(f"this user may not use {node}", f"sudo usermod -aG {group} $USER, then log in again")
    return None
