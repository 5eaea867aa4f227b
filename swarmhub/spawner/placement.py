"""Where a server may run: node constraints, their relaxation, and the choice among several networks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmhub_agent.protocol import LABEL_POOL


def constraints(pool: str, require: Mapping[str, str], prefer: Mapping[str, str]) -> list[str]:
    """Swarm's placement constraints: workers of ``pool`` (any node if empty), with all these labels.

    Keys are node labels; one that starts with ``node.`` or ``engine.`` is Swarm's own word
    (``node.platform.arch``, ``engine.labels.rack``). Swarm has no soft constraint: ``prefer`` is as strict as
    ``require`` until ``relaxed`` gives it up.
    """
    workers = ["node.role==worker", f"node.labels.{LABEL_POOL}=={pool}"] if pool else []
    return [*workers, *map(_constraint, require.items()), *map(_constraint, prefer.items())]


def relaxed(body: Mapping[str, Any], prefer: Mapping[str, str]) -> dict[str, Any] | None:
    """``body`` of a service without the constraints that ``prefer`` made; None if it has none of them.

    For ``update_service``: a task that has no node yet is replaced, one that runs stays, since Swarm keeps a
    task whose node meets the new constraints (swarmkit ``orchestrator/task.go``, ``IsTaskDirty``).
    """
    template = body["task_template"]
    placement = template.get("Placement") or {}
    strict = placement.get("Constraints") or []
    soft = set(map(_constraint, prefer.items()))
    # The last of equals: what is required as well comes first, and stays.
    kept = [rule for place, rule in enumerate(strict) if rule not in soft or rule in strict[place + 1 :]]
    if len(kept) == len(strict):
        return None
    return {**body, "task_template": {**template, "Placement": {**placement, "Constraints": kept}}}


def pick_network(used: Mapping[str, int], capacity: Mapping[str, int]) -> str:
    """The network with the most free addresses, the first of equals; empty if ``capacity`` is.

    ``capacity``: addresses by network name, in the configuration's order; ``used``: taken ones, 0 where
    unknown. When all are full one is picked all the same: Swarm waits for an address.
    """
    return max(capacity, key=lambda name: capacity[name] - used.get(name, 0), default="")


def _constraint(label: tuple[str, str]) -> str:
    key, value = label
    prefix = "" if key.startswith(("node.", "engine.")) else "node.labels."
    return f"{prefix}{key}=={value}"
