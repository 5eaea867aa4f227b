"""What of a service's settings the engine did not keep: it drops fields it does not know, silently. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_Read = Callable[[Mapping[str, Any]], Any]
"""From a task template to the value in question, in a form that compares; falsy if it is not set."""


def dropped_silently(body: Mapping[str, Any], spec: Mapping[str, Any]) -> tuple[str, ...]:
    """One sentence for each protection that was asked for and is not in force, with its first engine.

    ``body``: what ``create_service`` was given; ``spec``: ``Spec`` of the service as it is read back.
    """
    asked, kept = body["task_template"], spec.get("TaskTemplate") or {}
    return tuple(
        f"This Docker Engine ignores {field} (known since {since}): {consequence}."
        for field, since, consequence, read in _FIELDS
        if read(asked) and read(kept) != read(asked)
    )


def _container(template: Mapping[str, Any]) -> Mapping[str, Any]:
    container: Mapping[str, Any] = template.get("ContainerSpec") or {}
    return container


def _no_new_privileges(template: Mapping[str, Any]) -> bool:
    return bool((_container(template).get("Privileges") or {}).get("NoNewPrivileges"))


def _capabilities(template: Mapping[str, Any]) -> set[str]:
    return {name.upper().removeprefix("CAP_") for name in _container(template).get("CapabilityDrop") or ()}


def _ulimits(template: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    limits = _container(template).get("Ulimits") or ()
    return {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in limits}


def _pids(template: Mapping[str, Any]) -> int:
    limits = (template.get("Resources") or {}).get("Limits") or {}
    return int(limits.get("Pids") or 0)


def _init(template: Mapping[str, Any]) -> bool:
    return bool(_container(template).get("Init"))


# The engines: version history of the Engine API, the API that first lists each field.
_FIELDS: tuple[tuple[str, str, str, _Read], ...] = (
    (
        "NoNewPrivileges",
        "Docker 25",
        "a setuid program in an image may give a student root inside the container",
        _no_new_privileges,
    ),
    (
        "CapabilityDrop",
        "Docker 20.10",
        "servers keep the container's default capabilities",
        _capabilities,
    ),
    ("Ulimits", "Docker 20.10", "the number of open files is not limited", _ulimits),
    ("Limits.Pids", "Docker 20.10", "one student's processes can fill a machine", _pids),
    ("Init", "Docker 18.06", "ended processes are not cleaned up, and signals may get lost", _init),
)
