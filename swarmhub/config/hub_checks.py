"""What is wrong with networks, folders and registries of a hub, each good in itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from swarmhub.config.models import Config, RegistryConfig
from swarmhub.config.values import HOMES
from swarmhub.config_errors import Document, KeyPath, Problem

_ECR_HOST = re.compile(r"\d{12}\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")
"""AWS: ``<account>.dkr.ecr.<region>.amazonaws.com``."""


def ecr_region(host: str) -> str:
    """The AWS region that an Elastic Container Registry's host names; empty if it is none."""
    match = _ECR_HOST.fullmatch(host)
    return match["region"] if match else ""


def hub_problems(document: Document, config: Config) -> Iterator[Problem]:
    """Everything that does not belong to one course, except the seats."""
    yield from _networks(document, config)
    for name, folder in config.folders.items():
        if folder.path.split("/")[0] == HOMES:
            message = f"is in {HOMES!r}, where the home directories are; put it beside them"
            yield document.problem(("folders", name, "path"), message)
    if config.storage.skeleton.split("/")[0] == HOMES:
        message = f"is in {HOMES!r}, where the home directories are; put it beside them"
        yield document.problem(("storage", "skeleton"), message)
    for host, registry in config.registries.items():
        yield from _registry(document, host, registry)


def _networks(document: Document, config: Config) -> Iterator[Problem]:
    paths: list[KeyPath] = [("network",), *(("more_networks", i) for i in range(len(config.more_networks)))]
    for (_, one), (path, other) in combinations(zip(paths, config.networks, strict=True), 2):
        if one.name == other.name:
            message = f"{other.name!r} is the name of another network; each needs its own"
            yield document.problem((*path, "name"), message)
        if one.subnet.overlaps(other.subnet):
            message = f"{other.subnet} overlaps {one.subnet} of network {one.name!r}; choose another range"
            yield document.problem((*path, "subnet"), message)


def _registry(document: Document, host: str, registry: RegistryConfig) -> Iterator[Problem]:
    path = ("registries", host)
    if registry.kind == "ecr":
        if not (registry.region or ecr_region(host)):
            yield document.problem((*path, "region"), "is required: the host names no AWS region")
        for key in ("username", "password_file"):
            if getattr(registry, key):
                yield document.problem((*path, key), "has no meaning for kind 'ecr'; remove it")
        return
    for key in ("username", "password_file"):
        if not getattr(registry, key):
            yield document.problem((*path, key), "is required for kind 'password', but not given")
    if registry.region:
        yield document.problem((*path, "region"), "has no meaning for kind 'password'; remove it")
