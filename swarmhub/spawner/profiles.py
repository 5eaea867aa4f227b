"""What somebody may choose, and what a choice means: the same for the form, the API and a link.

Pure: the configuration and a person's groups and roles in, a ``ServerChoice`` or a ``ChoiceError`` out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from swarmhub.config import Config, CourseConfig, ImageConfig, MountConfig, SizeConfig
from swarmhub.config.base import Choice, default_name

KEYS = ("course", "image", "size", "options")
"""The keys of JupyterHub's user options."""
SEPARATOR = ":"
"""Between the parts of a form field's name; in no name of the configuration."""
IGNORED_FIELDS = frozenset({"_xsrf"})

_C = TypeVar("_C", bound=Choice)


class ChoiceError(Exception):
    """Something that cannot be chosen.

    ``message`` is for the person who chose; ``allowed`` holds what could have been chosen instead.
    """

    def __init__(self, message: str, allowed: Iterable[str] = ()) -> None:
        self.message = message
        self.allowed = tuple(allowed)
        super().__init__(f"{message}; there is: {', '.join(self.allowed)}" if self.allowed else message)


@dataclass(frozen=True)
class SharedFolder:
    """A shared folder that somebody's server has; templates are not filled in."""

    name: str
    title: str
    path: str
    """Template, below the storage root."""
    target: str
    """Template, absolute, in the server."""
    gid: int
    write: tuple[str, ...]
    """JupyterHub groups that may write."""
    read: tuple[str, ...]
    """JupyterHub groups that see it besides those; empty: everybody."""

    def writable(self, groups: frozenset[str]) -> bool:
        """Whether somebody in these groups may write."""
        return not groups.isdisjoint(self.write)

    def visible(self, groups: frozenset[str]) -> bool:
        """Whether somebody in these groups has it at all."""
        return self.writable(groups) or not self.read or not groups.isdisjoint(self.read)


@dataclass(frozen=True)
class ServerChoice:
    """Everything the configuration says about the server of somebody who chose this."""

    course: str
    course_title: str
    image: str
    """Reference of the image, as configured."""
    image_name: str
    size_name: str
    memory: int
    """Bytes."""
    memory_reservation: int
    cpu: float
    """Cores."""
    cpu_reservation: float
    resources: Mapping[str, int]
    """Generic resources by kind."""
    pool: str
    require: Mapping[str, str]
    """Node labels that must match."""
    prefer: Mapping[str, str]
    """Node labels tried first."""
    relax_after: float
    """Seconds until ``prefer`` is given up."""
    env: Mapping[str, str]
    folders: tuple[SharedFolder, ...]
    mounts: tuple[MountConfig, ...]
    pids: int
    open_files: int
    shared_memory: int
    """Bytes of /dev/shm."""
    token: str
    """``secret`` or ``env``."""
    notices: tuple[str, ...]
    """What the person should read: an image that goes or was replaced."""
    options: Mapping[str, str]
    """The answer to each option of the course."""

    @property
    def user_options(self) -> dict[str, Any]:
        """The choice as JupyterHub's user options, nothing left to defaults; ``resolve`` reads it again."""
        return {
            "course": self.course,
            "image": self.image_name,
            "size": self.size_name,
            "options": dict(self.options),
        }


