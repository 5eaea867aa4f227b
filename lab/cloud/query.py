"""Filters and pages, as the describe calls of both services have them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from lab.cloud.errors import AwsError

T = TypeVar("T")
Values = Callable[[str], Sequence[str] | None]
"""An item's values for a filter name; None when there is no such filter."""


def select(
    items: Iterable[T],
    filters: Sequence[Mapping[str, Any]],
    values_of: Callable[[T], Values],
    error_code: str,
) -> list[T]:
    """Items that match every filter; a filter matches when one of its values (``*`` and ``?`` allowed) does.

    An unknown filter name is refused with ``error_code``.
    """
    return [item for item in items if all(_matches(f, values_of(item), error_code) for f in filters)]


def tag_values(tags: Mapping[str, str], name: str) -> Sequence[str] | None:
    """What ``tag:<key>``, ``tag-key`` and ``tag-value`` look at; None for other filter names."""
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return [tags[key]] if key in tags else []
    return {"tag-key": list(tags), "tag-value": list(tags.values())}.get(name)


def page(
    items: Sequence[T], params: Mapping[str, Any], size_key: str, default: int
) -> tuple[Sequence[T], str | None]:
    """One page and the token of the next, None when this is the last."""
    start = _offset(params.get("NextToken"))
    end = start + (params.get(size_key) or default)
    token = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[start:end], token


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError):
        raise AwsError("InvalidNextToken", f"The NextToken value {token!r} is not valid") from None


def _matches(wanted: Mapping[str, Any], values_of: Values, error_code: str) -> bool:
    name = wanted.get("Name", "")
    found = values_of(name)
    if found is None:
        raise AwsError(error_code, f"The filter '{name}' is invalid")
    return any(fnmatchcase(value, pattern) for value in found for pattern in wanted.get("Values", ()))
