"""A notice on the configured display, from a command that has no display open."""

import time
from contextlib import closing

from alledge.config import DeviceConfig
from alledge.errors import AlledgeError
from alledge.output import say

from .conflicts import NO_DISPLAY
from .display import Display, open_display
from .notice import Notice
from .showing import PAGE_S, WHOLE_PAGES, notice_scene


def announce(config: DeviceConfig, notice: Notice, lasting: bool = False) -> None:
    """Show a notice where there is a display. One that fails is told about and stops nothing.

    Args:
        lasting: show all of it for as long as a person reads, because something else follows.
    """
    name = config.display.name
    if name in (None, NO_DISPLAY):
        return
    try:
        with closing(open_display(name, config.display.options)) as display:
            pages = notice_scene(notice)(display, 0)
            if lasting and display.mode != "text" and not getattr(display, "read_later", False):
                _turn(display, notice, pages)
    except (AlledgeError, OSError) as error:
        say(f"warning: the display does not show it ({error})")


def _turn(display: Display, notice: Notice, pages: int) -> None:
    """The pages after the first, and then the first, which stays."""
    for page in (*range(1, min(pages, WHOLE_PAGES)), 0):
        time.sleep(PAGE_S)
        notice_scene(notice)(display, page)
    time.sleep(PAGE_S)
