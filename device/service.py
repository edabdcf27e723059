"""The service manager's side: what sd_notify(3) and sd_watchdog_enabled(3) say, over the socket that systemd names."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class ServiceManager:
    """systemd, or nobody: then every word goes nowhere."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        interval = environment.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(interval) / 1e6 if mine and interval.isdigit() and self._address else 0.0

    def tell(self, *assignments: str) -> None:
        """Assignments in one message, e.g. "READY=1". A manager that does not listen harms nothing."""
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.sendto("\n".join(assignments).encode(), self._address)

    def reloading(self) -> None:
        """A reload begins; it ends with READY=1. The moment tells systemd which request is being answered."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
