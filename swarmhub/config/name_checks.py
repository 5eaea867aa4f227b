"""Names in ``swarmhub.yaml`` that lead nowhere, and forms that exclude each other.

Looks at the plain values, so that these problems are found in a file with other mistakes too; what has the
wrong type is left to the models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from swarmhub.config.courses import SIZE_KEYS
from swarmhub.config_errors import Document, KeyPath, Problem, suggestion


def name_problems(document: Document) -> Iterator[Problem]:
    """Every pool, folder, image, option or course that is named and does not exist, and every course whose
    short and long forms are mixed."""
    courses = _mapping(document.data, "courses")
    for name, course in courses.items():
        if isinstance(course, dict):
            yield from _course(document, ("courses", str(name)), course)
    default = document.data.get("default_course")
    if isinstance(default, str) and default not in courses:
        yield document.problem(("default_course",), _unknown("course", default, courses))


def _course(document: Document, path: KeyPath, course: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _forms(document, path, course)
    yield from _known(document, (*path, "pool"), "pool", course.get("pool"), "pools")
    for name, size in _mapping(course, "sizes").items():
        pool = size.get("pool") if isinstance(size, dict) else None
        if pool:  # empty: the course's
            yield from _known(document, (*path, "sizes", str(name), "pool"), "pool", pool, "pools")
    for index, folder in enumerate(_list(course, "folders")):
        yield from _known(document, (*path, "folders", index), "folder", folder, "folders")
    images = _mapping(course, "images")
    for name, image in images.items():
        target = image.get("redirect") if isinstance(image, dict) else None
        if isinstance(target, str) and target and target not in images:
            message = _unknown("image", target, images)
            yield document.problem((*path, "images", str(name), "redirect"), message)
    fields = ["image", "size", *_mapping(course, "options")]
    for index, field in enumerate(_list(course, "read_only")):
        if isinstance(field, str) and field not in fields:
            yield document.problem((*path, "read_only", index), _unknown("field", field, fields))


def _forms(document: Document, path: KeyPath, course: Mapping[str, Any]) -> Iterator[Problem]:
    if not course.get("image") and not course.get("images"):
        yield document.problem((*path, "image"), "is required, but not given")
    elif "image" in course and "images" in course:
        yield document.problem((*path, "image"), "is given beside 'images'; keep one of them")
    if "sizes" in course:
        for key in SIZE_KEYS:
            if key in course:
                message = "is given beside 'sizes'; move it into each of the sizes"
                yield document.problem((*path, key), message)


def _known(document: Document, path: KeyPath, kind: str, name: object, section: str) -> Iterator[Problem]:
    there = [str(known) for known in _mapping(document.data, section)]
    if isinstance(name, str) and name not in there:
        yield document.problem(path, _unknown(kind, name, there))


def _unknown(kind: str, name: str, there: Any) -> str:
    return f"unknown {kind} {name!r}{suggestion(name, map(str, there))}"


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []
