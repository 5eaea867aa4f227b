"""What no server needs any more is found, and nothing else is ever removed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound
from jupyterhub import orm

from swarmhub.spawner.orphans import (
    Found,
    Kind,
    Known,
    Orphan,
    OrphanSweep,
    are_believable,
    find,
    known_from,
    known_in_database,
    orphans,
    remove,
)

ANA = ("ana", "")


def service(user: str, server: str = "", *, secrets: tuple[str, ...] = ()) -> Found:
    name = f"lab-{user}{server}"
    return Found(Kind.SERVICE, f"id-{name}", name, user, server, 100.0, frozenset(secrets))


def secret(user: str, number: int = 1, *, made: float = 100.0) -> Found:
    return Found(Kind.SECRET, f"{user}-{number}", f"lab-{user}-{number}", user, "", made)


def names(found: tuple[Orphan, ...]) -> list[str]:
    return [orphan.found.name for orphan in found]


def lost(*found: Found, known: Known) -> list[str]:
    return names(orphans(found, known, {}, 0.0, 300.0))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([service("ana")], [], id="a known server's service"),
        pytest.param([service("bea"), service("ana", "two")], ["lab-anatwo", "lab-bea"], id="unknown ones"),
        pytest.param([service("ana", secrets=("ana-1",)), secret("ana")], [], id="a secret in use"),
        pytest.param([secret("ana")], [], id="the secret of a start that waits in the queue"),
        pytest.param(
            [service("ana", secrets=("ana-2",)), secret("ana", 1), secret("ana", 2, made=200)],
            ["lab-ana-1"],
            id="the secret of an earlier run",
        ),
        pytest.param(
            [service("ana", secrets=("ana-1",)), secret("ana", 1), secret("ana", 2, made=200)],
            [],
            id="the secret of a start that comes next",
        ),
        pytest.param([secret("bea")], ["lab-bea-1"], id="a secret of nobody"),
        pytest.param(
            [secret("bea"), service("bea", secrets=("bea-1",))],
            ["lab-bea", "lab-bea-1"],
            id="a service before the secret it uses",
        ),
        pytest.param(
            [service("ana", secrets=("gone",)), secret("ana")], [], id="a secret that the list did not show"
        ),
    ],
)
def test_what_is_an_orphan(found: list[Found], expected: list[str]) -> None:
    assert lost(*found, known=Known(frozenset({ANA}))) == expected


def test_whoever_is_renamed_keeps_the_service_and_its_secret() -> None:
    old = service("ana", secrets=("ana-1",))
    assert lost(old, secret("ana"), known=Known(frozenset({("anna", "")}), frozenset({old.id}))) == []


def test_an_orphan_is_due_when_its_grace_is_over() -> None:
    known = Known(frozenset())
    first_seen = {service("ana").id: 100.0}
    for now, age, is_due in ((399.0, 299.0, False), (400.0, 300.0, True)):
        (orphan,) = orphans([service("ana")], known, first_seen, now, 300.0)
        assert (orphan.age, orphan.is_due) == (age, is_due)
    (new,) = orphans([service("bea")], known, first_seen, 400.0, 300.0)
    assert (new.age, new.is_due, new.reason) == (0.0, False, "the hub knows no such server")


@pytest.mark.parametrize(
    ("of", "orphaned", "believed"), [(3, 3, True), (5, 4, False), (8, 4, True), (9, 5, False)]
)
def test_a_hub_that_lost_its_database_is_not_believed(of: int, orphaned: int, believed: bool) -> None:
    found = [service(f"u{i}") for i in range(of)] + [secret(f"u{i}") for i in range(50)]
    known = Known(frozenset((f"u{i}", "") for i in range(orphaned, of)))
    assert are_believable(orphans(found, known, {}, 0, 0), found) is believed


class Lab:
    """A swarm, the hub's knowledge and a clock; ``OrphanSweep`` runs on them."""

    def __init__(self, *found: Found) -> None:
        self.found = found
        self.known: Known | None = Known(frozenset())
        self.time = 1000.0
        self.removed: list[str] = []
        self.in_use: set[str] = set()
        self.counts: list[int] = []
        self.looked, self.counted = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    def sweep(self) -> OrphanSweep:
        return OrphanSweep(
            look=self.look,
            known=lambda: self.known,
            remove=self.remove,
            clock=lambda: self.time,
            count=self.count,
        )

    def count(self, number: int) -> None:
        self.counts.append(number)
        self.counted.set()

    async def look(self) -> tuple[Found, ...]:
        self.looked.set()
        if self.error:
            raise self.error
        return self.found

    async def remove(self, found: Found) -> bool:
        if found.id in self.in_use:
            return False
        self.removed.append(found.name)
        self.found = tuple(item for item in self.found if item.id != found.id)
        return True


