"""systemd's notification protocol (``man sd_notify``): one datagram of ``KEY=value`` lines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Never

from . import log


class Notifier:
    """Tells systemd readiness, status and that the agent is alive; silent outside systemd."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        # systemd kills after WATCHDOG_USEC without a sign; half of it is the interval the manual recommends.
        self._watchdog_s = int(environ.get("WATCHDOG_USEC", "0")) / 2_000_000
        self._status = ""

    def send(self, *lines: str) -> None:
        """Send ``KEY=value`` lines; a systemd that does not listen is no reason to stop."""
        if not self._address:
            return
        # "@" stands for the NUL byte of an abstract socket's name.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("systemd could not be notified", reason=str(error))

    def status(self, sentence: str) -> None:
        """Show ``sentence`` in ``systemctl status``; repeated ones are not sent again."""
        if sentence != self._status:
            self._status = sentence
            self.send(f"STATUS={' '.join(sentence.split())}")

    async def keep_alive(self) -> Never:
        """Send WATCHDOG=1 as long as the event loop turns; each step of the agent has its own limit."""
        while True:
            if self._watchdog_s:
                self.send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s or 3600)
