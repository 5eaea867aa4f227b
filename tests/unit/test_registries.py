"""Logins for private registries: the right one for an image, never one that has ended."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from botocore.exceptions import ClientError
from docker.auth import AuthConfig
from moto import mock_aws

from swarmhub.config import RegistryConfig
from swarmhub.registries import (
    Credentials,
    EcrRegistry,
    PasswordRegistry,
    RegistryAuth,
    RegistryError,
    authenticate,
    connect_ecr,
    registries_of,
)

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
LASTS = timedelta(hours=12)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Ecr:
    """Gives a new token at each call; ``broken``: fails; ``answer``: what it says instead."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls = 0
        self.regions: list[str] = []
        self.broken = False
        self.answer: Any = None

    def connect(self, region: str) -> Ecr:
        self.regions.append(region)
        return self

    def get_authorization_token(self) -> Any:
        self.calls += 1
        if self.broken:
            error = {"Error": {"Code": "AccessDeniedException", "Message": "no role"}}
            raise ClientError(error, "GetAuthorizationToken")
        token = base64.b64encode(f"AWS:token{self.calls}".encode()).decode()
        data = [{"authorizationToken": token, "expiresAt": self.clock() + LASTS}]
        return self.answer or {"authorizationData": data}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ecr(clock: Clock) -> Ecr:
    return Ecr(clock)


@pytest.fixture
def amazon(clock: Clock, ecr: Ecr) -> Credentials:
    return Credentials([EcrRegistry(ECR, "eu-central-1")], clock, ecr.connect)


def password(credentials: Credentials, image: str = f"{ECR}/notebook:1") -> str:
    login = credentials.for_image(image)
    assert login
    return login["password"]


def test_an_image_gets_the_login_of_its_own_registry_only(tmp_path: Path, clock: Clock, ecr: Ecr) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    known = Credentials(
        [EcrRegistry(ECR, "eu-central-1"), PasswordRegistry("registry.example.org:5000", "hub", file)],
        clock,
        ecr.connect,
    )
    assert known.for_image(f"{ECR}/course/notebook@sha256:{'a' * 64}") == {
        "username": "AWS",
        "password": "token1",
        "serveraddress": ECR,
    }
    assert known.for_image("registry.example.org:5000/notebook:1") == {
        "username": "hub",
        "password": "hunter2",
        "serveraddress": "registry.example.org:5000",
    }
    for other in ("registry.example.org/notebook", "notebook:1", "sha256:" + "a" * 64, "localhost/notebook"):
        assert known.for_image(other) is None
    assert ecr.regions == ["eu-central-1"]


