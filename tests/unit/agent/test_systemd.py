from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from swarmhub_agent.systemd import Notifier


@pytest.fixture
def manager(socket_path: Path) -> Iterator[socket.socket]:
    """systemd's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(socket_path))
        listener.settimeout(2)
        yield listener


def test_lines_are_sent_in_one_datagram(manager: socket.socket) -> None:
    Notifier({"NOTIFY_SOCKET": manager.getsockname()}).send("READY=1", "STATUS=up")
    assert manager.recv(1000) == b"READY=1\nSTATUS=up"


def test_a_status_is_one_line_and_sent_when_it_changes(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    for sentence in ("a\nb", "a\nb", "c"):
        notifier.status(sentence)
    assert manager.recv(1000) == b"STATUS=a b"
    assert manager.recv(1000) == b"STATUS=c"


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0swarmhub-agent-test")
        listener.settimeout(2)
        Notifier({"NOTIFY_SOCKET": "@swarmhub-agent-test"}).send("READY=1")
        assert listener.recv(1000) == b"READY=1"


def test_outside_systemd_and_without_a_listener_nothing_happens(tmp_path: Path) -> None:
    Notifier({}).send("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).send("READY=1")


async def test_signs_of_life_are_sent_twice_per_watchdog_interval(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "20000"})
    manager.setblocking(False)
    task = asyncio.create_task(notifier.keep_alive())
    loop = asyncio.get_running_loop()
    for _ in range(3):
        assert await asyncio.wait_for(loop.sock_recv(manager, 1000), 2) == b"WATCHDOG=1"
    task.cancel()
