"""A hub in memory: JupyterHub's own users, database and proxy class, around a fake swarm."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm, roles
from jupyterhub.objects import Hub, Server
from jupyterhub.proxy import Proxy
from jupyterhub.user import User
from traitlets.config import Config as TraitConfig

from swarmhub.config import Config
from swarmhub.spawner import SwarmSpawner, knock, runtime, watch
from swarmhub.spawner.runtime import Runtime
from swarmhub.spawner.settings import RUNTIME_KEY
from tests.unit.spawner.fake_swarm import FakeSwarm


class MemoryProxy(Proxy):
    """JupyterHub's proxy with its table in memory; ``fails``: how many changes are refused first."""

    fails = 0

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the proxy is restarting")
        self.table[routespec] = target

    def __init__(self) -> None:
        super().__init__()
        self.table: dict[str, str] = {}


class LabHub:
    """What of a hub process the spawner sees."""

    def __init__(self, swarm: FakeSwarm, config: Config | None) -> None:
        self.swarm = swarm
        self.config = config
        self.proxy = MemoryProxy()
        self.db = orm.new_session_factory("sqlite:///:memory:")()
        for role in roles.get_default_roles():
            roles.create_role(self.db, role)
        self.db.add(orm.OAuthClient(identifier="jupyterhub"))
        self.traits = TraitConfig()
        self.restart()

    def restart(self) -> None:
        """The hub process starts anew on the same database: all spawner objects are new."""
        self.runtime = Runtime(lambda: self.swarm, "lab", self.config, events=False)
        self.settings = {
            "proxy": self.proxy,
            "hub": Hub(ip="10.0.0.5", port=8081, base_url="/hub/"),
            "spawner_class": SwarmSpawner,
            "config": self.traits,
            "base_url": "/",
            RUNTIME_KEY: self.runtime,
        }
        self._users: dict[str, User] = {}

    def spawner(self, name: str = "ana", server: str = "") -> SwarmSpawner:
        if name not in self._users:
            record = orm.User.find(self.db, name)
            if record is None:
                record = orm.User(name=name)
                self.db.add(record)
                roles.assign_default_roles(self.db, record)
                self.db.commit()
            self._users[name] = User(record, self.settings)
        user = self._users[name]
        if server and server not in user.orm_spawners:
            self.db.add(orm.Spawner(name=server, user=user.orm_user))
            self.db.commit()
        spawner: SwarmSpawner = user.spawners[server]
        return spawner

    def prepare(self, spawner: SwarmSpawner, **options: Any) -> None:
        """What ``User.spawn`` does before it calls ``start()``."""
        prefix = f"{spawner.user.base_url}{spawner.name}/" if spawner.name else spawner.user.base_url
        record = orm.Server(base_url=prefix)
        self.db.add(record)
        self.db.commit()
        spawner.server = Server(orm_server=record)
        spawner.user_options = options
        spawner.clear_state()
        spawner.api_token = "token"

    async def start(self, spawner: SwarmSpawner, **options: Any) -> tuple[str, int]:
        """What ``User.spawn`` does around ``start()``, and the route that the hub adds then."""
        self.prepare(spawner, **options)
        spawner._start_pending = spawner._spawn_pending = True
        try:
            ip, port = await spawner.start()
            spawner.server.ip, spawner.server.port = ip, port
            spawner.orm_spawner.state = spawner.get_state()
            self.db.commit()
            await self.proxy.add_user(spawner.user, spawner.name)
        finally:
            spawner._start_pending = spawner._spawn_pending = False
        return ip, port


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SMALLEST_DELAY", 0.001)
    monkeypatch.setattr(watch, "BUSY_DELAY", 0.002)
    monkeypatch.setattr(watch, "RECENT_DELAY", 0.005)
    monkeypatch.setattr(watch, "IDLE_DELAY", 0.005)
    monkeypatch.setattr(watch, "LONGEST_BACKOFF", 0.01)
    monkeypatch.setattr(runtime, "ENGINE_PATIENCE", 0.3)


@pytest.fixture(autouse=True)
def _open(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of the swarm in memory take connections as soon as they run."""

    async def takes_connections(_address: str, _port: int) -> bool:
        return True

    if "knock" not in request.node.path.name:
        monkeypatch.setattr(knock, "takes_connections", takes_connections)
        monkeypatch.setattr(knock, "FIRST_PAUSE", 0.001)


@pytest.fixture
def swarm() -> FakeSwarm:
    swarm = FakeSwarm()
    swarm.add_node("worker-1", instance="i-1")
    swarm.add_node("worker-2", instance="i-2")
    return swarm


@pytest.fixture
def config(tmp_path: Path) -> Config:
    course = {"image": "registry:5000/notebook:1", "pool": "cpu"}
    return Config.model_validate(
        {
            "hub": {"name": "lab"},
            "storage": {
                "root": str(tmp_path),
                "first_uid": 20000 if os.geteuid() == 0 else os.geteuid(),
                "gid": os.getegid() or 100,
            },
            "pools": {"cpu": {}},
            "courses": {"intro": course, "stats": course | {"title": "Statistics", "memory": "2G"}},
        }
    )


@pytest.fixture
async def hub(swarm: FakeSwarm, config: Config) -> AsyncIterator[LabHub]:
    lab = LabHub(swarm, config)
    yield lab
    await lab.runtime.close()
