"""What is wrong with a course whose values are each good in themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from swarmhub.config.base import Choice
from swarmhub.config.courses import SIZE_KEYS, CourseConfig, ImageConfig, SizeConfig
from swarmhub.config.models import Config
from swarmhub.config.values import HOMES, render
from swarmhub.config_errors import Document, KeyPath, Problem

_TAKEN = ("course", "image", "options", "size")
"""Names that mean something else where options are chosen by name."""


def course_problems(document: Document, config: Config) -> Iterator[Problem]:
    """Everything wrong with each course, and with the choice of the default one."""
    for name, course in config.courses.items():
        path: KeyPath = ("courses", name)
        yield from _images(document, (*path, "images"), course.images)
        yield from _sizes(document, path, course)
        yield from _options(document, path, course)
        yield from _targets(document, config, name, course)
    default = config.courses.get(config.default_course)
    if default and default.hidden:
        place: KeyPath = ("default_course",)
        if "default_course" not in document.data:
            place = ("courses", config.default_course, "hidden")
        message = f"the default course {config.default_course!r} is hidden; make another one the default"
        yield document.problem(place, message)


def _images(document: Document, path: KeyPath, images: Mapping[str, ImageConfig]) -> Iterator[Problem]:
    for name, image in images.items():
        here = (*path, name)
        if bool(image.image) == bool(image.redirect):
            message = "needs either 'image' or 'redirect'" + (", not both" if image.image else "")
            yield document.problem(here, message)
        elif image.redirect:
            yield from _redirect(document, here, images, name)
        if image.default and (image.hidden or image.redirect):
            message = "cannot be the default: nobody can choose it; make another image the default"
            yield document.problem((*here, "default"), message)
    yield from _one_default(document, path, images)
    if images and all(image.hidden or image.redirect for image in images.values()):
        yield document.problem(path, "leaves nothing to choose: every image is hidden or redirected")


def _redirect(
    document: Document, path: KeyPath, images: Mapping[str, ImageConfig], name: str
) -> Iterator[Problem]:
    chain = [name]
    while (target := images[chain[-1]].redirect) and target in images:
        if target in chain:
            way = " → ".join([*chain, target])
            yield document.problem((*path, "redirect"), f"leads in a circle: {way}; end it at an image")
            return
        chain.append(target)
    if images[chain[-1]].hidden:
        message = f"leads to {chain[-1]!r}, which is hidden; name an image that is offered"
        yield document.problem((*path, "redirect"), message)


def _one_default(document: Document, path: KeyPath, choices: Mapping[str, Choice]) -> Iterator[Problem]:
    marked = [name for name, choice in choices.items() if choice.default]
    for name in marked[1:]:
        message = f"is a second default: {marked[0]!r} is one already; keep one of them"
        yield document.problem((*path, name, "default"), message)


def _sizes(document: Document, path: KeyPath, course: CourseConfig) -> Iterator[Problem]:
    yield from _one_default(document, (*path, "sizes"), course.sizes)
    for name, size in course.size_choices.items():
        here = (*path, "sizes", name) if course.sizes else path
        yield from _limits(document, here, size)
        if course.shared_memory and course.shared_memory > size.memory:
            message = (
                f"is more than the memory of size {name!r}: {course.shared_memory} > {size.memory} bytes; "
                "lower it"
            )
            yield document.problem((*path, "shared_memory"), message)


def _limits(document: Document, path: KeyPath, size: SizeConfig) -> Iterator[Problem]:
    for key in SIZE_KEYS:
        limit = key.removesuffix("_reservation")
        if (reserved := getattr(size, key)) > (most := getattr(size, limit)):
            message = f"reserves more than the limit {limit} allows: {reserved:g} > {most:g}; lower one"
            yield document.problem((*path, key), message)


def _options(document: Document, path: KeyPath, course: CourseConfig) -> Iterator[Problem]:
    for name, option in course.options.items():
        here = (*path, "options", name)
        if name in _TAKEN:
            message = f"is a name with a meaning of its own; choose another one (not {', '.join(_TAKEN)})"
            yield document.problem(here, message)
        yield from _one_default(document, (*here, "choices"), option.choices)


def _targets(document: Document, config: Config, name: str, course: CourseConfig) -> Iterator[Problem]:
    """Two things at one place of a server, and folders or mounts that reach into the homes."""
    path: KeyPath = ("courses", name)
    fields = {"course": name}
    placed: dict[str, str] = {}
    wanted: list[tuple[KeyPath, str, str]] = []
    for index, folder_name in enumerate(course.folders):
        folder = config.folders.get(folder_name)
        if folder is None:
            continue  # reported as an unknown name
        here = (*path, "folders", index)
        wanted.append((here, f"folder {folder_name!r}", folder.target))
        if "{" in folder.path.split("/")[0] and render(folder.path, fields).split("/")[0] == HOMES:
            message = f"folder {folder_name!r} would be in {HOMES!r}, where the home directories are"
            yield document.problem(here, message)
    for index, mount in enumerate(course.mounts):
        here = (*path, "mounts", index)
        wanted.append(((*here, "target"), f"mount {mount.source!r}", mount.target))
        yield from _mount_source(
            document, (*here, "source"), config.storage.root, render(mount.source, fields)
        )
    for here, what, template in wanted:
        target = render(template, fields)
        if target in placed:
            message = f"{what} and {placed[target]} are both at {target}; give one another target"
            yield document.problem(here, message)
        placed.setdefault(target, what)


def _mount_source(document: Document, path: KeyPath, root: str, source: str) -> Iterator[Problem]:
    below = PurePosixPath(source)
    if not below.is_relative_to(root) or below == PurePosixPath(root):
        yield document.problem(path, f"is not below storage.root; choose a folder below {root}")
    elif below.relative_to(root).parts[0] == HOMES:
        message = f"is in {HOMES!r}, where the home directories are; choose a folder beside them"
        yield document.problem(path, message)
