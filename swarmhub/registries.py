"""Logins for private registries, always fresh: Amazon's from the machine's role, others from a file."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError
from docker.auth import INDEX_NAME, INDEX_URL, AuthConfig, resolve_index_name, resolve_repository_name

from swarmhub.config import RegistryConfig
from swarmhub.config.hub_checks import ecr_region

RENEW_BEFORE = timedelta(minutes=30)
"""An ECR token is renewed this long before it ends. It lasts 12 hours (AWS: GetAuthorizationToken)."""
ASK_AGAIN_AFTER = timedelta(seconds=30)
"""After a failure: a class that starts while ECR is away must not ask it once per student."""

Login = dict[str, str]
"""``username``, ``password`` and ``serveraddress``: docker-py's ``auth_config``, Docker's X-Registry-Auth."""

_LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)
"""Before every time a clock here gives, and far enough from the smallest one to be subtracted from."""

log = logging.getLogger(__name__)


class RegistryError(Exception):
    """There is no login for a registry that is said to need one, and why."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"no login for registry {host}: {reason}")
        self.host = host


@dataclass(frozen=True)
class EcrRegistry:
    """Amazon Elastic Container Registry."""

    host: str
    region: str


@dataclass(frozen=True)
class PasswordRegistry:
    """Any registry with a name and a password."""

    host: str
    username: str
    password_file: Path


Registry = EcrRegistry | PasswordRegistry


class EcrApi(Protocol):
    """The part of boto3's ECR client used here."""

    def get_authorization_token(self) -> Any:
        """``{"authorizationData": [{"authorizationToken": base64, "expiresAt": datetime}]}``."""


def registry_host(image: str) -> str:
    """Host (and port) of an image's registry; Docker Hub is ``docker.io``."""
    host: str = resolve_index_name(resolve_repository_name(image)[0])
    return host


def registries_of(configs: Mapping[str, RegistryConfig]) -> tuple[Registry, ...]:
    """``registries`` of swarmhub.yaml, which has been checked."""
    return tuple(
        EcrRegistry(host, config.region or ecr_region(host))
        if config.kind == "ecr"
        else PasswordRegistry(host, config.username, Path(config.password_file))
        for host, config in configs.items()
    )


def connect_ecr(region: str) -> EcrApi:
    """A client with the environment's credentials; one call takes 16 s at most."""
    timeouts = BotoConfig(
        connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
    )
    # boto3's stubs know only the services whose extra is installed; ECR is used for this one call.
    session: Any = boto3.session.Session()
    client: EcrApi = session.client("ecr", region_name=region, config=timeouts)
    return client


class Credentials:
    """The logins of a hub's registries; thread-safe, may block while ECR is asked."""

    def __init__(
        self,
        registries: Iterable[Registry],
        clock: Callable[[], datetime],
        ecr: Callable[[str], EcrApi] = connect_ecr,
    ) -> None:
        """``ecr``: makes a client for a region. ``clock``: the time, with a time zone."""
        self._sources: dict[str, _Source] = {
            resolve_index_name(registry.host): _EcrSource(registry, clock, ecr)
            if isinstance(registry, EcrRegistry)
            else _PasswordSource(registry)
            for registry in registries
        }

    def for_image(self, image: str) -> Login | None:
        """The login for the image's registry; None: it needs none. Raises RegistryError."""
        return self.for_host(registry_host(image))

    def for_host(self, host: str) -> Login | None:
        """The login for a registry, Docker Hub being ``docker.io``; None: it needs none.

        Raises RegistryError.
        """
        source = self._sources.get(resolve_index_name(host))
        return source.login() if source else None


class RegistryAuth(AuthConfig):
    """What docker-py asks for a login at every call that may make the engine pull."""

    def __init__(self, credentials: Credentials, otherwise: AuthConfig) -> None:
        """``otherwise``: what is asked for registries that ``credentials`` do not know."""
        super().__init__({})
        self._credentials = credentials
        self.otherwise = otherwise

    @property
    def is_empty(self) -> bool:
        """Never: docker-py would replace an empty one by the user's own configuration."""
        return False

    def resolve_authconfig(self, registry: str | None = None) -> Any:
        """A login for the header, None without one: nodes that hold the image start it without."""
        try:
            login = self._credentials.for_host(registry or INDEX_NAME)
        except RegistryError as error:
            log.warning("going on without: %s", error)
            return None
        return login or self.otherwise.resolve_authconfig(registry)


def authenticate(client: Any, credentials: Credentials) -> None:
    """Make a docker-py ``APIClient`` send ``credentials`` with every call that needs them.

    docker-py takes logins for creating and updating services from this attribute only, and its ``login()``
    would keep a token that ends after 12 hours. Done again, the last ``credentials`` count.
    """
    own = client._auth_configs
    client._auth_configs = RegistryAuth(credentials, own.otherwise if isinstance(own, RegistryAuth) else own)


class _Source(Protocol):
    def login(self) -> Login: ...


class _PasswordSource:
    def __init__(self, registry: PasswordRegistry) -> None:
        self._registry = registry

    def login(self) -> Login:
        # Read each time: a few bytes, and a password that was changed counts at once.
        file = self._registry.password_file
        try:
            password = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise RegistryError(self._registry.host, f"{file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise RegistryError(self._registry.host, f"{file} is no UTF-8 text") from error
        if not password:
            raise RegistryError(self._registry.host, f"{file} is empty")
        return _login(self._registry.host, self._registry.username, password)


class _EcrSource:
    def __init__(
        self, registry: EcrRegistry, clock: Callable[[], datetime], connect: Callable[[str], EcrApi]
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._connect = connect
        self._client: EcrApi | None = None
        self._lock = threading.Lock()
        self._token: Login = {}
        self._token_ends = _LONG_AGO
        self._ask_again_at = _LONG_AGO
        self._reason = ""

    def login(self) -> Login:
        with self._lock:
            now = self._clock()
            if now >= self._token_ends - RENEW_BEFORE and now >= self._ask_again_at:
                self._renew(now)
            if now < self._token_ends:
                return self._token
            raise RegistryError(self._registry.host, self._reason)

    def _renew(self, now: datetime) -> None:
        try:
            if self._client is None:
                self._client = self._connect(self._registry.region)
            (data,) = self._client.get_authorization_token()["authorizationData"]
            username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
            ends = data["expiresAt"]
            if ends <= now:
                self._fail(f"ECR gave a token that ended at {ends}; is this machine's clock right?", now)
                return
            self._token, self._token_ends = _login(self._registry.host, username, password), ends
        except (BotoCoreError, ClientError) as error:
            self._fail(str(error), now)
        except (KeyError, TypeError, ValueError) as error:
            self._fail(f"ECR answered something unexpected: {error!r}", now)

    def _fail(self, reason: str, now: datetime) -> None:
        self._reason, self._ask_again_at = reason, now + ASK_AGAIN_AFTER
        log.warning("the login for registry %s cannot be renewed: %s", self._registry.host, reason)


def _login(host: str, username: str, password: str) -> Login:
    index = resolve_index_name(host)
    return {
        "username": username,
        "password": password,
        "serveraddress": INDEX_URL if index == INDEX_NAME else index,
    }