def test_docker_hub_is_known_by_its_two_names(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2")
    for host in ("docker.io", "index.docker.io"):
        login = Credentials([PasswordRegistry(host, "hub", file)], clock).for_image("jupyter/base-notebook:1")
        assert login
        assert login["serveraddress"] == "https://index.docker.io/v1/"


def test_a_token_is_used_until_half_an_hour_before_its_end(
    clock: Clock, ecr: Ecr, amazon: Credentials
) -> None:
    assert password(amazon) == "token1"
    clock.now = NOW + LASTS - timedelta(minutes=30, seconds=1)
    assert password(amazon) == "token1"
    clock.now = NOW + LASTS - timedelta(minutes=30)
    assert password(amazon) == "token2"
    assert ecr.calls == 2


def test_a_token_that_cannot_be_renewed_is_used_to_its_very_end(
    clock: Clock, ecr: Ecr, amazon: Credentials
) -> None:
    password(amazon)
    ecr.broken = True
    clock.now = NOW + LASTS - timedelta(seconds=1)
    assert password(amazon) == "token1"
    clock.now = NOW + LASTS
    with pytest.raises(RegistryError, match="AccessDeniedException"):
        password(amazon)


def test_a_whole_class_does_not_ask_an_ecr_that_fails_once_per_student(
    clock: Clock, ecr: Ecr, amazon: Credentials
) -> None:
    ecr.broken = True
    for _ in range(100):
        with pytest.raises(RegistryError, match=rf"no login for registry {ECR}: .*no role"):
            password(amazon)
    assert ecr.calls == 1
    ecr.broken = False
    clock.now = NOW + timedelta(seconds=30)
    assert password(amazon) == "token2"


def test_many_starts_at_once_share_one_question(amazon: Credentials, ecr: Ecr) -> None:
    threads = [threading.Thread(target=password, args=(amazon,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert ecr.calls == 1


@pytest.mark.parametrize("answer", [{"authorizationData": []}, {"x": 1}, {"authorizationData": [{}]}])
def test_an_answer_nobody_understands_is_an_error_with_the_registry(
    amazon: Credentials, ecr: Ecr, answer: Any
) -> None:
    ecr.answer = answer
    with pytest.raises(RegistryError, match=f"{ECR}: ECR answered something unexpected"):
        password(amazon)


def test_a_token_that_has_ended_when_it_comes_is_not_used(ecr: Ecr, amazon: Credentials) -> None:
    ecr.answer = {"authorizationData": [{"authorizationToken": "QVdTOng=", "expiresAt": NOW}]}
    with pytest.raises(RegistryError, match=r"token that ended at .* clock right"):
        password(amazon)


def test_a_changed_password_file_counts_at_once_and_a_bad_one_is_named(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "password"
    known = Credentials([PasswordRegistry("r.example.org", "hub", file)], clock)
    with pytest.raises(RegistryError, match=f"{file}: No such file"):
        known.for_image("r.example.org/a")
    for secret in ("one", "two"):
        file.write_text(secret)
        assert password(known, "r.example.org/a") == secret
    for content, reason in ((b"\n", "is empty"), (b"\xff\xfe", "is no UTF-8 text")):
        file.write_bytes(content)
        with pytest.raises(RegistryError, match=reason):
            known.for_image("r.example.org/a")


def test_registries_come_from_the_configuration() -> None:
    configs = {
        ECR: RegistryConfig(kind="ecr"),
        "mirror.example.org": RegistryConfig(kind="ecr", region="eu-west-1"),
        "r.example.org": RegistryConfig(kind="password", username="hub", password_file="/secrets/r"),
    }
    assert registries_of(configs) == (
        EcrRegistry(ECR, "eu-central-1"),
        EcrRegistry("mirror.example.org", "eu-west-1"),
        PasswordRegistry("r.example.org", "hub", Path("/secrets/r")),
    )


class Wire(requests.adapters.HTTPAdapter):
    """Answers every request of a docker-py client and keeps its login."""

    def __init__(self) -> None:
        super().__init__()
        self.logins: list[Any] = []

    def send(self, request: requests.PreparedRequest, *_args: Any, **_kwargs: Any) -> requests.Response:
        header = request.headers.get("X-Registry-Auth")
        self.logins.append(json.loads(base64.urlsafe_b64decode(header)) if header else None)
        response = requests.Response()
        response.status_code, response._content = 200, b'{"ID": "x", "Descriptor": {}}'
        response.request = request
        return response


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def client(wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> docker.APIClient:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    entry = {"auth": base64.b64encode(b"own:config").decode()}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"own.example.org": entry}}))
    made = docker.APIClient("http://engine:2375", version="1.45")
    made.mount("http://", wire)
    return made


def test_docker_gets_a_fresh_login_with_every_call_that_may_pull(
    client: docker.APIClient, wire: Wire, amazon: Credentials, clock: Clock
) -> None:
    authenticate(client, amazon)
    image = f"{ECR}/notebook:1"
    client.inspect_distribution(image)
    clock.now = NOW + LASTS
    client.create_service({"ContainerSpec": {"Image": image}}, name="x")
    client.update_service("x", 1, task_template={"ContainerSpec": {"Image": image}}, fetch_current_spec=False)
    assert [login["password"] for login in wire.logins] == ["token1", "token2", "token2"]


def test_new_credentials_replace_the_ones_before(
    client: docker.APIClient, wire: Wire, amazon: Credentials, clock: Clock
) -> None:
    authenticate(client, amazon)
    authenticate(client, Credentials([], clock))
    for image in (f"{ECR}/notebook:1", "own.example.org/notebook"):
        client.inspect_distribution(image)
    assert [login and login["password"] for login in wire.logins] == [None, "config"]


def test_other_registries_keep_the_login_of_dockers_own_configuration(
    client: docker.APIClient, wire: Wire, amazon: Credentials
) -> None:
    authenticate(client, amazon)
    client.inspect_distribution("own.example.org/notebook")
    client.inspect_distribution("free.example.org/notebook")
    assert [login and login["password"] for login in wire.logins] == ["config", None]


def test_a_service_is_created_without_a_login_rather_than_not_at_all(
    client: docker.APIClient,
    wire: Wire,
    amazon: Credentials,
    ecr: Ecr,
    caplog: pytest.LogCaptureFixture,
) -> None:
    authenticate(client, amazon)
    ecr.broken = True
    client.create_service({"ContainerSpec": {"Image": f"{ECR}/notebook:1"}}, name="x")
    assert wire.logins == [None]
    assert "going on without: no login for registry" in caplog.text


def test_a_hub_without_any_login_is_not_asked_to_load_dockers_configuration_again() -> None:
    auth = RegistryAuth(Credentials([], lambda: NOW), AuthConfig({}))
    assert not auth.is_empty
    assert auth.resolve_authconfig("r.example.org") is None


def test_amazons_real_client_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        # moto's tokens end on a fixed day of 2015.
        long_ago = datetime(2014, 12, 31, tzinfo=UTC)
        login = Credentials([EcrRegistry(ECR, "eu-central-1")], lambda: long_ago, connect_ecr).for_image(
            f"{ECR}/x"
        )
    assert login
    assert (login["username"], login["password"]) == ("AWS", "123456789012-auth-token")
