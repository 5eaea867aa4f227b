"""Why a server is in the state it is in: one enum, and Swarm's words for it. Pure."""

from __future__ import annotations

import re
from enum import StrEnum

EXIT_KILLED = 137
"""128 + SIGKILL. Swarm does not say whether a container ran out of memory; a server that Swarm still wanted
and that was killed all the same was killed by the kernel, for its memory limit, in all but rare cases."""


class Cause(StrEnum):
    """What the newest tasks of a server say about how it came to where it is."""

    RUNNING = "running"
    STARTING = "starting"
    """Its first task is on the way."""
    NO_SEAT = "no-seat"
    """The scheduler found no machine with room."""
    NETWORK_FULL = "network-full"
    """No free address: Swarm leaves such a task in ``new`` without an error (research/spawner.md 0.2)."""
    REPLACED = "replaced"
    """A task ended with an error, and its replacement is on the way."""
    RESCHEDULED = "rescheduled"
    """Swarm stopped it here to start it elsewhere: a drain, a move, an update."""
    LOST_NODE = "lost-node"
    """Its machine is down or gone."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """Swarm stopped it and starts no other."""
    SHUT_DOWN = "shut-down"
    """It ended without an error: the student shut it down."""
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out-of-memory"
    UNHEALTHY = "unhealthy"
    """It ran and did not answer its health check."""
    REJECTED = "rejected"
    """A machine refused it, for a reason of which nothing more is known."""
    IMAGE = "image"
    """A machine refused it because it does not have the image and cannot get it."""
    MOUNT = "mount"
    """A machine refused it because a folder to mount is not there."""
    REMOVED = "removed"
    """There is no such service."""

    @property
    def is_failure(self) -> bool:
        """Something went wrong with the server itself, and a person is told why."""
        return self in _FAILURES


_FAILURES = frozenset(
    {
        Cause.LOST_NODE,
        Cause.STOPPED,
        Cause.CRASHED,
        Cause.OUT_OF_MEMORY,
        Cause.UNHEALTHY,
        Cause.REJECTED,
        Cause.IMAGE,
        Cause.MOUNT,
        Cause.NETWORK_FULL,
        Cause.REMOVED,
    }
)

_TEXTS = (
    # Image absent, older engines: https://github.com/moby/moby/blob/master/daemon/images/image.go
    ("no such image", Cause.IMAGE),
    # Image absent, newer ones say how the pull failed, in words of the registry protocol:
    # https://github.com/moby/moby/blob/master/daemon/internal/distribution/errors.go
    ("manifest unknown", Cause.IMAGE),
    ("pull access denied", Cause.IMAGE),
    # https://github.com/moby/moby/blob/master/daemon/volume/mounts/validate.go
    ("invalid mount config", Cause.MOUNT),
    ("bind source path does not exist", Cause.MOUNT),
    # https://github.com/moby/moby/blob/master/daemon/cluster/executor/container/adapter.go
    ("invalid bind mount source", Cause.MOUNT),
    ("node is missing network attachments", Cause.NETWORK_FULL),
    # https://github.com/moby/moby/blob/master/daemon/cluster/executor/container/errors.go
    ("unhealthy container", Cause.UNHEALTHY),
    # https://github.com/moby/swarmkit/blob/master/manager/orchestrator/constraintenforcer/constraint_enforcer.go
    ("assigned node no longer meets constraints", Cause.RESCHEDULED),
)
"""What Swarm's error of an ended task contains, and which cause it is called by.

Only what a person is told depends on it: Swarm has no field for it. Whether a start has failed is decided
from typed states alone, so a text that is new to this table costs a good sentence and nothing else.
"""


def named_by(error: str) -> Cause | None:
    """The cause that Swarm's error text names, None if it is not in the table."""
    lowered = error.lower()
    return next((cause for text, cause in _TEXTS if text in lowered), None)


_NO_NODE = re.compile(r"no suitable node \((?P<parts>.+)\)")
_PARTS = (
    (re.compile(r"insufficient resources on (\d+) nodes?"), "is full", "are full"),
    (
        re.compile(r"(\d+) nodes? not available for new tasks"),
        "is getting ready or going away",
        "are getting ready or going away",
    ),
    (re.compile(r"unsupported platform on (\d+) nodes?"), "is of another kind", "are of another kind"),
    (re.compile(r"missing plugin on (\d+) nodes?"), "lacks a plugin", "lack a plugin"),
    (
        re.compile(r"host-mode port already in use on (\d+) nodes?"),
        "has the port in use",
        "have the port in use",
    ),
)
"""How each filter of Swarm's scheduler explains itself, and what that is for a student. From
https://github.com/moby/swarmkit/blob/master/manager/scheduler/filter.go; anything else is shown as it is."""
_ELSEWHERE = re.compile(r"scheduling constraints not satisfied on (\d+) nodes?")
"""Machines of other pools, and the manager: of no interest unless there are no others."""


def plain(error: str) -> str:
    """Why the scheduler found no machine, in plain words; in Swarm's own where it says something else."""
    if error == "no suitable node":
        return "there is no machine yet"
    explained = _NO_NODE.fullmatch(error)
    if not explained:
        return error
    said: list[str] = []
    unknown: list[str] = []
    for part in explained["parts"].split("; "):
        if _ELSEWHERE.fullmatch(part):
            continue
        words = next(
            (_count(found, one, many) for form, one, many in _PARTS if (found := form.fullmatch(part))), ""
        )
        (said if words else unknown).append(words or part)
    if unknown:
        said.append(f"({'; '.join(unknown)})")
    return ", ".join(said).replace(", (", " (") or "no machine of the right kind is there yet"


def _count(found: re.Match[str], one: str, many: str) -> str:
    number = int(found[1])
    return f"1 machine {one}" if number == 1 else f"{number} machines {many}"
