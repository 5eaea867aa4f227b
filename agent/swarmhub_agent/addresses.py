"""Hosts and ports in one string."""

from __future__ import annotations


def join(host: str, port: int) -> str:
    """Return ``host:port``, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host(address: str) -> str:
    """Return the host of ``host:port``, an IPv6 host without its brackets."""
    return address.rpartition(":")[0].strip("[]")
