"""A notice on the configured display, from a command that has no display open."""

import time
from contextlib import closing

from alledge.config import DeviceConfig
from alledge.errors import AlledgeError
from alledge.output import say

from .conflicts import NO_DISPLAY
from .display import open_display
from .notice import Notice
from .showing import notice_scene

LASTING_S = 5.0  # for a person to read it before something else is shown


def announce(config: DeviceConfig, notice: Notice, lasting: bool = False) -> None:
    """Show a notice where there is a display. One that fails is told about and stops nothing.

    Args:
        lasting: keep it there for a while, because something else follows.
    """
    name = config.display.name
    if name in (None, NO_DISPLAY):
        return
    try:
        with closing(open_display(name, config.display.options)) as display:
            notice_scene(notice)(display, 0)
            if lasting and display.mode != "text":
                time.sleep(LASTING_S)
    except (AlledgeError, OSError) as error:
        say(f"warning: the display does not show it ({error})")
