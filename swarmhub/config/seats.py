"""How many servers the networks have addresses for."""

from __future__ import annotations

from collections.abc import Iterator

from swarmhub.config.models import Config
from swarmhub.config_errors import Document, Problem

INFRASTRUCTURE_ADDRESSES = 16
"""Addresses kept for a network itself, gateway, broadcast, hub, proxy, controller and their updates."""


def addresses_needed(seats: int, networks: int = 1) -> int:
    """How many addresses in all networks together ``seats`` servers may need at the same time, worst case.

    With endpoint mode dnsrr each task has one address (measured: a /24 holds 253 such services, then tasks
    stay in ``new`` without an error). A server that moves holds two until the old task is gone, and all may
    move at once; each node holds one in each network for its load balancer, and there are never more nodes
    than seats.
    """
    return (2 + networks) * seats + networks * INFRASTRUCTURE_ADDRESSES


def most_seats(addresses: int, networks: int = 1) -> int:
    """The most seats for which so many addresses, of all networks together, suffice."""
    return max(0, (addresses - networks * INFRASTRUCTURE_ADDRESSES) // (2 + networks))


def seat_problems(document: Document, config: Config) -> Iterator[Problem]:
    """More seats than the networks have addresses for."""
    networks = config.networks
    available = sum(network.subnet.num_addresses for network in networks)
    needed = addresses_needed(config.seats, len(networks))
    if needed <= available:
        return
    place = ("seats",) if "seats" in document.data else ("network", "subnet")
    start = f"{config.seats} seats do not fit into "
    most = most_seats(available, len(networks))
    if len(networks) == 1:
        prefix = 32 - (needed - 1).bit_length()
        message = (
            f"{start}network.subnet {config.network.subnet}: a server needs "
            "one address, a second one while it moves, and each node one, so three a seat, and "
            f"{INFRASTRUCTURE_ADDRESSES} are kept for hub, proxy, controller and gateway: {needed} needed, "
            f"{available} there; at most {most} seats, or a subnet of at least /{prefix}"
        )
    else:
        message = (
            f"{start}the {len(networks)} networks' {available} addresses: a server needs one address, a "
            f"second one while it moves, and each node one in each network, so {2 + len(networks)} a seat, "
            f"and {INFRASTRUCTURE_ADDRESSES} of each network are kept for hub, proxy, controller and "
            f"gateway: {needed} needed; at most {most} seats, or larger subnets"
        )
    yield document.problem(place, message)
