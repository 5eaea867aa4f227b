"""The part of ``swarmhub.yaml`` about courses: what a server of one is made of, and what may be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from swarmhub.config.base import Access, Choice, Model, default_name
from swarmhub.config.values import (
    AbsoluteTemplate,
    Environment,
    Image,
    NodeLabels,
    Resources,
    Size,
    Slug,
    Target,
)

ONLY = "default"
"""Name of the one image or size of a course in the short form."""
SIZE_KEYS = ("memory", "memory_reservation", "cpu", "cpu_reservation")

_M = TypeVar("_M", bound=Model)


class ImageConfig(Choice):
    """One image of a course; either `image` or `redirect` says which."""

    image: Image = Field(
        default="",
        description="The image, by tag or digest.",
        examples=["registry:5000/swarmhub/notebook:1"],
    )
    hidden: bool = Field(
        default=False,
        description="Not offered any more; who used it last may go on using it.",
        examples=["true"],
    )
    deprecated: str = Field(
        default="",
        description="Offered with this warning.",
        examples=["Python 3.8 goes in March; take Python 3.13"],
    )
    redirect: str = Field(
        default="", description="Name of the image that replaced this one.", examples=["py313"]
    )
    message: str = Field(
        default="",
        description="What people who are redirected read.",
        examples=["Python 3.8 is gone; you have Python 3.13."],
    )


class SizeConfig(Choice):
    """How much of a machine a server may use, and what kind of machine."""

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
    resources: Resources = Field(
        default={},
        description="Generic resources of a node that the server has for itself, by kind.",
        examples=["{gpu: 1}"],
    )
    pool: str = Field(
        default="", description="Pool whose machines run it; default: the course's.", examples=["gpu"]
    )
    require: NodeLabels = Field(
        default={}, description="Node labels that must match, besides the course's.", examples=["{zone: a}"]
    )
    prefer: NodeLabels = Field(
        default={}, description="Node labels tried first, besides the course's.", examples=["{disk: nvme}"]
    )
    relax_after: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="Seconds until `prefer` is given up; default: the course's.",
        examples=[60],
    )


class OptionChoice(Choice):
    """One answer to an option."""

    env: Environment = Field(
        default={},
        description="Environment variables of servers with this answer.",
        examples=["{JUPYTERHUB_DEFAULT_URL: /vscode}"],
    )


class OptionConfig(Model):
    """A question of the course's own, with the answers to choose from."""

    title: str = Field(default="", description="What students read; default: its name.", examples=["Editor"])
    choices: dict[Slug, OptionChoice] = Field(min_length=1, description="The answers, by name.")


class MountConfig(Model):
    """One more folder of the shared file system in every server of a course.

    `{course}`, `{user}` and `{server}` may stand in both paths, as in shared folders.
    """

    source: AbsoluteTemplate = Field(
        description="A folder below `storage.root`, and not in its `homes`. With `{user}` in its path it is "
        "made when it is first needed; else it must be there.",
        examples=["/srv/swarmhub/extra/{user}"],
    )
    target: Target = Field(description="Where a server has it.", examples=["/mnt/extra"])
    read_only: bool = Field(default=True, description="Servers cannot write to it.", examples=["true"])


class CourseConfig(Access):
    """What a student's server of one course is made of.

    A course has one image (`image`) or several to choose from (`images`), and one size (`memory`, `cpu` and
    their reservations) or several (`sizes`).
    """

    title: str = Field(default="", description="What students choose from.", examples=["Intro to Python"])
    description: str = Field(
        default="", description="A sentence under the title.", examples=["Mondays, room 5"]
    )
    pool: str = Field(description="Name of the pool whose machines run the servers.", examples=["cpu"])
    require: NodeLabels = Field(
        default={}, description="Node labels that must match.", examples=["{zone: a}"]
    )
    prefer: NodeLabels = Field(default={}, description="Node labels tried first.", examples=["{disk: nvme}"])
    relax_after: float = Field(
        default=60.0, ge=0, le=3600, description="Seconds until `prefer` is given up.", examples=[60]
    )
    image: Image = Field(
        default="",
        description="Image of the servers, by tag or digest; required unless there are `images`.",
        examples=["registry:5000/swarmhub/notebook:1"],
    )
    images: dict[Slug, ImageConfig] = Field(default={}, description="Images to choose from, by name.")
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
    sizes: dict[Slug, SizeConfig] = Field(default={}, description="Sizes to choose from, by name.")
    options: dict[Slug, OptionConfig] = Field(
        default={}, description="More to choose, by name; every answer adds to the environment."
    )
    read_only: tuple[str, ...] = Field(
        default=(),
        description="What is shown but stays at its default: `image`, `size` or the name of an option.",
        examples=["[image]"],
    )
    hidden: bool = Field(
        default=False,
        description="Not offered any more; who used it last may go on using it.",
        examples=["true"],
    )
    env: Environment = Field(
        default={}, description="Environment variables of the servers.", examples=["{TZ: Europe/Berlin}"]
    )
    folders: tuple[str, ...] = Field(
        default=(), description="Names of the shared folders that servers have.", examples=["[data]"]
    )
    mounts: tuple[MountConfig, ...] = Field(default=(), description="More folders that servers have.")
    pids: int = Field(
        default=512,
        ge=32,
        le=2**22,
        description="Most processes and threads a server may have.",
        examples=[512],
    )
    open_files: int = Field(
        default=8192,
        ge=256,
        le=2**20,
        description="Most files and connections each of its processes may hold open.",
        examples=[8192],
    )
    shared_memory: Size | None = Field(
        default=None,
        description="Size of `/dev/shm`, which counts as memory; default: half the memory.",
        examples=["512M"],
    )
    token: Literal["secret", "env"] = Field(
        default="secret",
        description="How a server gets its API token: in a file only it reads, or, for images without "
        "`/bin/sh`, in its environment.",
        examples=["env"],
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_short_form(cls, data: Any) -> Any:
        """``image``, ``memory``, … of a course with several are those of the default ones.

        Values that are no good are left alone: they are reported where they stand.
        """
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        images = _parsed(ImageConfig, data.get("images"))
        offered = {name: image for name, image in images.items() if not (image.hidden or image.redirect)}
        image = offered[default_name(offered)].image if offered else ""
        if image:
            filled.setdefault("image", image)
        sizes = _parsed(SizeConfig, data.get("sizes"))
        if sizes and not any(key in data for key in SIZE_KEYS):
            chosen = sizes[default_name(sizes)]
            filled |= {key: getattr(chosen, key) for key in SIZE_KEYS}
        return filled

    @property
    def image_choices(self) -> Mapping[str, ImageConfig]:
        """Every image by name, hidden ones and redirects too; the short form's is called ``default``."""
        return self.images or {ONLY: ImageConfig(image=self.image, default=True)}

    @property
    def size_choices(self) -> Mapping[str, SizeConfig]:
        """Every size by name; the short form's is called ``default``."""
        if self.sizes:
            return self.sizes
        return {ONLY: SizeConfig(default=True, **{key: getattr(self, key) for key in SIZE_KEYS})}


def _parsed(model: type[_M], entries: object) -> dict[str, _M]:
    """The entries that are good."""
    good = {}
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        with suppress(ValidationError):
            good[str(name)] = model.model_validate(entry)
    return good
