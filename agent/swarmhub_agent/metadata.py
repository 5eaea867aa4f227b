"""Client of the EC2 instance metadata service, version 2 only (a session token on every request).

There is no fall-back to version 1: an instance that requires tokens answers 401 to it anyway, and one that
does not would give its role's credentials to any container that can send a plain GET.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import aiohttp

from .errors import AgentError

TOKEN_PATH = "/latest/api/token"
TOKEN_HEADER = "X-aws-ec2-metadata-token"
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_TTL_S = 3600
"""Requested life of a token; AWS allows 1 to 21600 s."""
RENEW_BEFORE_S = 60
TIMEOUT_S = 2.0
"""For one request; the service is on the same host."""

_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404


class MetadataUnavailableError(AgentError):
    """The metadata service gave no usable answer; it says nothing about notices."""


class Metadata:
    """Reads metadata items as text. Safe for concurrent use by several monitors."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._base_url = base_url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()

    async def get(self, path: str) -> str | None:
        """Return the item at ``path`` (``/latest/meta-data/…``), or None where there is none (404).

        Raises MetadataUnavailableError for everything else.
        """
        token = await self._valid_token()
        status, body, _ = await self._request("GET", path, {TOKEN_HEADER: token})
        if status == _UNAUTHORIZED:
            # The service forgets tokens early, for example when the instance was stopped and started.
            token = await self._valid_token(rejected=token)
            status, body, _ = await self._request("GET", path, {TOKEN_HEADER: token})
        if status == _NOT_FOUND:
            return None
        if status != _OK:
            raise MetadataUnavailableError(f"the metadata service answered {status} to GET {path}")
        return body

    async def _valid_token(self, rejected: str = "") -> str:
        async with self._renewing:
            if not self._token or self._token == rejected or self._clock() >= self._renew_at:
                asked_at = self._clock()
                status, token, headers = await self._request(
                    "PUT", TOKEN_PATH, {TTL_HEADER: str(TOKEN_TTL_S)}
                )
                if status != _OK:
                    raise MetadataUnavailableError(
                        f"the metadata service answered {status} to PUT {TOKEN_PATH}"
                    )
                ttl = headers.get(TTL_HEADER, str(TOKEN_TTL_S))
                if not token.isascii() or not token.isprintable() or not token.strip() or not ttl.isdecimal():
                    raise MetadataUnavailableError(
                        "the metadata service answered PUT with something that is no token"
                    )
                self._token = token
                self._renew_at = asked_at + max(int(ttl) - RENEW_BEFORE_S, 0)
            return self._token

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, str, Mapping[str, str]]:
        try:
            async with self._session.request(
                method,
                self._base_url + path,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                return response.status, (await response.read()).decode(), response.headers
        except TimeoutError:
            raise MetadataUnavailableError(
                f"the metadata service did not answer {method} {path} within {self._timeout.total:g} s"
            ) from None
        except (aiohttp.ClientError, UnicodeDecodeError, OSError) as error:
            raise MetadataUnavailableError(f"{method} {path} failed: {error!r}") from error
