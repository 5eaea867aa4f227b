"""Where a configuration file is wrong, said so that its author can mend it.

YAML is read as nodes first, because only nodes know their line; the values pydantic sees are built from them,
and every error's path is looked up in the nodes' positions again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]

_PATTERNS = {
    r"^[a-z][a-z0-9-]*$": "small letters, digits and dashes, first a letter",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "letters, digits and underscores, first no digit",
}
"""Patterns in words."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one place."""

    file: str
    line: int
    """Line in the file, counted from 1."""
    key: str
    """Dotted path of the key, for example ``courses.intro.memory``; empty for the file as a whole."""
    message: str
    """What is wrong, what was given, what is allowed."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: "
        return f"{where}{self.key}: {self.message}" if self.key else f"{where}{self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used; ``str()`` gives one problem per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.key)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class Document:
    """A YAML file: its values, and the line each of its keys stands on."""

    file: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def problem(self, path: KeyPath, message: str) -> Problem:
        """The problem with the value at ``path``; a key that is not there is placed at its parent."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return Problem(self.file, self.lines.get(known, 1), ".".join(str(part) for part in path), message)


def read_document(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises ConfigError if the file cannot be read, is not YAML, or gives the same key twice.
    """
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(file, 1, "", f"cannot be read: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(file, 1, "", f"is not UTF-8 text: {error.reason}")]) from error
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError([Problem(file, 1, "", "is empty or not a mapping; write keys such as 'hub:'")])
        lines: dict[KeyPath, int] = {}
        duplicates = list(_walk(file, node, (), lines))
        if duplicates:
            raise ConfigError(duplicates)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([Problem(file, line, "", f"is not valid YAML: {message}")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Problem(file, 1, "", f"is not valid YAML: {error}")]) from error
    finally:
        loader.dispose()
    return Document(file, data, lines)


def _walk(file: str, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> Iterable[Problem]:
    """Note the line of every key below ``node`` in ``lines``; yield a problem for each key given twice."""
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            here = (*path, str(key_node.value))
            line = key_node.start_mark.line + 1
            if here in lines:
                key = ".".join(str(part) for part in here)
                yield Problem(file, line, key, f"is given twice, first on line {lines[here]}; keep one")
            else:
                lines[here] = line
            yield from _walk(file, value_node, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            yield from _walk(file, item, (*path, index), lines)


def schema_problems(document: Document, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """pydantic's errors as problems with a line, in words that say what is allowed."""
    return [_schema_problem(document, model, details) for details in error.errors(include_url=False)]


def _schema_problem(document: Document, model: type[BaseModel], details: ErrorDetails) -> Problem:
    path: KeyPath = tuple(part for part in details["loc"] if part != "[key]")
    given = details["input"]
    match details["type"]:
        case "extra_forbidden":
            message = "unknown key" + suggestion(str(path[-1]), _allowed_keys(model, path[:-1]))
        case "missing":
            message = "is required, but not given"
        case "value_error":
            message = f"{details['ctx']['error']}; got {given!r}"
        case "string_pattern_mismatch":
            pattern = details["ctx"]["pattern"]
            words = f" ({_PATTERNS[pattern]})" if pattern in _PATTERNS else ""
            message = f"must match {pattern}{words}; got {given!r}"
        case _:
            words = details["msg"].replace("Input should", "should").replace("a valid tuple", "a list")
            message = f"{words}; got {given!r}"
    return document.problem(path, message)


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'memory'? Allowed here: …`` for the end of a message about an unknown name."""
    names = sorted(allowed)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{hint} allowed here: {', '.join(names) or 'nothing'}"


def _allowed_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys of the model that sits at ``path`` below ``model``."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = current.model_fields[str(part)].annotation
        else:  # a mapping's name or a list's index
            current = next(a for a in get_args(current) if isinstance(a, type) and issubclass(a, BaseModel))
    return list(current.model_fields)
