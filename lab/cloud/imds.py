"""The instance metadata service, version 2 only. The caller's address says which instance asks."""

from __future__ import annotations

import asyncio
import secrets
import socket
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

from lab.cloud import metadata
from lab.cloud.asg.model import Instance
from lab.cloud.runtime import Runtime

TOKEN_HEADER = "X-aws-ec2-metadata-token"
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
MAX_TTL = 21600
"""Seconds a token may live (EC2 user guide, IMDSv2)."""
NOT_FOUND = """<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>404 - Not Found</title>
 </head>
 <body>
  <h1>404 - Not Found</h1>
 </body>
</html>
"""


class FaultMode(StrEnum):
    """What a broken metadata service does. 401 and 404 hit reads only; the rest hit token requests too."""

    UNAUTHORIZED = "401"
    NOT_FOUND = "404"
    THROTTLED = "429"
    ERROR = "500"
    HANG = "hang"
    GARBAGE = "garbage"

    @property
    def hits_tokens(self) -> bool:
        return self not in {FaultMode.UNAUTHORIZED, FaultMode.NOT_FOUND}


@dataclass(frozen=True)
class Fault:
    mode: FaultMode
    until: float


@dataclass
class Faults:
    """The metadata faults in force, by instance id."""

    by_instance: dict[str, Fault] = field(default_factory=dict)

    def current(self, instance_id: str, now: float) -> Fault | None:
        fault = self.by_instance.get(instance_id)
        return fault if fault and now < fault.until else None


@dataclass(frozen=True)
class _Token:
    instance_id: str
    expires: float


class MetadataService:
    """Answers requests for all instances of a runtime."""

    def __init__(self, runtime: Runtime, faults: Faults) -> None:
        self._runtime = runtime
        self._faults = faults
        self._tokens: dict[str, _Token] = {}

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_put("/latest/api/token", self._put_token)
        app.router.add_get("/{path:.*}", self._get)
        return app

    async def _put_token(self, request: web.Request) -> web.StreamResponse:
        if "X-Forwarded-For" in request.headers:
            return web.Response(status=403, text="Forbidden: requests with X-Forwarded-For get no token\n")
        instance = self._caller(request)
        fault = self._faults.current(instance.instance_id, self._runtime.clock())
        if fault and fault.mode.hits_tokens:
            return await self._broken(fault)
        ttl = _ttl(request.headers.get(TTL_HEADER))
        if ttl is None:
            return web.Response(
                status=400, text=f"Bad Request: {TTL_HEADER} must be a whole number of 1 to {MAX_TTL}\n"
            )
        now = self._runtime.clock()
        self._tokens = {key: token for key, token in self._tokens.items() if token.expires > now}
        token = secrets.token_urlsafe(40)
        self._tokens[token] = _Token(instance.instance_id, now + ttl)
        response = web.Response(text=token, headers={TTL_HEADER: str(ttl)})
        limit_hops(request, instance.hop_limit)
        # The limit is the socket's: what else goes over this connection must not inherit it.
        response.force_close()
        return response

    async def _get(self, request: web.Request) -> web.StreamResponse:
        instance = self._caller(request)
        now = self._runtime.clock()
        fault = self._faults.current(instance.instance_id, now)
        if fault:
            return await self._broken(fault)
        token = self._tokens.get(request.headers.get(TOKEN_HEADER, ""))
        if token is None or token.expires <= now or token.instance_id != instance.instance_id:
            return web.Response(status=401, text="Unauthorized\n")
        path = request.path.strip("/")
        if path != "latest" and not path.startswith("latest/"):
            return web.Response(text="latest") if not path else _not_found()
        leaves = metadata.tree(self._runtime.world, instance, now)
        content = metadata.read(leaves, path.removeprefix("latest"))
        if content is None:
            return _not_found()
        return web.Response(text=content, headers={TTL_HEADER: str(int(token.expires - now))})

    def _caller(self, request: web.Request) -> Instance:
        for instance in self._runtime.world.instances.values():
            # A terminated instance's address may already be another's.
            if instance.imds_ip == request.remote and not instance.state.is_final:
                return instance
        # 503, not 404: right after its start an instance may ask before its launcher has told us.
        raise web.HTTPServiceUnavailable(text=f"no instance is known to have the address {request.remote}\n")

    async def _broken(self, fault: Fault) -> web.StreamResponse:
        match fault.mode:
            case FaultMode.HANG:
                await asyncio.sleep(max(0.0, fault.until - self._runtime.clock()))
                return web.Response(status=500, text="Internal Server Error\n")
            case FaultMode.GARBAGE:
                return web.Response(body=b"\x00\xff{not json<\x80", content_type="application/octet-stream")
            case FaultMode.NOT_FOUND:
                return _not_found()
            case _:
                return web.Response(
                    status=int(fault.mode.value), text=f"fault injected: {fault.mode.value}\n"
                )


def limit_hops(request: web.Request, hops: int) -> None:
    """Let the answer's packets die after ``hops`` hops, so that one for the instance itself (1) never
    reaches a container behind its bridge: HttpPutResponseHopLimit."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport else None
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)


def _not_found() -> web.Response:
    return web.Response(status=404, text=NOT_FOUND, content_type="text/html")


def _ttl(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return int(text) if 1 <= int(text) <= MAX_TTL else None
