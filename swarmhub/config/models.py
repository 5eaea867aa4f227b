"""The models of ``swarmhub.yaml`` for a hub as a whole; courses are in ``swarmhub.config.courses``."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from swarmhub.config.base import Model
from swarmhub.config.courses import CourseConfig
from swarmhub.config.values import (
    AbsolutePath,
    AbsolutePathOrNone,
    Groups,
    Quota,
    RegistryHost,
    RelativeFolder,
    RelativeTemplate,
    Slug,
    Target,
)


class HubConfig(Model):
    """Which hub this is."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=20)] = Field(
        description="Short name of the hub; part of service names, tags and parameter paths.",
        examples=["lab"],
    )
    title: str = Field(
        default="swarmhub", description="What people read on the login page.", examples=["Physics lab"]
    )


class NetworkConfig(Model):
    """An overlay network that hub, proxy and notebook servers share."""

    name: str = Field(
        default="notebooks", min_length=1, description="Name of the overlay network.", examples=["notebooks"]
    )
    subnet: IPv4Network = Field(
        default=IPv4Network("10.64.0.0/20"),
        description="The network's addresses; its size limits the number of seats.",
        examples=["10.64.0.0/20"],
    )


class StorageConfig(Model):
    """The shared file system with the home directories."""

    root: AbsolutePath = Field(
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
    skeleton: RelativeFolder = Field(
        default="skeleton",
        description="Folder below root whose files a new home gets, if it exists; empty: none.",
        examples=["skeleton"],
    )
    quota: Quota = Field(
        default=None,
        description="Most a home may hold; who has more cannot start a server until it is less. "
        "`none`: unlimited.",
        examples=["10G"],
    )


class FolderConfig(Model):
    """A folder that the servers of the courses which list it share.

    In `path` and `target`, `{course}`, `{user}` and `{server}` stand for the names of the course, the
    student and the server, made safe for paths.
    """

    title: str = Field(
        default="", description="What students read before they start.", examples=["Course data"]
    )
    path: RelativeTemplate = Field(
        description="Where it is, below `storage.root`; made when it is first needed.",
        examples=["courses/{course}/data"],
    )
    target: Target = Field(
        description="Where a server has it; below the home is fine.", examples=["/home/jovyan/data"]
    )
    gid: int = Field(
        ge=1, le=2**31, description="Numeric id of the group that owns the folder.", examples=[30001]
    )
    write: Groups = Field(
        default=(),
        description="JupyterHub groups that may write; everybody else only reads.",
        examples=["[teachers]"],
    )
    read: Groups = Field(
        default=(),
        description="JupyterHub groups that see it, besides those that write; empty: everybody in a course "
        "that lists it.",
        examples=["[staff]"],
    )


class PoolConfig(Model):
    """One kind of machine: an Auto Scaling group, found by its tags swarmhub:hub and swarmhub:pool."""

    title: str = Field(
        default="", description="What `swarmhub config show` says.", examples=["Small machines"]
    )


class RegistryConfig(Model):
    """How to log in to a private image registry; the key is its host, as in the images' names."""

    kind: Literal["ecr", "password"] = Field(
        description="`ecr`: Amazon's, with the machine's role; `password`: with a name and a password.",
        examples=["ecr"],
    )
    region: str = Field(
        default="", description="`ecr`: the AWS region; default: from the host.", examples=["eu-central-1"]
    )
    username: str = Field(default="", description="`password`: the user's name.", examples=["hub"])
    password_file: AbsolutePathOrNone = Field(
        default="",
        description="`password`: file on the manager with the password, read again when it changes.",
        examples=["/var/lib/swarmhub/secrets/registry"],
    )


class Config(Model):
    """All of ``swarmhub.yaml``."""

    hub: HubConfig = Field(description="Which hub this is.")
    network: NetworkConfig = Field(default=NetworkConfig(), description="The servers' network.")
    more_networks: tuple[NetworkConfig, ...] = Field(
        default=(), description="More networks; servers are spread over all of them."
    )
    storage: StorageConfig = Field(default=StorageConfig(), description="The home directories.")
    folders: dict[Slug, FolderConfig] = Field(default={}, description="Shared folders, by name.")
    pools: dict[Slug, PoolConfig] = Field(min_length=1, description="Pools of machines, by name.")
    registries: dict[RegistryHost, RegistryConfig] = Field(
        default={}, description="Private registries, by host."
    )
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
        courses = data.get("courses")
        if isinstance(courses, dict) and courses:
            filled.setdefault("default_course", str(next(iter(courses))))
        return filled

    @property
    def networks(self) -> tuple[NetworkConfig, ...]:
        """Every network servers may be in, the first one named first."""
        return (self.network, *self.more_networks)

    def images(self) -> tuple[str, ...]:
        """Every image reference of every course, sorted, each once; redirects have none of their own."""
        return tuple(sorted(frozenset().union(*self._course_images())))

    def pool_images(self, pool: str) -> tuple[str, ...]:
        """The image references that a server on this pool's machines may use, sorted, each once."""
        return tuple(sorted(frozenset().union(*self._course_images(pool))))

    def _course_images(self, pool: str | None = None) -> Iterator[frozenset[str]]:
        for course in self.courses.values():
            pools = {size.pool or course.pool for size in course.size_choices.values()}
            if pool is None or pool in pools:
                yield frozenset(image.image for image in course.image_choices.values() if image.image)