async def test_an_orphan_is_removed_after_five_minutes_and_counted_until_then() -> None:
    lab = Lab(service("ana"))
    sweep = lab.sweep()
    await sweep.sweep()
    lab.time += 299
    await sweep.sweep()
    assert lab.removed == []
    lab.time += 1
    await sweep.sweep()
    await sweep.sweep()
    assert (lab.removed, lab.counts) == (["lab-ana"], [1, 1, 1, 0])


async def test_what_was_known_in_between_starts_its_grace_anew() -> None:
    lab = Lab(service("ana"))
    sweep = lab.sweep()
    await sweep.sweep()
    lab.known = Known(frozenset({ANA}))
    lab.time += 200
    await sweep.sweep()
    lab.known = Known(frozenset())
    lab.time += 200
    await sweep.sweep()
    lab.time += 299
    await sweep.sweep()
    assert lab.removed == []


async def test_a_hub_that_cannot_say_what_it_knows_removes_nothing() -> None:
    lab = Lab(service("ana"))
    sweep = lab.sweep()
    for known in (Known(frozenset()), None):
        lab.known = known
        lab.time += 1000
        await sweep.sweep()
    assert lab.removed == []


async def test_a_server_that_became_known_while_others_were_removed_stays() -> None:
    lab = Lab(service("ana"), service("bea"))
    sweep = lab.sweep()
    await sweep.sweep()
    lab.time += 300
    remove_first = lab.remove

    async def remove_and_learn(found: Found) -> bool:
        lab.known = Known(frozenset({("bea", "")}))
        return await remove_first(found)

    sweep.remove = remove_and_learn
    await sweep.sweep()
    assert lab.removed == ["lab-ana"]


async def test_a_secret_still_in_use_is_tried_again() -> None:
    lab = Lab(secret("ana"))
    lab.in_use = {"ana-1"}
    sweep = lab.sweep()
    await sweep.sweep()
    lab.time += 300
    await sweep.sweep()
    lab.in_use = set()
    lab.time += 60
    await sweep.sweep()
    assert lab.removed == ["lab-ana-1"]


async def test_too_many_orphans_are_counted_and_told_once_but_not_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab = Lab(*(service(f"u{i}") for i in range(4)))
    sweep = lab.sweep()
    for _ in range(3):
        await sweep.sweep()
        lab.time += 1000
    assert (lab.removed, lab.counts) == ([], [4, 4, 4])
    assert caplog.text.count("swarmhub orphans --remove") == 1


@pytest.mark.parametrize("error", [requests.ConnectionError("away"), KeyError("Spec")])
async def test_an_engine_that_does_not_answer_is_asked_again(error: Exception) -> None:
    lab = Lab(service("ana"))
    lab.error = error
    task = asyncio.create_task(lab.sweep().run(every=0.001))
    async with asyncio.timeout(5):
        await lab.looked.wait()
    lab.error = None
    async with asyncio.timeout(5):
        await lab.counted.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert lab.counts[0] == 1


