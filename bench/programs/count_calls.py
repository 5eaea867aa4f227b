"""Passes the engine's API on, from a socket of its own, and counts what is asked.

Usage: count_calls.py SOCKET PORT. ``http://…:PORT/counts`` answers with the calls so far by method and path,
ids left out (``{"GET /tasks": 12}``). A stream such as /events counts once.
"""

import re
import sys

from aiohttp import ClientSession, ClientTimeout, UnixConnector, web
from yarl import URL

ENGINE = "/var/run/docker.sock"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "host"}
ENGINE_KEY = web.AppKey("engine", ClientSession)
COUNTS_KEY = web.AppKey("counts", dict[str, int])


def verb(method: str, path: str) -> str:
    """``GET /v1.45/services/abc`` is ``GET /services/{id}``."""
    plain = re.sub(r"^/v[0-9.]+", "", path)
    plain = re.sub(
        r"^(/(?:services|tasks|nodes|networks|configs|secrets))/(?!create$)[^/]+", r"\1/{id}", plain
    )
    return f"{method} {plain}"


async def forward(request: web.Request) -> web.StreamResponse:
    called = verb(request.method, request.path)
    counts = request.app[COUNTS_KEY]
    counts[called] = counts.get(called, 0) + 1
    headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
    url = URL(f"http://docker{request.raw_path}", encoded=True)
    body = await request.read()
    engine = request.app[ENGINE_KEY]
    async with engine.request(request.method, url, headers=headers, data=body or None) as answer:
        passed = web.StreamResponse(
            status=answer.status,
            headers={key: value for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP},
        )
        await passed.prepare(request)
        async for chunk in answer.content.iter_any():
            await passed.write(chunk)
        return passed


async def show_counts(request: web.Request) -> web.Response:
    return web.json_response(request.app[COUNTS_KEY])


async def main(port: int) -> web.Application:
    counts: dict[str, int] = {}
    app = web.Application(client_max_size=2**24)
    app[COUNTS_KEY] = counts
    app[ENGINE_KEY] = ClientSession(
        connector=UnixConnector(ENGINE, limit=0), timeout=ClientTimeout(total=None), auto_decompress=False
    )
    app.router.add_route("*", "/{path:.*}", forward)
    reader = web.Application()
    reader[COUNTS_KEY] = counts
    reader.router.add_get("/counts", show_counts)
    runner = web.AppRunner(reader)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()
    return app


if __name__ == "__main__":
    web.run_app(main(int(sys.argv[2])), path=sys.argv[1], print=None)
