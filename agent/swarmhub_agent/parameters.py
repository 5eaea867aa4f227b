"""What an instance must know before it can join: two SSM parameters that the controller writes."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from .errors import AgentError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


class ParametersUnavailableError(AgentError):
    """The parameters cannot be read or cannot be right; the text names which and why."""


@dataclass(frozen=True)
class JoinParameters:
    """How to reach the swarm."""

    token: str = field(repr=False)
    """The worker join token; never logged."""
    managers: tuple[str, ...]
    """Private addresses of the managers, without ports."""


def read(make_client: Callable[[], SSMClient], hub: str) -> JoinParameters:
    """Read ``/swarmhub/<hub>/join-token`` (SecureString) and ``…/managers`` (StringList) in one call. Blocks.

    Raises ParametersUnavailableError.
    """
    token_name, managers_name = f"/swarmhub/{hub}/join-token", f"/swarmhub/{hub}/managers"
    try:
        answer = make_client().get_parameters(Names=[token_name, managers_name], WithDecryption=True)
    except (BotoCoreError, ClientError) as error:
        raise ParametersUnavailableError(
            f"{token_name} and {managers_name} cannot be read from SSM: {error}"
        ) from error
    values = {item["Name"]: item["Value"].strip() for item in answer["Parameters"]}
    missing = [name for name in (token_name, managers_name) if not values.get(name)]
    if missing:
        raise ParametersUnavailableError(
            f"SSM has no {' and no '.join(missing)}; the controller writes them at its start"
        )
    managers = tuple(entry.strip() for entry in values[managers_name].split(",") if entry.strip())
    for manager in managers:
        try:
            ipaddress.ip_address(manager)
        except ValueError:
            raise ParametersUnavailableError(
                f"{managers_name} holds {manager!r}, which is no IP address"
            ) from None
    return JoinParameters(token=values[token_name], managers=managers)
