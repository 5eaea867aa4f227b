"""The form before a start: which course, which image, how much of a machine.

Pure: the configuration and a person's groups and roles in, HTML out. JupyterHub sets it into its page; what
comes back is read by ``profiles.options_from_form`` and judged by ``profiles.resolve``, as every choice is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from swarmhub.config import Config, CourseConfig, SizeConfig
from swarmhub.config.base import Choice
from swarmhub.spawner.profiles import SEPARATOR, ChoiceError, Person, ServerChoice, resolve
from swarmhub.spawner.sizes import readable_size

TEMPLATE = "swarmhub_form.html"

_environment = Environment(
    loader=PackageLoader("swarmhub.hub", "templates"), autoescape=True, undefined=StrictUndefined
)


@dataclass(frozen=True)
class Answer:
    """One line of a select box."""

    value: str
    text: str
    selected: bool


@dataclass(frozen=True)
class Field:
    """One thing to choose, or, with a single answer, to read."""

    name: str
    label: str
    answers: tuple[Answer, ...]
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The HTML element's id."""
        return "swarmhub-" + self.name.replace(SEPARATOR, "--")

    @property
    def is_choice(self) -> bool:
        """There is something to choose."""
        return len(self.answers) > 1


@dataclass(frozen=True)
class Card:
    """One course."""

    name: str
    title: str
    description: str
    checked: bool
    fields: tuple[Field, ...]
    folders: tuple[str, ...]


def options_form(
    config: Config,
    groups: frozenset[str] = frozenset(),
    roles: frozenset[str] = frozenset(),
    previous: Mapping[str, Any] | None = None,
    default_course: str = "",
) -> str:
    """HTML of the form for somebody in these groups, with these roles; what was chosen last is chosen again.

    Empty, and JupyterHub then shows no form, if there is nothing to choose. Arguments as in ``resolve``.
    """
    person = Person(groups, roles, previous)
    cards = tuple(_cards(config, person, default_course))
    is_choice = len(cards) > 1 or any(field.is_choice for card in cards for field in card.fields)
    return _environment.get_template(TEMPLATE).render(cards=cards) if is_choice else ""


def limits(size: SizeConfig) -> str:
    """A size in words: ``up to 1 GB memory, 1 core``."""
    cores = "1 core" if size.cpu == 1 else f"{size.cpu:g} cores"
    extra = [f"{count} {kind}" for kind, count in size.resources.items()]
    return "up to " + ", ".join([f"{readable_size(size.memory)} memory", cores, *extra])


def _cards(config: Config, person: Person, default_course: str) -> Iterator[Card]:
    courses = person.courses(config)
    choose = partial(resolve, config, groups=person.groups, roles=person.roles, previous=person.previous)
    checked = person.last("course")
    if courses and checked not in courses:
        checked = choose(None, default_course=default_course).course
    if checked not in courses:
        checked = next(iter(courses), "")
    for name, course in courses.items():
        try:
            choice = choose(person.previous if person.last("course") == name else {"course": name})
        except ChoiceError:
            # What was possible the last time no longer is.
            choice = choose({"course": name})
        fields = (
            _image(person, course, choice),
            _size(person, course, choice),
            *_options(person, course, choice),
        )
        yield Card(
            name=name,
            title=choice.course_title,
            description=course.description,
            checked=name == checked,
            fields=tuple(field for field in fields if field.answers),
            folders=tuple(
                folder.title if folder.writable(person.groups) else f"{folder.title} (read only)"
                for folder in choice.folders
            ),
        )


def _image(person: Person, course: CourseConfig, choice: ServerChoice) -> Field:
    offered = person.images(choice.course, course)
    marks = {name: " (going away)" if image.deprecated else "" for name, image in offered.items()}
    answers = tuple(
        Answer(name, f"{image.title or name}{marks[name]}", name == choice.image_name)
        for name, image in offered.items()
    )
    going = {image.deprecated: image.title or name for name, image in offered.items() if image.deprecated}
    replaced = [notice for notice in choice.notices if notice not in going]
    notes = (*replaced, *(f"{title}: {text}" for text, title in going.items()))
    return Field(f"image{SEPARATOR}{choice.course}", "Image", _shown("image", course, answers), notes)


def _size(person: Person, course: CourseConfig, choice: ServerChoice) -> Field:
    answers = []
    for name, size in person.sizes(course).items():
        words = limits(size)
        text = f"{size.title or name}: {words}" if course.sizes else f"{words[0].upper()}{words[1:]}"
        answers.append(Answer(name, text, name == choice.size_name))
    if "size" in course.read_only:
        answers = [answer for answer in answers if answer.selected]
    return Field(f"size{SEPARATOR}{choice.course}", "Size", tuple(answers))


def _options(person: Person, course: CourseConfig, choice: ServerChoice) -> Iterator[Field]:
    for name, option in course.options.items():
        answers = _answers(person.may(option.choices), choice.options.get(name, ""))
        yield Field(
            SEPARATOR.join(("option", choice.course, name)),
            option.title or name,
            _shown(name, course, answers),
        )


def _answers(offered: Mapping[str, Choice], selected: str) -> tuple[Answer, ...]:
    return tuple(Answer(name, one.title or name, name == selected) for name, one in offered.items())


def _shown(field: str, course: CourseConfig, answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """What the form shows: all answers, the fixed one of a read-only field, none if there is no choice."""
    if field in course.read_only:
        return tuple(answer for answer in answers if answer.selected)
    return answers if len(answers) > 1 else ()
