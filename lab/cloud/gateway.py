"""The AWS endpoint: one address for all services. Ours are answered here, the rest goes to moto."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web
from yarl import URL

from lab.cloud.autoscaling_api import AUTOSCALING
from lab.cloud.aws_api import Service, service_of
from lab.cloud.ec2_api import EC2
from lab.cloud.runtime import Runtime

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024**2
"""Bytes of a request body; moto's own limit is of this order."""
PROXY_TIMEOUT = aiohttp.ClientTimeout(total=60)
"""Seconds; the longest AWS call is SQS's 20 s long poll."""
# RFC 9110, 7.6.1: these belong to one connection. Content-Length is set anew from the body.
_HOP_BY_HOP = {
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


class Gateway:
    """Routes by the service in the request's credential scope."""

    def __init__(self, runtime: Runtime, moto: str) -> None:
        self._runtime = runtime
        self._moto = moto
        self._services = {
            "autoscaling": Service("autoscaling", AUTOSCALING),
            "ec2": Service("ec2", EC2),
        }

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.cleanup_ctx.append(self._client)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _client(self, _app: web.Application) -> AsyncIterator[None]:
        self._http = aiohttp.ClientSession(timeout=PROXY_TIMEOUT, auto_decompress=False)
        yield
        await self._http.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        credential = request.query.get("X-Amz-Credential", "")
        service = self._services.get(service_of(request.headers.get("Authorization", ""), credential))
        if service is None:
            return await self._proxy(request)
        form = dict(parse_qsl(await request.text(), keep_blank_values=True)) | dict(request.query)
        reply = service.answer(form, self._runtime.apply)
        return web.Response(
            status=reply.status, body=reply.body.encode(), headers=_text_headers(reply.headers)
        )

    async def _proxy(self, request: web.Request) -> web.StreamResponse:
        # The Host header goes along: moto builds queue URLs from it, which clients call back.
        url = URL(f"{self._moto}{request.raw_path}", encoded=True)
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP]
        try:
            async with self._http.request(
                request.method,
                url,
                headers=headers,
                data=await request.read(),
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as answer:
                body = await answer.read()
                kept = [(k, v) for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP]
                return web.Response(status=answer.status, body=body, headers=kept)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("moto did not answer %s %s: %r", request.method, request.path, error)
            return web.Response(status=503, text=f"moto did not answer: {error!r}\n")


def _text_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {**headers, "Content-Type": "text/xml;charset=UTF-8"}
