"""The few calls of the Docker Engine API that the agent needs, over the local socket.

Paths carry no API version: agent and engine come from the same image, and nothing used here has changed since
version 1.25. https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from . import addresses
from .errors import AgentError

TIMEOUT_S = 10.0
INSPECT_TIMEOUT_S = 2.0
"""An image is looked up in every round of checks, which must not wait for an engine that hangs."""
JOIN_TIMEOUT_S = 30.0
"""The engine itself stops waiting for the managers after 20 s and goes on trying in the background."""
LEAVE_TIMEOUT_S = 60.0
"""Leaving stops the node's tasks, each with its stop grace period (Docker's default 10 s)."""
PULL_TIMEOUT_S = 1800.0
PULL_SILENCE_S = 300.0
"""A pull reports progress several times a second; this long without any means it hangs."""
TASK_LABEL = "com.docker.swarm.task.id"

_NOT_FOUND = 404


class EngineError(AgentError):
    """The engine did not do what it was asked."""


class EngineUnreachableError(EngineError):
    """No answer, no connection, or nothing that the engine's API allows."""


class EngineRefusedError(EngineError):
    """The engine answered with an error; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PullFailedError(EngineError):
    """The image was not pulled; the text is the registry's or the engine's reason."""


class LocalNodeState(StrEnum):
    """The engine's view of its own membership (``Swarm.LocalNodeState``)."""

    INACTIVE = "inactive"
    PENDING = "pending"
    ACTIVE = "active"
    ERROR = "error"
    LOCKED = "locked"

    @property
    def is_pending(self) -> bool:
        """True while the engine may become active by itself (it retries in the background)."""
        return self in (LocalNodeState.PENDING, LocalNodeState.ERROR)


@dataclass(frozen=True)
class EngineInfo:
    """What ``/info`` says about this node."""

    state: LocalNodeState
    node_id: str
    """Empty when inactive; the common name of the node's certificate otherwise."""
    error: str
    managers: tuple[str, ...]
    """Addresses, without ports, of the managers this node knows."""
    root: Path
    labels: Mapping[str, str] = field(default_factory=dict)


class _Manager(BaseModel):
    addr: str = Field(default="", alias="Addr")


class _Swarm(BaseModel):
    node_id: str = Field(default="", alias="NodeID")
    state: LocalNodeState = Field(alias="LocalNodeState")
    error: str = Field(default="", alias="Error")
    managers: list[_Manager] | None = Field(default=None, alias="RemoteManagers")


class _Info(BaseModel):
    root: Path = Field(alias="DockerRootDir")
    labels: list[str] | None = Field(default=None, alias="Labels")
    swarm: _Swarm = Field(alias="Swarm")


class Engine:
    """Talks to one engine. ``session`` connects to its socket. Every method raises EngineError."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def info(self, timeout_s: float = TIMEOUT_S) -> EngineInfo:
        """Return the engine's own description."""
        body = await self._call("GET", "/info", timeout_s)
        try:
            info = _Info.model_validate_json(body)
        except ValidationError as error:
            raise EngineUnreachableError(f"the engine's /info cannot be read: {error}") from error
        return EngineInfo(
            state=info.swarm.state,
            node_id=info.swarm.node_id,
            error=info.swarm.error,
            managers=tuple(
                addresses.host(manager.addr) for manager in info.swarm.managers or () if manager.addr
            ),
            root=info.root,
            labels={name: value for name, _, value in (label.partition("=") for label in info.labels or ())},
        )

    async def join_paused(self, *, token: str, managers: Sequence[str], address: str) -> None:
        """Join as a paused worker. ``managers`` are ``host:port``; ``address`` is this instance's own.

        An error does not mean that nothing happened: when the managers are silent, the engine answers after
        20 s and goes on trying. ``info`` tells.
        """
        body = {
            "ListenAddr": "0.0.0.0:2377",
            "AdvertiseAddr": address,
            "DataPathAddr": address,
            "RemoteAddrs": list(managers),
            "JoinToken": token,
            "Availability": "pause",
        }
        await self._call("POST", "/swarm/join", JOIN_TIMEOUT_S, body=body)

    async def leave(self) -> None:
        """Leave the swarm, whatever state it is in; an engine that is in none has left."""
        try:
            await self._call("POST", "/swarm/leave", LEAVE_TIMEOUT_S, query={"force": "true"})
        except EngineRefusedError:
            # The refusal's status differs between engine versions; the state does not.
            if (await self.info()).state is not LocalNodeState.INACTIVE:
                raise

    async def has_image(self, reference: str) -> bool:
        """Tell whether the image ``name@sha256:…`` is in the engine's store."""
        try:
            await self._call("GET", f"/images/{reference}/json", INSPECT_TIMEOUT_S)
        except EngineRefusedError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True

    async def pull(self, reference: str) -> None:
        """Pull ``name@sha256:…`` and return when it is complete. Raises PullFailedError."""
        name, _, digest = reference.partition("@")
        timeout = aiohttp.ClientTimeout(
            total=PULL_TIMEOUT_S, sock_connect=TIMEOUT_S, sock_read=PULL_SILENCE_S
        )
        query = {"fromImage": name, "tag": digest}
        try:
            async with self._session.post(
                "http://engine/images/create", params=query, timeout=timeout
            ) as response:
                if not response.ok:
                    raise PullFailedError(_message(await response.read()))
                # The status is sent before the work: what went wrong is an entry of the stream.
                async for line in response.content:
                    entry = _json(line)
                    if isinstance(entry, dict) and (reason := entry.get("error")):
                        raise PullFailedError(str(reason))
        except TimeoutError:
            raise PullFailedError("the pull stopped making progress") from None
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise PullFailedError(f"the pull broke off: {error!r}") from error

    async def task_containers(self) -> tuple[str, ...]:
        """Return the names of the running containers that are Swarm tasks."""
        query = {"filters": json.dumps({"label": [TASK_LABEL]})}
        entries = _json(await self._call("GET", "/containers/json", TIMEOUT_S, query=query))
        if not isinstance(entries, list):
            raise EngineUnreachableError("the engine's list of containers cannot be read")
        return tuple(name.lstrip("/") for entry in entries for name in entry.get("Names", ())[:1])

    async def _call(
        self,
        method: str,
        path: str,
        timeout_s: float,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.request(
                method, f"http://engine{path}", json=body, params=query, timeout=timeout
            ) as response:
                answer = await response.read()
                if not response.ok:
                    raise EngineRefusedError(response.status, _message(answer))
                return answer
        except TimeoutError:
            raise EngineUnreachableError(
                f"the engine did not answer {method} {path} within {timeout_s:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise EngineUnreachableError(f"the engine cannot be reached: {error!r}") from error


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _message(answer: bytes) -> str:
    """The engine's reason: ``{"message": "…"}``, or the answer as it is."""
    entry = _json(answer)
    if isinstance(entry, dict) and isinstance(entry.get("message"), str):
        return str(entry["message"])
    return answer.decode(errors="replace").strip() or "the engine gave no reason"