class Engine:
    """docker-py's four calls; ``refuse``: the status it answers a removal with."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.refuse: int | None = None
        self.service_labels = {"org.swarmhub.hub": "lab", "org.swarmhub.user": "ana"}

    def secrets(self, filters: Any = None) -> list[dict[str, Any]]:
        self.asked.append(("secrets", filters))
        labels = {"org.swarmhub.user": "ana", "org.swarmhub.server": "two"}
        return [{"ID": "s1", "CreatedAt": "2026-03-02T09:00:00Z", "Spec": {"Name": "x-1", "Labels": labels}}]

    def services(self, filters: Any = None) -> list[dict[str, Any]]:
        self.asked.append(("services", filters))
        spec = {
            "Name": "x",
            "Labels": self.service_labels,
            "TaskTemplate": {"ContainerSpec": {"Secrets": [{"SecretID": "s1"}]}},
        }
        return [{"ID": "v1", "CreatedAt": "2026-03-02T09:00:00.123456789Z", "Spec": spec}]

    def remove_service(self, service: str) -> bool:
        return self._remove("remove_service", service)

    def remove_secret(self, secret: str) -> bool:
        return self._remove("remove_secret", secret)

    def _remove(self, call: str, name: str) -> bool:
        if self.refuse:
            response = requests.Response()
            response.status_code = self.refuse
            raise (NotFound if self.refuse == 404 else APIError)("refused", response=response)
        self.asked.append((call, name))
        return True


def test_only_this_hubs_services_and_secrets_of_servers_are_looked_at() -> None:
    engine = Engine()
    found = find(engine, "lab")
    assert found == (
        Found(Kind.SERVICE, "v1", "x", "ana", "", 1772442000.123456, frozenset({"s1"})),
        Found(Kind.SECRET, "s1", "x-1", "ana", "two", 1772442000.0),
    )
    ours = {"label": "org.swarmhub.hub=lab"}
    assert engine.asked == [("secrets", ours), ("services", ours)]
    del engine.service_labels["org.swarmhub.user"]
    assert [item.kind for item in find(engine, "lab")] == [Kind.SECRET]


def test_things_are_removed_by_id() -> None:
    engine = Engine()
    assert remove(engine, service("ana"))
    assert remove(engine, secret("ana"))
    assert engine.asked == [("remove_service", "id-lab-ana"), ("remove_secret", "ana-1")]


@pytest.mark.parametrize(
    ("found", "status", "answer"),
    [
        (service("ana"), 404, True),
        (secret("ana"), 404, True),
        (secret("ana"), 400, False),
        (secret("ana"), 409, False),
        (secret("ana"), 500, None),
        (service("ana"), 400, None),
    ],
)
def test_what_a_refused_removal_means(found: Found, status: int, answer: bool | None) -> None:
    engine = Engine()
    engine.refuse = status
    if answer is None:
        with pytest.raises(APIError):
            remove(engine, found)
    else:
        assert remove(engine, found) is answer


def test_the_hubs_database_says_which_servers_it_has() -> None:
    db = orm.new_session_factory("sqlite:///:memory:")()
    for name, server, state in (
        ("ana", "", {"object_id": "v1"}),
        ("ana", "two", None),
        ("bea", "", {"object_id": "v3"}),
    ):
        user = orm.User.find(db, name) or orm.User(name=name)
        spawner = orm.Spawner(name=server, user=user, state=state)
        if name == "ana":
            spawner.server = orm.Server()
        db.add(spawner)
    db.commit()
    assert known_in_database(db) == Known(frozenset({("ana", ""), ("ana", "two")}), frozenset({"v1"}))


def test_known_servers_without_a_saved_state_are_known_by_name() -> None:
    assert known_from([("ana", "", None), ("bea", "", {}), ("cyd", "x", {"object_id": ""})]) == Known(
        frozenset({("ana", ""), ("bea", ""), ("cyd", "x")})
    )


def test_a_secret_made_in_the_same_moment_as_the_one_in_use_stays() -> None:
    twin = replace(secret("ana", 2), created_at=100.0)
    used = service("ana", secrets=("ana-1",))
    assert lost(used, secret("ana"), twin, known=Known(frozenset({ANA}))) == []
