"""Waiting for a state, with a deadline that says what did not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(what: str, get: Callable[[], T | None], *, seconds: float, every: float = 0.25) -> T:
    """The first truthy value of ``get()``; AssertionError naming ``what`` after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        value = get()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what} (last seen: {value!r})")
        time.sleep(every)
