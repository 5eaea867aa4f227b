"""The controller's two HTTP listeners: agents' reports (mutual TLS), status for the operator (loopback)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web
from pydantic import ValidationError
from swarmhub_agent.protocol import PROTOCOL_VERSION, Reply, Report

from swarmhub.controller import logs
from swarmhub.controller.identity import ROLES, IdentityError, Peer, peer_of
from swarmhub.controller.status import StatusDocument
from swarmhub.controller.swarm import SwarmError

REPORT_BYTES = 64 * 1024
"""A report is a few hundred bytes."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Desk(Protocol):
    """What the listeners need of the controller."""

    cluster_id: str | None
    """The swarm's id; None until the engine has said it."""

    async def knows(self, node_id: str) -> bool:
        """Whether the node is in the swarm's list now. Raises SwarmError."""

    def accept(self, node_id: str, report: Report) -> Reply:
        """Take a report, answer with what the controller makes of the node."""

    def status(self) -> StatusDocument: ...

    def is_alive(self) -> bool:
        """Whether the loop turns."""


def agent_app(desk: Desk) -> web.Application:
    """``POST /v1/nodes/{node_id}/report``: Report → Reply; a node may speak for itself only."""

    async def report(request: web.Request) -> web.Response:
        node_id = request.match_info["node_id"]
        try:
            _authorize(request, desk.cluster_id, node_id)
            if not await desk.knows(node_id):
                return _error(410, f"node {node_id} is not in the swarm's list")
            body = Report.model_validate_json(await request.read())
        except _RefusalError as refusal:
            return _error(refusal.status, str(refusal))
        except SwarmError as error:
            return _error(503, f"the swarm cannot be asked: {error}")
        except ValidationError as error:
            return _error(400, _problems(error))
        if body.version != PROTOCOL_VERSION:
            return _error(
                400, f"version: this controller speaks version {PROTOCOL_VERSION}, got {body.version}"
            )
        reply = desk.accept(node_id, body)
        return web.Response(text=reply.model_dump_json(), content_type="application/json")

    app = web.Application(client_max_size=REPORT_BYTES, middlewares=[_json_errors])
    app.router.add_post("/v1/nodes/{node_id}/report", report)
    return app


def local_app(desk: Desk) -> web.Application:
    """``GET /status`` and ``GET /healthz``: for the loopback address only, they ask nobody's name."""

    async def status(_request: web.Request) -> web.Response:
        return web.Response(text=desk.status().model_dump_json(), content_type="application/json")

    async def healthz(_request: web.Request) -> web.Response:
        if desk.is_alive():
            return web.json_response({"status": "ok"})
        return _error(503, "the controller's loop has not turned lately")

    app = web.Application(middlewares=[_json_errors])
    app.router.add_get("/status", status)
    app.router.add_get("/healthz", healthz)
    return app


class _RefusalError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _authorize(request: web.Request, cluster_id: str | None, node_id: str) -> Peer:
    """The peer, if its certificate allows it to speak for ``node_id``. Raises _RefusalError."""
    if cluster_id is None:
        raise _RefusalError(503, "the controller does not know its own swarm yet")
    transport = request.transport
    try:
        peer = peer_of(transport.get_extra_info("peercert") if transport else None)
    except IdentityError as error:
        raise _refused(request, node_id, "?", str(error)) from error
    if peer.cluster_id != cluster_id:
        raise _refused(
            request, node_id, peer.node_id, f"its certificate is of another swarm ({peer.cluster_id})"
        )
    if peer.role not in ROLES:
        message = f"its certificate's role is {peer.role!r}; allowed: {', '.join(sorted(ROLES))}"
        raise _refused(request, node_id, peer.node_id, message)
    if peer.node_id != node_id:
        message = f"node {peer.node_id} tried to speak for node {node_id}; a node may speak for itself only"
        raise _refused(request, node_id, peer.node_id, message)
    return peer


def _refused(request: web.Request, node_id: str, peer: str, message: str) -> _RefusalError:
    logs.warning("refused a report", node=peer, about_node=node_id, address=request.remote, reason=message)
    return _RefusalError(403, message)


def _problems(error: ValidationError) -> str:
    """``field: what is wrong`` for the first few fields."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in found)


@web.middleware
async def _json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """aiohttp's own refusals (unknown path, body too large), too, are JSON with a sentence."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error(error.status, f"{request.method} {request.path}: {error.text or error.reason}")


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
