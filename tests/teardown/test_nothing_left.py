"""After ``make down``: no container, network, volume, namespace or process of ours. Run by lab/test, last."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.local_cloud import REPOSITORY


def docker(*arguments: str) -> list[str]:
    """Lines that docker prints; none when make down has stopped the engine that make up had started."""
    if shutil.which("docker") is None:
        return []
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.split()


def test_no_container_network_or_volume_is_left() -> None:
    assert docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=swarmhub") == []
    assert docker("ps", "--all", "--quiet", "--filter", "label=org.swarmhub.lab=1") == []
    assert docker("network", "ls", "--quiet", "--filter", "name=swarmhub") == []
    assert docker("volume", "ls", "--quiet", "--filter", "name=swarmhub") == []


def test_no_process_is_left() -> None:
    left = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if any(
            word in command for word in ("swarmhub-agent", "swarmhub-controller", "lab.cloud", "jupyterhub")
        ):
            left.append(f"{process.name}: {command}")
        if "dockerd" in command and str(REPOSITORY) in command:
            left.append(f"{process.name}: {command}")
    assert left == []


def test_no_network_namespace_is_left() -> None:
    """Every namespace that Docker holds belongs to a container that still runs (of somebody else).

    Held means mounted: a running engine sweeps the empty files of those it let go once a minute. The one
    named ``default`` is the machine's own.
    """
    mounts = Path("/proc/mounts").read_text().splitlines()
    held = {Path(mount.split()[1]).name for mount in mounts if "/docker/netns/" in mount} - {"default"}
    assert not held or docker("ps", "--quiet"), f"namespaces without a container: {held}"


def test_the_ports_are_free_again_and_the_token_is_gone() -> None:
    for port in (8000, 8090, 8091):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
    assert not (REPOSITORY / "var/api-token").exists()
