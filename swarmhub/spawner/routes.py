"""Keeping hub and proxy pointed at the address where a server runs now.

When Swarm replaces or moves a server its address changes. JupyterHub itself would notice at its next route
check, minutes later; here the address follows with every view of the cluster.
"""

from __future__ import annotations

import asyncio
from typing import Any

from swarmhub.spawner.states import ServerPhase, ServerState

Address = tuple[str, int]


class RouteKeeper:
    """Follows one spawner's server. Level-triggered: whatever is not right yet is tried with each view."""

    def __init__(self, spawner: Any) -> None:
        """``spawner``: the SwarmSpawner; its ``server`` record and the hub's proxy are what is kept right."""
        self._spawner = spawner
        self._routed: Address | None = None
        """Where the proxy sends this server's requests, as far as known."""
        self._change: asyncio.Task[None] | None = None

    def assume(self, address: Address) -> None:
        """The hub is about to route to ``address`` by itself."""
        self._routed = address

    def sync(self, state: ServerState) -> None:
        """Bring record and route to where the server runs; does nothing while that is unclear."""
        spawner = self._spawner
        server = spawner.server
        if state.phase is not ServerPhase.RUNNING or state.task is None or server is None:
            return
        ip = state.task.address_on(spawner.network_name)
        if not ip or spawner.pending == "stop":
            return
        target: Address = (ip, spawner.port)
        if self._routed is None:
            # The hub was restarted: what its database says is what it told the proxy.
            self._routed = (server.ip, server.port)
        if (server.ip, server.port) != target:
            spawner.log.info("%s moved: %s:%s -> %s:%s", spawner._log_name, server.ip, server.port, *target)
            server.ip, server.port = target
            spawner.user.db.commit()
        # While a start or a check is pending, the hub sets the route when it ends, or the next view does.
        if self._routed != target and spawner.ready and self._change is None:
            self._change = asyncio.get_running_loop().create_task(self._change_route(target))

    async def _change_route(self, target: Address) -> None:
        spawner = self._spawner
        try:
            await spawner.user.settings["proxy"].add_user(spawner.user, spawner.name)
            self._routed = target
        except Exception:
            spawner.log.exception("The route of %s did not change, trying again", spawner._log_name)
        finally:
            self._change = None
