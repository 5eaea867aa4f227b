"""Starts that an earlier hub process left unfinished: they go on, and nobody has to press Start again.

JupyterHub's database says that the server was being started, our state says since when. If its service was
created, only waiting is left to do; if it still waited for its turn, the start is asked for again, through
the hub's own API, as its student would, and keeps its place in the queue.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from swarmhub.spawner.errors import StartFailure
from swarmhub.spawner.start import Start

if TYPE_CHECKING:
    from swarmhub.spawner.spawner import SwarmSpawner
    from swarmhub.spawner.view import ClusterView

ASK_AGAIN_WITHIN = 120.0
"""Seconds within which the restarted hub must take the request."""
TOKEN_LIFETIME = 300
"""Seconds."""
EXIT_UNFINISHED = 1
"""What ``poll()`` says of a start that is not to be continued."""

log = logging.getLogger(__name__)


async def finish_start(spawner: SwarmSpawner) -> int | None:
    """``poll()``'s answer for a server whose start was cut off: None once it runs.

    Waits as long as a start may take; JupyterHub does not wait for this before it answers requests.
    """
    runtime = spawner._runtime
    spawner._start_runtime()
    asked = runtime.watch.now()
    since, spawner._unfinished_since = spawner._unfinished_since, None
    assert since is not None
    deadline = asked + max(since + spawner.start_timeout - time.time(), spawner.ready_timeout)
    view = await runtime.watch.newer_than(asked, deadline - asked)
    service_id = _service_of(spawner, view)
    if service_id is None:
        runtime.resumed[spawner.user.name, spawner.name] = since
        runtime.in_background(_ask_again(spawner), f"starting {spawner._log_name} again")
        return EXIT_UNFINISHED
    spawner.object_id = service_id
    spawner._start = Start(spawner, runtime, asked - max(0.0, time.time() - since))
    spawner.log.info("Going on with the start of %s (%s)", spawner._log_name, spawner.object_name)
    try:
        ip = await spawner._start.running_address(deadline)
    except StartFailure as failure:
        spawner.log.warning("The start of %s failed: %s", spawner._log_name, failure)
        return EXIT_UNFINISHED
    finally:
        spawner._start = None
    spawner.server.ip, spawner.server.port = ip, spawner.port
    spawner._save_state()
    spawner._follow(runtime)
    return None


def _service_of(spawner: SwarmSpawner, view: ClusterView | None) -> str | None:
    """Id of the service that the cut off start created, None if it came to none."""
    if view is None:
        return spawner.object_id or None
    return view.services.get(spawner.object_id or spawner.object_name)


async def _ask_again(spawner: SwarmSpawner) -> None:
    """Start the server as its student would; JupyterHub keeps what was chosen."""
    user, server, hub = spawner.user, spawner.name, spawner.hub
    token = user.new_api_token(
        note="starting again after the hub's restart",
        expires_in=TOKEN_LIFETIME,
        scopes=[f"servers!user={user.name}"],
    )
    which = f"servers/{quote(server, safe='')}" if server else "server"
    path = f"users/{quote(user.name, safe='')}/{which}"
    request = HTTPRequest(
        f"http://127.0.0.1:{hub.port}{hub.base_url}api/{path}",
        method="POST",
        body=json.dumps(None),
        headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
        request_timeout=30,
    )

    async def ask() -> None:
        if spawner.pending:
            raise BlockingIOError("the hub still cleans up what it found")
        await AsyncHTTPClient().fetch(request)

    attempts = AsyncRetrying(
        # The hub does not listen yet. What it answers is its answer: a refused start is not tried again.
        retry=retry_if_exception(_is_unanswered),
        stop=stop_after_delay(ASK_AGAIN_WITHIN),
        wait=wait_exponential(multiplier=0.25, max=5),
        reraise=True,
    )
    try:
        await attempts(ask)
    except HTTPClientError as error:
        log.warning("%s was not started again: %s", spawner._log_name, error)


def _is_unanswered(error: BaseException) -> bool:
    unanswered = 599  # tornado's own code for a connection that broke
    return isinstance(error, OSError) or (isinstance(error, HTTPClientError) and error.code == unanswered)
