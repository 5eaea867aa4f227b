"""Sizes as people write them. Pure."""

from __future__ import annotations

_UNITS = ((2**40, "TB"), (2**30, "GB"), (2**20, "MB"), (2**10, "KB"))


def readable_size(size: int) -> str:
    """Bytes as people write them, in powers of 1024 as in ``swarmhub.yaml``: ``8.3 GB``, ``10 GB``."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"
