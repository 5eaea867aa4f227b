"""The listeners' sockets: the agents' one is opened anew whenever Docker renews the certificate."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from swarmhub.controller import logs
from swarmhub.controller.identity import IdentityError, server_context, stamp

LOOK_AGAIN_S = 10.0
"""Certificates are renewed weeks before they end; a missing one is looked for sooner."""
MISSING_S = 1.0
CLOSE_WITHIN_S = 0.5


class AgentListener:
    """Serves an application with mutual TLS."""

    def __init__(self, app: web.Application, host: str, port: int, certificates: Path, scratch: Path) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_WITHIN_S)
        self._host = host
        self._port = port
        self._certificates = certificates
        self._scratch = scratch
        self._site: web.TCPSite | None = None
        self._stamp: tuple[tuple[int, int], ...] = ()
        self.problem: str | None = None
        """Why agents cannot be served (or not with the newest certificate), if so."""

    @property
    def port(self) -> int:
        """The port that was opened."""
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        await self._runner.setup()
        await self.refresh()

    async def refresh(self) -> None:
        """Open the listener with the certificate as it is now; a bad one leaves everything as it was."""
        try:
            current = stamp(self._certificates)
            if current == self._stamp:
                return
            context = server_context(self._certificates, self._scratch)
            if self._site is not None:
                await self._site.stop()
            self._site = web.TCPSite(self._runner, self._host, self._port, ssl_context=context)
            await self._site.start()
        except (IdentityError, OSError) as error:
            if self.problem != str(error):
                logs.warning("agents cannot be served", reason=str(error))
            self.problem = str(error)
            return
        self._stamp, self.problem = current, None
        logs.info("serving agents", address=self._host, port=self.port)

    async def run(self) -> None:
        """Follow the certificate until cancelled."""
        while True:
            await asyncio.sleep(MISSING_S if self.problem else LOOK_AGAIN_S)
            await self.refresh()

    async def stop(self) -> None:
        await self._runner.cleanup()


async def serve_local(app: web.Application, port: int) -> web.AppRunner:
    """Serve ``app`` on the loopback address; ``cleanup()`` of the result ends it."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_WITHIN_S)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner
