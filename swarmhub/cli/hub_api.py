"""Which servers the hub has, asked through its REST API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode

from swarmhub.cli.common import get
from swarmhub.spawner.orphans import Found, Known, known_from

PAGE = 200
"""JupyterHub's most users per answer (``api_page_max_limit``); without pages it gives the first 50."""
_PAGES = "application/jupyterhub-pagination+json"


class HubApiError(Exception):
    """The hub did not answer as it should."""


class HubApi:
    """One hub's REST API; every method raises HubApiError."""

    def __init__(self, url: str, token: str) -> None:
        """``url``: of the hub, for example ``http://hub:8081``, without ``/hub/api``."""
        self._base = f"{url.rstrip('/')}/hub/api"
        self._headers = {"Authorization": f"token {token}"}

    def known(self) -> Known:
        """All servers that are running, starting or stopping."""
        try:
            return known_from(
                (user["name"], name, server.get("state"))
                for user in self._users()
                for name, server in user["servers"].items()
            )
        except HTTPError as error:
            raise self._refused(error) from error
        except (KeyError, TypeError, AttributeError) as error:
            raise self._strange(error) from error

    def has(self, found: Found) -> bool:
        """Whether the hub has the server now, asked for this user alone.

        Between two pages of ``known()`` a user may stop, and another one slip from the second to the first.
        """
        try:
            return found.server in self._ask(f"users/{quote(found.user, safe='')}")["servers"]
        except HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return False
            raise self._refused(error) from error
        except (KeyError, TypeError) as error:
            raise self._strange(error) from error

    def _users(self) -> Iterator[Any]:
        offset: int | None = 0
        while offset is not None:
            query = urlencode({"state": "active", "offset": offset, "limit": PAGE})
            answer = self._ask(f"users?{query}")
            yield from answer["items"]
            following = answer["_pagination"]["next"]
            offset = following["offset"] if following else None

    def _ask(self, path: str) -> Any:
        """The answer. Raises HTTPError, too."""
        try:
            return json.loads(get(f"{self._base}/{path}", {**self._headers, "Accept": _PAGES}))
        except HTTPError:
            raise
        except OSError as error:
            raise HubApiError(f"the hub does not answer on {self._base}: {error}") from error
        except ValueError as error:
            raise self._strange(error) from error

    def _refused(self, error: HTTPError) -> HubApiError:
        return HubApiError(f"the hub on {self._base} refuses to answer: {error.code} {error.reason}")

    def _strange(self, error: Exception) -> HubApiError:
        return HubApiError(
            f"what answers on {self._base} is no JupyterHub, or the token may not read users and servers: "
            f"{error!r}"
        )