@dataclass(frozen=True)
class Person:
    """Whom a choice is for: JupyterHub groups and roles, and what was chosen the last time."""

    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    previous: Mapping[str, Any] | None = None

    def may(self, choices: Mapping[str, _C]) -> dict[str, _C]:
        """Those of the choices that are for this person."""
        return {name: choice for name, choice in choices.items() if choice.allows(self.groups, self.roles)}

    def images(self, name: str, course: CourseConfig) -> dict[str, ImageConfig]:
        """The images of a course offered to this person; last, a hidden one if it was used the last time."""
        kept = self.last("image") if self.last("course") == name else ""
        offered = {
            image_name: image
            for image_name, image in self.may(course.image_choices).items()
            if not image.redirect and (not image.hidden or image_name == kept)
        }
        # The first one may be the default: never the hidden one.
        return dict(sorted(offered.items(), key=lambda item: item[1].hidden))

    def sizes(self, course: CourseConfig) -> dict[str, SizeConfig]:
        """The sizes of a course offered to this person."""
        return self.may(course.size_choices)

    def courses(self, config: Config) -> dict[str, CourseConfig]:
        """The courses offered to this person; a hidden one if it was used the last time."""
        return {
            name: course
            for name, course in config.courses.items()
            if not course.hidden or name == self.last("course")
            if course.allows(self.groups, self.roles)
            if self.images(name, course) and self.sizes(course)
        }

    def last(self, key: str) -> str:
        """What was chosen the last time; empty if nothing, or nothing sensible, was."""
        value = self.previous.get(key) if isinstance(self.previous, Mapping) else None
        return value if isinstance(value, str) else ""


def visible_courses(
    config: Config,
    groups: frozenset[str] = frozenset(),
    roles: frozenset[str] = frozenset(),
    previous: Mapping[str, Any] | None = None,
) -> dict[str, CourseConfig]:
    """The courses somebody in these groups, with these roles, is offered, by name, in the file's order."""
    return Person(groups, roles, previous).courses(config)


def resolve(
    config: Config,
    options: object,
    *,
    groups: frozenset[str] = frozenset(),
    roles: frozenset[str] = frozenset(),
    default_course: str = "",
    previous: Mapping[str, Any] | None = None,
) -> ServerChoice:
    """The server that ``options`` mean for somebody in these groups, with these roles.

    ``options`` come from a person, possibly through the API, and may be anything; what they leave out is
    the default. ``default_course`` is the operator's for whoever chose none, instead of the file's;
    ``previous`` are the options used last, which keep a hidden course or image. Raises ChoiceError.
    """
    person = Person(groups, roles, previous)
    wanted = _checked(options)
    name = _course(config, person, wanted["course"], default_course)
    course = config.courses[name]
    image_name, notices = _image(person, name, course, wanted["image"])
    images, sizes = course.image_choices, person.sizes(course)
    size_name = _pick("size", course, wanted["size"], sizes)
    size = sizes[size_name]
    answers = _answers(person, course, wanted["options"])
    env = dict(course.env)
    for option, answer in answers.items():
        env |= course.options[option].choices[answer].env
    return ServerChoice(
        course=name,
        course_title=course.title or name,
        image=images[image_name].image,
        image_name=image_name,
        size_name=size_name,
        memory=size.memory,
        memory_reservation=size.memory_reservation,
        cpu=size.cpu,
        cpu_reservation=size.cpu_reservation,
        resources=size.resources,
        pool=size.pool or course.pool,
        require=course.require | size.require,
        prefer=course.prefer | size.prefer,
        relax_after=course.relax_after if size.relax_after is None else size.relax_after,
        env=env,
        folders=tuple(_folders(config, person, course)),
        mounts=course.mounts,
        pids=course.pids,
        open_files=course.open_files,
        shared_memory=course.shared_memory or size.memory // 2,
        token=course.token,
        notices=notices,
        options=answers,
    )


