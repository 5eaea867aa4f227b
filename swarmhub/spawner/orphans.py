"""What of a hub is left in Swarm although the hub knows no server it belongs to; and its removal.

A service whose removal failed, or whose start was cut short together with the hub, would hold a seat and a
home for ever. But a hub that lost its database knows no server either: doubt never kills, so an orphan is
removed only after a time of grace, and never when it is one of too many.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Protocol

import requests
from docker.errors import APIError, DockerException, NotFound
from jupyterhub import orm
from sqlalchemy.orm import joinedload

from swarmhub.spawner.spec import LABEL_HUB, LABEL_SERVER, LABEL_USER

EVERY_S = 60.0
"""Seconds between two looks: two calls each."""
GRACE_S = 300.0
"""Seconds something must have been an orphan without a break: longer than the longest start or stop."""
FEW = 3
"""So many orphaned services are believed whatever share of all they are."""

log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What may be left behind."""

    SERVICE = "service"
    SECRET = "secret"


@dataclass(frozen=True)
class Found:
    """A service or secret of this hub that was made for a server."""

    kind: Kind
    id: str
    name: str
    user: str
    server: str
    """Empty: the user's default server."""
    created_at: float
    """Seconds since 1970."""
    secrets: frozenset[str] = frozenset()
    """Ids of the secrets that a service uses."""


@dataclass(frozen=True)
class Known:
    """The servers a hub has: running, starting or stopping."""

    servers: frozenset[tuple[str, str]]
    """(user, server)."""
    services: frozenset[str] = frozenset()
    """Ids of their services: whoever is renamed keeps the service that is labelled with the old name."""

    def has(self, found: Found) -> bool:
        """Whether it belongs to one of them."""
        return (found.user, found.server) in self.servers or found.id in self.services


@dataclass(frozen=True)
class Orphan:
    """Something that belongs to no server the hub knows."""

    found: Found
    age: float
    """Seconds since it was first seen so."""
    is_due: bool
    """The grace is over."""
    reason: str


class OrphanApi(Protocol):
    """The part of docker-py's ``APIClient`` used here."""

    def services(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]: ...

    def secrets(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]: ...

    def remove_service(self, service: str, /) -> Any: ...

    def remove_secret(self, secret: str, /) -> Any: ...


def orphans(
    found: Iterable[Found], known: Known, first_seen: Mapping[str, float], now: float, grace: float
) -> tuple[Orphan, ...]:
    """What belongs to no known server: services first, then by name. Pure.

    ``first_seen``: id → when it was first seen to be an orphan; absent: now. All times in seconds.
    """
    everything = tuple(found)
    in_use = _secrets_in_use(everything, known)
    result = []
    for item in sorted(everything, key=lambda item: (item.kind is Kind.SECRET, item.name)):
        reason = _reason(item, known, in_use)
        if reason:
            age = max(0.0, now - first_seen.get(item.id, now))
            result.append(Orphan(item, age, age >= grace, reason))
    return tuple(result)


def are_believable(lost: Iterable[Orphan], found: Iterable[Found]) -> bool:
    """Whether so many orphaned services may be true: a few, or at most half of all.

    More than that rather says that the hub lost its database, and every server's work would go with it.
    """
    services = sum(item.kind is Kind.SERVICE for item in found)
    return sum(orphan.found.kind is Kind.SERVICE for orphan in lost) <= max(FEW, services / 2)


def find(api: OrphanApi, hub: str) -> tuple[Found, ...]:
    """Everything in Swarm that was made for a server of this hub. Blocking; raises what docker-py raises."""
    ours = {"label": f"{LABEL_HUB}={hub}"}
    # Secrets first: one that is listed and not used by then may be used by a service created in between.
    secrets = [_found(Kind.SECRET, raw) for raw in api.secrets(filters=ours)]
    services = [_found(Kind.SERVICE, raw) for raw in api.services(filters=ours)]
    return tuple(item for item in (*services, *secrets) if item)


def remove(api: OrphanApi, found: Found) -> bool:
    """Remove it; False if it is a secret still in use. Blocking; raises what docker-py raises."""
    try:
        if found.kind is Kind.SERVICE:
            api.remove_service(found.id)
        else:
            api.remove_secret(found.id)
    except NotFound:
        return True
    except APIError as error:
        if found.kind is Kind.SECRET and error.status_code in _IN_USE:
            return False
        raise
    return True


def known_in_database(db: Any) -> Known:
    """Every server with a record in the hub's database (a SQLAlchemy session of its thread).

    JupyterHub makes the record before it calls ``start()`` and deletes it after ``stop()``, so it is there
    whatever the server does at the moment, also right after the hub's own start.
    """
    rows = (
        db.query(orm.Spawner).filter(orm.Spawner.server_id.is_not(None)).options(joinedload(orm.Spawner.user))
    )
    return known_from((row.user.name, row.name or "", row.state) for row in rows)


