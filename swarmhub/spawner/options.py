"""The choice of a course: the form before a start, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from swarmhub.config import Config
from swarmhub.spawner.errors import ConfigFailure


def course_form(config: Config | None) -> str:
    """HTML of the form; empty (JupyterHub then shows none) if there is nothing to choose."""
    if config is None or len(config.courses) < 2:  # noqa: PLR2004  # one course is no choice
        return ""
    options = "".join(
        f'<option value="{escape(name)}"{" selected" if name == config.default_course else ""}>'
        f"{escape(course.title or name)}</option>"
        for name, course in config.courses.items()
    )
    return (
        '<label for="course">Course</label>'
        f'<select class="form-control" id="course" name="course" required autofocus>{options}</select>'
    )


def options_from_form(form: Mapping[str, list[str]]) -> dict[str, Any]:
    """The form's data as JupyterHub's user options."""
    return {name: form[name][0] for name in ("course", "image") if form.get(name)}


def chosen_course(config: Config, chosen: object) -> str:
    """The course to start; the default one if none was chosen. Raises ConfigFailure for an unknown one.

    ``chosen`` comes from the user, possibly through the API, and may be anything.
    """
    name = chosen or config.default_course
    if not isinstance(name, str) or name not in config.courses:
        raise ConfigFailure(f"There is no course {name!r}", f"there are: {', '.join(config.courses)}")
    return name
