"""Who this instance is: read once at boot from its metadata and its tags."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from . import log
from .errors import AgentError
from .metadata import Metadata
from .protocol import TAG_HUB, TAG_POOL

_TAGS = "/latest/meta-data/tags/instance/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What may stand in a file name, a parameter's path and a label at once."""
MAX_WAIT_S = 10.0


class IdentityIncompleteError(AgentError):
    """The metadata lack an item or hold one that cannot be right; the text names it."""


@dataclass(frozen=True)
class Identity:
    """The instance as EC2 describes it."""

    instance_id: str
    region: str
    private_ip: str
    hub: str
    """Of the tag ``swarmhub:hub``."""
    pool: str
    """Of the tag ``swarmhub:pool``."""


async def read_once(metadata: Metadata) -> Identity:
    """Read all of it. Raises IdentityIncompleteError or MetadataUnavailableError."""
    private_ip = await _item(metadata, "/latest/meta-data/local-ipv4")
    try:
        ipaddress.ip_address(private_ip)
    except ValueError:
        raise IdentityIncompleteError(
            f"the instance's private address {private_ip!r} is no IP address"
        ) from None
    return Identity(
        instance_id=await _name(metadata, "/latest/meta-data/instance-id"),
        region=await _name(metadata, "/latest/meta-data/placement/region"),
        private_ip=private_ip,
        hub=await _name(metadata, _TAGS + TAG_HUB),
        pool=await _name(metadata, _TAGS + TAG_POOL),
    )


async def read(
    metadata: Metadata,
    *,
    time_limit_s: float | None,
    on_failure: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Identity:
    """Read the identity, again and again for ``time_limit_s`` seconds (None: as long as the instance lives).

    ``on_failure`` gets the reason of each failure. Raises the last failure when the time is over.
    """
    started = clock()

    def failed(state: RetryCallState) -> None:
        reason = str(state.outcome.exception()) if state.outcome else ""
        log.warning("the instance's identity cannot be read yet", reason=reason)
        on_failure(reason)

    retrying = AsyncRetrying(
        stop=lambda _: time_limit_s is not None and clock() - started >= time_limit_s,
        wait=wait_exponential(multiplier=0.5, max=MAX_WAIT_S) + wait_random(0, 0.5),
        retry=retry_if_exception_type(AgentError),
        before_sleep=failed,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(read_once, metadata)


async def _item(metadata: Metadata, path: str) -> str:
    text = await metadata.get(path)
    if text is None or not text.strip():
        hint = "; are instance tags allowed in metadata?" if path.startswith(_TAGS) else ""
        raise IdentityIncompleteError(f"the instance metadata have no {path}{hint}")
    return text.strip()


async def _name(metadata: Metadata, path: str) -> str:
    text = await _item(metadata, path)
    if not _NAME.fullmatch(text):
        raise IdentityIncompleteError(
            f"{path} is {text!r}: only letters, digits, '.', '_' and '-' are allowed"
        )
    return text
