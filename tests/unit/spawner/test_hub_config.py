"""The hub's configuration file, read as JupyterHub reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from traitlets.config.loader import PyFileConfigLoader

import swarmhub.hub
from swarmhub.config_errors import ConfigError
from swarmhub.spawner import SwarmSpawner

FILE = Path(swarmhub.hub.__file__).with_name("jupyterhub_config.py")
YAML = """\
hub: {name: lab, title: Physics lab}
pools: {cpu: {}}
courses: {intro: {image: "registry:5000/notebook:1", pool: cpu}}
seats: 30
"""
Read = Callable[[], Any]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "proxy-token").write_text("proxy-secret\n")
    (tmp_path / "secrets" / "api-token").write_text("api-secret\n")
    (tmp_path / "swarmhub.yaml").write_text(YAML)
    monkeypatch.setenv("SWARMHUB_CONFIG", str(tmp_path / "swarmhub.yaml"))
    monkeypatch.setenv("SWARMHUB_STATE", str(tmp_path))
    monkeypatch.setenv("SWARMHUB_HUB_URL", "http://10.0.0.5:8081")
    monkeypatch.delenv("SWARMHUB_AUTH", raising=False)
    monkeypatch.delenv("SWARMHUB_PROXY_API", raising=False)
    return lambda: PyFileConfigLoader(str(FILE)).load_config()


def test_servers_and_proxy_outlive_the_hub(read: Read, tmp_path: Path) -> None:
    c = read()
    assert c.JupyterHub.cleanup_servers is False
    assert c.JupyterHub.cleanup_proxy is False
    assert c.ConfigurableHTTPProxy.should_start is False
    assert c.ConfigurableHTTPProxy.api_url == "http://proxy:8001"
    assert c.ConfigurableHTTPProxy.auth_token == "proxy-secret"
    assert c.JupyterHub.db_url == f"sqlite:///{tmp_path}/jupyterhub.sqlite"
    assert c.JupyterHub.cookie_secret_file == f"{tmp_path}/jupyterhub_cookie_secret"


def test_servers_reach_the_hub_at_an_address_that_stays(read: Read) -> None:
    c = read()
    assert c.JupyterHub.hub_bind_url == "http://0.0.0.0:8081"
    assert c.JupyterHub.hub_connect_url == "http://10.0.0.5:8081"


def test_a_whole_class_may_start_at_once_and_nobody_is_turned_away(read: Read) -> None:
    c = read()
    assert c.JupyterHub.concurrent_spawn_limit == 0
    assert c.JupyterHub.active_server_limit == 0
    assert c.Spawner.consecutive_failure_limit == 0


def test_the_spawner_reads_the_same_file(read: Read, tmp_path: Path) -> None:
    c = read()
    assert c.JupyterHub.spawner_class is SwarmSpawner
    assert c.SwarmSpawner.config_file == str(tmp_path / "swarmhub.yaml")


def test_the_operators_token_may_do_everything_and_teachers_see_and_stop_servers(read: Read) -> None:
    c = read()
    assert c.JupyterHub.services == [{"name": "operator", "api_token": "api-secret"}]
    roles = {role["name"]: role for role in c.JupyterHub.load_roles}
    assert roles["operator"]["services"] == ["operator"]
    assert {"admin:users", "admin:servers", "access:servers", "read:hub", "proxy", "shutdown"} <= set(
        roles["operator"]["scopes"]
    )
    assert roles["teacher"]["groups"] == ["teachers"]
    assert {"read:servers", "delete:servers"} <= set(roles["teacher"]["scopes"])
    assert "admin:users" not in roles["teacher"]["scopes"]


@pytest.mark.parametrize(
    ("name", "password", "comes_in"),
    [
        ("student1", "swarmhub", True),
        ("studentin-josé", "swarmhub", True),
        ("teacher", "swarmhub", True),
        ("student1", "wrong", False),
        ("teacher2", "swarmhub", False),
        ("admin", "swarmhub", False),
    ],
)
async def test_the_labs_logins(
    read: Read, monkeypatch: pytest.MonkeyPatch, name: str, password: str, comes_in: bool
) -> None:
    monkeypatch.setenv("SWARMHUB_AUTH", "lab")
    monkeypatch.setenv("SWARMHUB_LAB_PASSWORD", "swarmhub")
    c = read()
    assert c.JupyterHub.authenticator_class == "shared-password"
    assert c.JupyterHub.load_groups == {"teachers": {"users": ["teacher"]}}
    authenticator = SharedPasswordAuthenticator(config=c)
    model = await authenticator.get_authenticated_user(None, {"username": name, "password": password})
    assert (model is not None) is comes_in


def test_without_the_lab_there_is_no_shared_password(read: Read) -> None:
    c = read()
    assert "authenticator_class" not in c.JupyterHub
    assert "user_password" not in c.SharedPasswordAuthenticator


def test_the_deployments_own_file_has_the_last_word(read: Read, tmp_path: Path) -> None:
    (tmp_path / "jupyterhub_extra.py").write_text("c.JupyterHub.authenticator_class = 'dummy'\n")
    assert read().JupyterHub.authenticator_class == "dummy"


def test_a_broken_swarmhub_yaml_stops_the_hub_with_file_and_line(read: Read, tmp_path: Path) -> None:
    (tmp_path / "swarmhub.yaml").write_text(YAML + "seat: 1\n")
    with pytest.raises(ConfigError, match=r"swarmhub\.yaml:5: seat: unknown key; did you mean 'seats'"):
        read()