def known_from(servers: Iterable[tuple[str, str, Mapping[str, Any] | None]]) -> Known:
    """``Known`` of (user, server, the spawner's saved state)."""
    listed = tuple(servers)
    return Known(
        frozenset((user, server) for user, server, _ in listed),
        frozenset(state["object_id"] for _, _, state in listed if state and state.get("object_id")),
    )


@dataclass
class OrphanSweep:
    """Looks for orphans again and again and removes those whose grace is over."""

    look: Callable[[], Awaitable[tuple[Found, ...]]]
    """See ``find``."""
    known: Callable[[], Known | None]
    """The servers the hub has now; None while it cannot say."""
    remove: Callable[[Found], Awaitable[bool]]
    """See ``remove``."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    count: Callable[[int], object]
    """Takes the number of orphans, due or not."""
    grace: float = GRACE_S
    _first_seen: dict[str, float] = field(default_factory=dict)
    _doubted: bool = False

    async def run(self, every: float = EVERY_S) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except (DockerException, requests.RequestException) as error:
                log.warning("Docker did not let us look for orphans: %s", error)
            except Exception:
                log.exception("Looking for orphans failed")
            await asyncio.sleep(every)

    async def sweep(self) -> tuple[Orphan, ...]:
        """Look once, remove what is due, return all orphans seen. Raises what Docker's client raises."""
        found = await self.look()
        known = self.known()
        if known is None:
            return ()
        now = self.clock()
        lost = orphans(found, known, self._first_seen, now, self.grace)
        self._first_seen = {orphan.found.id: self._first_seen.get(orphan.found.id, now) for orphan in lost}
        self.count(len(lost))
        if self._believe(lost, found):
            for orphan in lost:
                if orphan.is_due:
                    await self._remove(orphan)
        return lost

    def _believe(self, lost: tuple[Orphan, ...], found: tuple[Found, ...]) -> bool:
        believable = are_believable(lost, found)
        if not believable and not self._doubted:
            log.error(
                "The hub does not know %d of the services and secrets it seems to have made. That are too "
                "many to believe: none is removed. If it is true, run: swarmhub orphans --remove",
                len(lost),
            )
        self._doubted = not believable
        return believable

    async def _remove(self, orphan: Orphan) -> None:
        # Removing the ones before took its time: the hub may know this one by now.
        known = self.known()
        if known is None or known.has(orphan.found):
            return
        found = orphan.found
        if await self.remove(found):
            self._first_seen.pop(found.id, None)
            log.warning("Removed orphaned %s %s of %s: %s", found.kind, found.name, found.user, orphan.reason)


_NO_SERVER = "the hub knows no such server"
_REPLACED = "the server uses a newer one"
_IN_USE = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT})
"""Answers to removing a secret that a service uses: engines say 400 (moby: secrets.go, InvalidArgument)."""


@dataclass(frozen=True)
class _SecretsInUse:
    """The secrets that services of known servers use."""

    ids: frozenset[str]
    newest: Mapping[tuple[str, str], float]
    """When the newest of a (user, server) was made."""


def _secrets_in_use(found: tuple[Found, ...], known: Known) -> _SecretsInUse:
    made = {item.id: item.created_at for item in found if item.kind is Kind.SECRET}
    ids: set[str] = set()
    newest: dict[tuple[str, str], float] = {}
    for service in found:
        if known.has(service):
            ids |= service.secrets
            times = [made[secret] for secret in service.secrets & made.keys()]
            owner = (service.user, service.server)
            newest[owner] = max([newest.get(owner, 0.0), *times])
    return _SecretsInUse(frozenset(ids), newest)


def _reason(item: Found, known: Known, in_use: _SecretsInUse) -> str | None:
    """Why it is an orphan; None: it is none.

    A known server without a service may be waiting in the queue with its secret: that one stays.
    """
    if item.id in in_use.ids:
        return None
    if not known.has(item):
        return _NO_SERVER
    is_older = item.created_at < in_use.newest.get((item.user, item.server), 0.0)
    return _REPLACED if item.kind is Kind.SECRET and is_older else None


def _found(kind: Kind, raw: Mapping[str, Any]) -> Found | None:
    """One entry of the engine's list; None if it was made for no server."""
    spec = raw["Spec"]
    labels = spec.get("Labels") or {}
    if LABEL_USER not in labels:
        return None
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return Found(
        kind=kind,
        id=raw["ID"],
        name=spec["Name"],
        user=labels[LABEL_USER],
        server=labels.get(LABEL_SERVER, ""),
        created_at=datetime.fromisoformat(raw["CreatedAt"]).timestamp(),
        secrets=frozenset(secret["SecretID"] for secret in container.get("Secrets") or ()),
    )
