"""``swarmhub.yaml``: the one short file that says which courses, pools and network a hub has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from swarmhub.config_errors import (
    ConfigError,
    Document,
    Problem,
    read_document,
    schema_problems,
    suggestion,
)

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
_IMAGE = re.compile(r"\S+")

INFRASTRUCTURE_ADDRESSES = 16
"""Addresses kept for the network itself, gateway, broadcast, hub, proxy, controller and their updates."""


def parse_size(value: object) -> int:
    """``512M``, ``1G`` or ``1.5G`` as bytes (powers of 1024); a bare whole number is bytes already."""
    match = _SIZE.fullmatch(str(value).strip()) if isinstance(value, (str, int, float)) else None
    if match is None or isinstance(value, bool):
        raise ValueError("is not a size; write a number and one of K, M, G, T, for example 512M, 1G or 1.5G")
    size = int(float(match[1]) * _UNITS[match[2]])
    if size < _UNITS["M"]:
        raise ValueError("is too small; a size is at least 1M, for example 512M, 1G or 1.5G")
    return size


def _image(value: object) -> object:
    if isinstance(value, str) and not _IMAGE.fullmatch(value):
        raise ValueError("is not an image; write name:tag or name@sha256:…, without spaces")
    return value


def _absolute(value: object) -> object:
    if isinstance(value, str) and (not value.startswith("/") or ".." in PurePosixPath(value).parts):
        raise ValueError("is not an absolute path without '..', for example /srv/swarmhub")
    return value


Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)]
Size = Annotated[int, BeforeValidator(parse_size)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HubConfig(_Model):
    """Which hub this is."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=20)] = Field(
        description="Short name of the hub; part of service names, tags and parameter paths.",
        examples=["lab"],
    )
    title: str = Field(
        default="swarmhub", description="What people read on the login page.", examples=["Physics lab"]
    )


class NetworkConfig(_Model):
    """The overlay network that hub, proxy and notebook servers share."""

    name: str = Field(
        default="notebooks", min_length=1, description="Name of the overlay network.", examples=["notebooks"]
    )
    subnet: IPv4Network = Field(
        default=IPv4Network("10.64.0.0/20"),
        description="The network's addresses; its size limits the number of seats.",
        examples=["10.64.0.0/20"],
    )


class StorageConfig(_Model):
    """The shared file system with the home directories."""

    root: Annotated[str, BeforeValidator(_absolute)] = Field(
        default="/srv/swarmhub",
        description="Where the shared file system is mounted on every node; homes are in its folder 'homes'.",
        examples=["/srv/swarmhub"],
    )
    first_uid: int = Field(
        default=20000, ge=1000, le=2**31, description="Numeric user id of the first home.", examples=[20000]
    )
    gid: int = Field(
        default=100, ge=1, le=2**31, description="Numeric group id of every home.", examples=[100]
    )


class PoolConfig(_Model):
    """One kind of machine: an Auto Scaling group, found by its tags swarmhub:hub and swarmhub:pool."""

    title: str = Field(
        default="", description="What `swarmhub config show` says.", examples=["Small machines"]
    )


class CourseConfig(_Model):
    """What a student's server of one course is made of."""

    title: str = Field(default="", description="What students choose from.", examples=["Intro to Python"])
    image: Annotated[str, BeforeValidator(_image)] = Field(
        description="Image of the servers, by tag or digest.", examples=["registry:5000/swarmhub/notebook:1"]
    )
    pool: str = Field(description="Name of the pool whose machines run the servers.", examples=["cpu"])
    memory: Size = Field(
        default=2**30, description="Most memory a server may use, bytes.", examples=["1G", "1.5G"]
    )
    memory_reservation: Size = Field(
        default=2**28, description="Memory kept free for each server, bytes.", examples=["256M"]
    )
    cpu: float = Field(default=1.0, gt=0, le=1024, description="Most cores a server may use.", examples=[1.0])
    cpu_reservation: float = Field(
        default=0.1, ge=0, le=1024, description="Cores kept free for each server.", examples=[0.1]
    )