def options_from_form(form: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the form, or of a link, as JupyterHub's user options; ``resolve`` judges them.

    A form has the fields ``course`` and, for each course, ``image:<course>``, ``size:<course>`` and
    ``option:<course>:<name>``; those of other courses than the chosen one are dropped. A link may leave the
    course's name out: ``image``, ``size``, ``option:<name>``. Other fields are kept, to be refused.
    """
    fields = {name: _last_value(values) for name, values in form.items() if name not in IGNORED_FIELDS}
    course = fields.get("course")
    chosen: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for field, value in fields.items():
        kind, *rest = field.split(SEPARATOR)
        if kind in ("image", "size") and len(rest) <= 1:
            if not rest or rest[0] == course:
                chosen[kind] = value
        elif kind == "option" and len(rest) in (1, 2):
            if len(rest) == 1 or rest[0] == course:
                answers[rest[-1]] = value
        else:
            chosen[field] = value
    return chosen | ({"options": answers} if answers else {})


def _last_value(values: object) -> object:
    return values[-1] if isinstance(values, (list, tuple)) and values else values


def _checked(options: object) -> dict[str, Any]:
    """Every key's choice: a name, empty for none, and for ``options`` names by option. Raises ChoiceError."""
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        raise ChoiceError(f"The options must be an object, not {options!r}", KEYS)
    for key in options:
        if key not in KEYS:
            raise ChoiceError(f"There is no option {key!r}", KEYS)
    answers = options.get("options") or {}
    if not isinstance(answers, Mapping):
        raise ChoiceError(f"'options' must be an object with an answer for each option, not {answers!r}")
    wanted: dict[str, Any] = {key: options.get(key) or "" for key in ("course", "image", "size")}
    for key, value in [*wanted.items(), *answers.items()]:
        if value and not isinstance(value, str):
            raise ChoiceError(f"{key!r} must be a name, not {value!r}")
    return wanted | {"options": {key: value for key, value in answers.items() if value}}


def _course(config: Config, person: Person, wanted: str, default_course: str) -> str:
    visible = person.courses(config)
    if wanted:
        if wanted not in visible:
            raise ChoiceError(f"There is no course {wanted!r} for you", visible)
        return wanted
    if default_course and default_course not in config.courses:
        raise ChoiceError(f"The default course {default_course!r} does not exist", config.courses)
    for name in (default_course, config.default_course):
        # The operator's default may be hidden: somebody chose it for this person.
        course = config.courses.get(name)
        if course and name == default_course and course.hidden:
            person = Person(person.groups, person.roles, {"course": name})
            visible = person.courses(config)
        if name in visible:
            return name
    if not visible:
        raise ChoiceError("No course is open to you; ask your teacher")
    return next(iter(visible))


def _image(person: Person, name: str, course: CourseConfig, wanted: str) -> tuple[str, tuple[str, ...]]:
    """The image's name, and what to tell about it."""
    images = course.image_choices
    notices = []
    while wanted in images and (target := images[wanted].redirect):
        title = images[target].title or target
        notices.append(images[wanted].message or f"{images[wanted].title or wanted} was replaced by {title}.")
        wanted = target
    chosen = _pick("image", course, wanted, person.images(name, course))
    if images[chosen].deprecated:
        notices.append(images[chosen].deprecated)
    return chosen, tuple(notices)


def _answers(person: Person, course: CourseConfig, wanted: Mapping[str, str]) -> dict[str, str]:
    for name in wanted:
        if name not in course.options:
            raise ChoiceError(
                f"There is no option {name!r} in {course.title or 'this course'}", course.options
            )
    answers = {}
    for name, option in course.options.items():
        offered = person.may(option.choices)
        if offered or name in wanted:
            answers[name] = _pick(name, course, wanted.get(name, ""), offered)
    return answers


def _pick(field: str, course: CourseConfig, wanted: str, offered: Mapping[str, Choice]) -> str:
    """The wanted one of those offered, or the default one. Raises ChoiceError."""
    default = default_name(offered)
    if not wanted:
        return default
    if wanted not in offered:
        raise ChoiceError(f"There is no {field} {wanted!r} for you", offered)
    if field in course.read_only and wanted != default:
        raise ChoiceError(f"The {field} cannot be changed to {wanted!r}", [default])
    return wanted


def _folders(config: Config, person: Person, course: CourseConfig) -> Iterator[SharedFolder]:
    for name in course.folders:
        rule = config.folders[name]
        folder = SharedFolder(
            name, rule.title or name, rule.path, rule.target, rule.gid, rule.write, rule.read
        )
        if folder.visible(person.groups):
            yield folder
