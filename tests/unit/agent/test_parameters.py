from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws
from swarmhub_agent import aws, parameters
from swarmhub_agent.parameters import JoinParameters, ParametersUnavailableError


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


def put(name: str, value: str, kind: str = "String") -> None:
    client = aws.ssm("us-east-1")
    client.put_parameter(Name=f"/swarmhub/lab/{name}", Value=value, Type=kind, Overwrite=True)


def read() -> JoinParameters:
    return parameters.read(lambda: aws.ssm("us-east-1"), "lab")


def test_token_and_managers_are_read_decrypted() -> None:
    put("join-token", "SWMTKN-1-secret", "SecureString")
    put("managers", "10.0.0.2, 10.0.0.3", "StringList")
    assert read() == JoinParameters(token="SWMTKN-1-secret", managers=("10.0.0.2", "10.0.0.3"))


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(JoinParameters(token="SWMTKN-1-secret", managers=()))


def test_missing_parameters_are_named() -> None:
    with pytest.raises(
        ParametersUnavailableError, match="no /swarmhub/lab/join-token and no /swarmhub/lab/managers"
    ):
        read()
    put("join-token", "SWMTKN-1-secret", "SecureString")
    with pytest.raises(ParametersUnavailableError, match="no /swarmhub/lab/managers"):
        read()


def test_a_manager_that_is_no_address_is_refused() -> None:
    put("join-token", "SWMTKN-1-secret", "SecureString")
    put("managers", "10.0.0.2,manager", "StringList")
    with pytest.raises(ParametersUnavailableError, match="'manager'"):
        read()


def test_an_aws_that_does_not_answer_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def get_parameters(self, **_: object) -> object:
            from botocore.exceptions import NoCredentialsError

            raise NoCredentialsError

    with pytest.raises(ParametersUnavailableError, match="credentials"):
        parameters.read(Refusing, "lab")