class Config(_Model):
    """All of ``swarmhub.yaml``."""

    hub: HubConfig = Field(description="Which hub this is.")
    network: NetworkConfig = Field(default=NetworkConfig(), description="The servers' network.")
    storage: StorageConfig = Field(default=StorageConfig(), description="The home directories.")
    pools: dict[Slug, PoolConfig] = Field(min_length=1, description="Pools of machines, by name.")
    courses: dict[Slug, CourseConfig] = Field(min_length=1, description="Courses, by name.")
    default_course: str = Field(
        default="",
        description="The course of whoever chooses none; default: the first one.",
        examples=["intro"],
    )
    seats: int = Field(
        default=500, ge=1, description="Most servers running at the same time.", examples=[500]
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_derived_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        courses = _mapping(data, "courses")
        if courses:
            filled.setdefault("default_course", str(next(iter(courses))))
        return filled


def load_config(path: str | Path) -> Config:
    """Read and check ``swarmhub.yaml``. Raises ConfigError with every problem found."""
    document = read_document(Path(path))
    problems = list(_unknown_names(document))
    try:
        config = Config.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError([*schema_problems(document, Config, error), *problems]) from error
    problems += _reservations(document, config)
    problems += _seats(document, config)
    if problems:
        raise ConfigError(problems)
    return config


def addresses_needed(seats: int) -> int:
    """How many addresses of the network ``seats`` servers may need at the same time, worst case.

    With endpoint mode dnsrr each task has one address (measured: a /24 holds 253 such services, then tasks
    stay in ``new`` without an error). A server that moves holds two until the old task is gone, and all may
    move at once; each node holds one for its load balancer, and there are never more nodes than seats.
    """
    return 3 * seats + INFRASTRUCTURE_ADDRESSES


def _mapping(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _unknown_names(document: Document) -> Iterator[Problem]:
    """Courses that name a pool, and a default that names a course, which do not exist."""
    pools = [str(name) for name in _mapping(document.data, "pools")]
    courses = _mapping(document.data, "courses")
    for name, course in courses.items():
        pool = course.get("pool") if isinstance(course, dict) else None
        if isinstance(pool, str) and pool not in pools:
            message = f"unknown pool {pool!r}{suggestion(pool, pools)}"
            yield document.problem(("courses", str(name), "pool"), message)
    default = document.data.get("default_course")
    if isinstance(default, str) and default not in courses:
        message = f"unknown course {default!r}{suggestion(default, map(str, courses))}"
        yield document.problem(("default_course",), message)


def _reservations(document: Document, config: Config) -> Iterator[Problem]:
    for name, course in config.courses.items():
        for key, reserved, limit in (
            ("memory", course.memory_reservation, course.memory),
            ("cpu", course.cpu_reservation, course.cpu),
        ):
            if reserved > limit:
                message = f"reserves more than the limit {key} allows: {reserved:g} > {limit:g}; lower one"
                yield document.problem(("courses", name, f"{key}_reservation"), message)


def _seats(document: Document, config: Config) -> Iterator[Problem]:
    available = config.network.subnet.num_addresses
    needed = addresses_needed(config.seats)
    if needed > available:
        most = max(0, (available - INFRASTRUCTURE_ADDRESSES) // 3)
        prefix = 32 - (needed - 1).bit_length()
        message = (
            f"{config.seats} seats do not fit into network.subnet {config.network.subnet}: a server needs "
            "one address, a second one while it moves, and each node one, so three a seat, and "
            f"{INFRASTRUCTURE_ADDRESSES} are kept for hub, proxy, controller and gateway: {needed} needed, "
            f"{available} there; at most {most} seats, or a subnet of at least /{prefix}"
        )
        yield document.problem(("seats",) if "seats" in document.data else ("network", "subnet"), message)
