"""What dockerspawner's own tests need around them to try our class; tests/stock/run copies this beside them.

``from dockerspawner import SwarmSpawner`` gives them ours. The tests written for its parent DockerSpawner run
with ours too; those that ask for a container, which a service does not have, are skipped with the reason.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any
from unittest import mock

import dockerspawner
import pytest
from jupyterhub import orm
from jupyterhub.tests.mocking import MockHub
from jupyterhub.tests.utils import add_user
from jupyterhub.user import User
from traitlets.config import Config

from swarmhub.spawner import SwarmSpawner


class DockerSpawner(SwarmSpawner):
    """Ours under the name that the parent's tests configure and expect in messages."""

    async def get_object(self) -> dict[str, Any] | None:
        """The service, with its image also where a container has it."""
        service: dict[str, Any] | None = await super().get_object()
        if service is not None:
            image = service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
            service["Config"] = {"Image": image}
        return service


dockerspawner.SwarmSpawner = SwarmSpawner
dockerspawner.DockerSpawner = DockerSpawner

DOES_NOT_APPLY = {
    "test_name_collision": "names do not follow name_template: swarmhub.spawner.names",
    "test_start_stop[False]": "a service is always removed, also by dockerspawner's SwarmSpawner",
    "test_image_pull_policy": "the workers pull; dockerspawner's SwarmSpawner does not pull either",
    "test_post_start": "post_start_cmd runs in a local container; a service's may be on any machine",
    "test_cpu_limit": "looks into the options of a local container",
    "test_systemuserspawner.py": "another spawner",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = {item.name, getattr(item, "originalname", item.name), item.path.name}
        for name in names & DOES_NOT_APPLY.keys():
            item.add_marker(pytest.mark.skip(reason=DOES_NOT_APPLY[name]))


def address_towards(host: str) -> str:
    """This container's address on the network where that host is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 1))
        address: str = probe.getsockname()[0]
    return address


@pytest.fixture(scope="module")
async def app() -> AsyncIterator[MockHub]:
    """JupyterHub's own test application, reachable from the swarm's machines and behind a proxy there."""
    proxy = os.environ["STOCK_PROXY"]
    config = Config()
    config.JupyterHub.bind_url = f"http://{proxy}:8000/@/space%20word/"
    config.JupyterHub.hub_ip = "0.0.0.0"
    config.JupyterHub.hub_connect_ip = address_towards(proxy)
    config.ConfigurableHTTPProxy.should_start = False
    config.ConfigurableHTTPProxy.api_url = f"http://{proxy}:8001"
    config.ConfigurableHTTPProxy.auth_token = os.environ["STOCK_PROXY_TOKEN"]
    config.DockerSpawner.image = os.environ["STOCK_IMAGE"]
    config.SwarmSpawner.network_name = os.environ["STOCK_NETWORK"]
    config.SwarmSpawner.hub_name = os.environ["STOCK_HUB"]
    # JupyterLab refuses to run as root, which is what an image without a USER line runs as.
    config.SwarmSpawner.extra_container_spec = {"user": "1000:100"}
    config.SwarmSpawner.extra_placement_spec = {"constraints": ["node.role==worker"]}
    hub = MockHub.instance(config=config)
    await hub.initialize([])
    await hub.start()
    yield hub
    # pytest closes the captured streams before the last words.
    hub.log.handlers = []
    MockHub.clear_instance()
    await hub.stop()


@pytest.fixture
def swarmspawner_configured_app(app: MockHub) -> Iterator[MockHub]:
    yield from _configured(app, SwarmSpawner)


@pytest.fixture
def dockerspawner_configured_app(app: MockHub) -> Iterator[MockHub]:
    # Tests of images compare names, not digests.
    with mock.patch.dict(app.config.SwarmSpawner, {"pin_image": False}):
        yield from _configured(app, DockerSpawner)


def _configured(app: MockHub, spawner_class: type) -> Iterator[MockHub]:
    settings = {
        "spawner_class": spawner_class,
        "allow_named_servers": True,
        "named_server_limit_per_user": 2,
    }
    with mock.patch.dict(app.tornado_settings, settings):
        yield app


@pytest.fixture(autouse=True)
def _servers_by_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``user.spawners[name]`` make a server, as up to JupyterHub 5, for which the tests were written."""
    new_spawner = User._new_spawner

    def with_record(user: User, server_name: str, *args: Any, **kwargs: Any) -> Any:
        if server_name not in user.orm_spawners:
            user.db.add(orm.Spawner(name=server_name, user=user.orm_user))
            user.db.commit()
        return new_spawner(user, server_name, *args, **kwargs)

    monkeypatch.setattr(User, "_new_spawner", with_record)


_numbers = count(1)


@pytest.fixture
def username() -> str:
    return f"stock-{next(_numbers)}"


@pytest.fixture
def user(app: MockHub, username: str) -> User:
    return add_user(app.db, app, name=username)
