"""The kinds of values ``swarmhub.yaml`` is made of: sizes, paths, names, images and path templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from string import Formatter
from typing import Annotated

from pydantic import BeforeValidator, Field

HOME = "/home/jovyan"
"""Where a server has its home directory: where the images of jupyter/docker-stacks expect it."""
HOMES = "homes"
"""The folder below ``storage.root`` with the home directories."""
TEMPLATE_FIELDS = ("course", "server", "user")
"""What may stand in braces in the path of a folder or mount."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
_IMAGE = re.compile(r"\S+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_NAME = 255
_RESERVED_TREES = ("/dev", "/etc", "/proc", "/run", "/sys")


def parse_size(value: object) -> int:
    """``512M``, ``1G`` or ``1.5G`` as bytes (powers of 1024); a bare whole number is bytes already."""
    match = _SIZE.fullmatch(str(value).strip()) if isinstance(value, (str, int, float)) else None
    if match is None or isinstance(value, bool):
        raise ValueError("is not a size; write a number and one of K, M, G, T, for example 512M, 1G or 1.5G")
    size = int(float(match[1]) * _UNITS[match[2]])
    if size < _UNITS["M"]:
        raise ValueError("is too small; a size is at least 1M, for example 512M, 1G or 1.5G")
    return size


def parse_quota(value: object) -> int | None:
    """A size, or None for ``none``: unlimited."""
    return None if value is None or value == "none" else parse_size(value)


def render(template: str, fields: Mapping[str, str]) -> str:
    """``template`` with its ``{fields}`` filled in; fields that are not given stay as they are."""
    return template.format_map({name: f"{{{name}}}" for name in TEMPLATE_FIELDS} | dict(fields))


def _check_fields(template: str) -> None:
    """Raises ValueError unless the template's braces hold nothing but known field names."""
    allowed = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"has braces that do not match; allowed in braces: {allowed}") from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in TEMPLATE_FIELDS or spec or conversion):
            raise ValueError(f"has an unknown field in braces: {field!r}; allowed: {allowed}")


def _plain(path: str) -> bool:
    """No name in the path is empty, ``.`` or ``..``, holds a control character or is too long for Linux."""
    return all(
        part not in ("", ".", "..") and not _CONTROL.search(part) and len(part.encode()) <= _LONGEST_NAME
        for part in path.removeprefix("/").split("/")
    )


def _image(value: object) -> object:
    if isinstance(value, str) and value and not _IMAGE.fullmatch(value):
        raise ValueError("is not an image; write name:tag or name@sha256:…, without spaces")
    return value


def _absolute(value: object) -> object:
    if isinstance(value, str) and (not value.startswith("/") or ".." in PurePosixPath(value).parts):
        raise ValueError("is not an absolute path without '..', for example /srv/swarmhub")
    return value


def _absolute_if_any(value: object) -> object:
    return _absolute(value) if value != "" else value


def _relative_folder(value: object) -> object:
    if isinstance(value, str) and value and (value.startswith("/") or not _plain(value)):
        raise ValueError("is not a path below storage.root; write it without '..' and without a '/' in front")
    return value


def _relative_template(value: object) -> object:
    if isinstance(value, str):
        _check_fields(value)
        if value.startswith("/") or not _plain(value):
            raise ValueError(
                "is not a path below storage.root; write it without '..' and without a '/' in front, "
                "for example courses/{course}/data"
            )
    return value


def _absolute_template(value: object) -> object:
    if isinstance(value, str):
        _check_fields(value)
        if not value.startswith("/") or not _plain(value):
            raise ValueError("is not an absolute path without '..', for example /srv/swarmhub/extra/{user}")
    return value


def _target(value: object) -> object:
    if not isinstance(value, str):
        return value
    path = PurePosixPath(value)
    if PurePosixPath(HOME).is_relative_to(path) or any(path.is_relative_to(t) for t in _RESERVED_TREES):
        raise ValueError(
            f"is taken by the server itself, as are {', '.join((HOME, *_RESERVED_TREES))}; "
            f"write another path, for example {HOME}/data or /mnt/data"
        )
    return _absolute_template(value.rstrip("/"))


def _number_as_text(value: object) -> object:
    """Numbers as text; true and false are left to be refused: YAML's words for them are many."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)]
RegistryHost = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?$", max_length=253)]
Size = Annotated[int, BeforeValidator(parse_size)]
Quota = Annotated[int | None, BeforeValidator(parse_quota)]
Image = Annotated[str, BeforeValidator(_image)]
AbsolutePath = Annotated[str, BeforeValidator(_absolute)]
AbsolutePathOrNone = Annotated[str, BeforeValidator(_absolute_if_any)]
RelativeFolder = Annotated[str, BeforeValidator(_relative_folder)]
RelativeTemplate = Annotated[str, BeforeValidator(_relative_template)]
AbsoluteTemplate = Annotated[str, BeforeValidator(_absolute_template)]
Target = Annotated[str, BeforeValidator(_target)]
Environment = dict[
    Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")],
    Annotated[str, BeforeValidator(_number_as_text)],
]
NodeLabels = dict[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)],
    Annotated[
        str,
        BeforeValidator(_number_as_text),
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:/_.-]*$", max_length=100),
    ],
]
"""Labels as they may stand in a Swarm constraint ``node.labels.<key>==<value>`` without being a pattern
(moby/swarmkit ``manager/constraint/constraint.go`` allows these characters and more)."""
Resources = dict[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)],
    Annotated[int, Field(ge=1)],
]
Groups = tuple[Annotated[str, Field(min_length=1)], ...]
