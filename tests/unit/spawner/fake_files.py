"""Secrets and configs of the swarm in memory, and what every list of the engine has in common."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import requests
from docker.errors import APIError, NotFound


def api_error(status: int, text: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return (NotFound if status == 404 else APIError)(text, response=response, explanation=text)


class FileStore:
    """Swarm's secrets, or its configs. Not thread-safe: the swarm locks."""

    def __init__(self, kind: str, new_id: Callable[[str], str]) -> None:
        self.raw: dict[str, dict[str, Any]] = {}
        """Objects by id, as the engine stores them."""
        self._kind = kind
        self._new_id = new_id

    def create(self, name: str, data: bytes | str, more: dict[str, Any]) -> dict[str, Any]:
        if any(raw["Spec"]["Name"] == name for raw in self.raw.values()):
            raise api_error(409, f"rpc error: code = AlreadyExists desc = {self._kind} {name} already exists")
        content = data if isinstance(data, bytes) else data.encode()
        file_id = self._new_id(self._kind)
        spec = {"Name": name, "Data": base64.b64encode(content).decode()} | more
        created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self.raw[file_id] = {"ID": file_id, "CreatedAt": created, "Spec": spec}
        return {"ID": file_id}

    def remove(self, file: str, services: Iterable[dict[str, Any]]) -> bool:
        found = next((raw for raw in self.raw.values() if file in (raw["ID"], raw["Spec"]["Name"])), None)
        if found is None:
            raise api_error(404, f"{self._kind} {file} not found")
        for service in services:
            if found["ID"] in referred_files(service["Spec"]["TaskTemplate"]):
                raise api_error(400, f"{self._kind} '{file}' is in use by service {service['Spec']['Name']}")
        del self.raw[found["ID"]]
        return True


def referred_files(template: dict[str, Any]) -> list[str]:
    """Ids of the secrets and configs that a task template names."""
    container = template.get("ContainerSpec") or {}
    return [
        *(reference["SecretID"] for reference in container.get("Secrets") or ()),
        *(reference["ConfigID"] for reference in container.get("Configs") or ()),
    ]


def matching(found: Iterable[dict[str, Any]], filters: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The engine's label (``key`` or ``key=value``) and name filters; each may be one word or a list."""

    def words(key: str) -> list[str]:
        value = (filters or {}).get(key, [])
        return [value] if isinstance(value, str) else list(value)

    def matches(spec: dict[str, Any]) -> bool:
        labels = spec.get("Labels") or {}
        pairs = (word.partition("=") for word in words("label"))
        return all(
            key in labels and (not equals or labels[key] == value) for key, equals, value in pairs
        ) and (not words("name") or any(spec["Name"].startswith(name) for name in words("name")))

    return [copied(raw) for raw in found if matches(raw["Spec"])]


def copied(raw: dict[str, Any]) -> dict[str, Any]:
    """A copy as if it had been sent: later changes do not show in it."""
    return {key: copied(value) if isinstance(value, dict) else value for key, value in raw.items()}
