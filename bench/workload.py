"""What the benchmarks start: a light server, or JupyterLab; the same for all contenders."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Workload:
    """One kind of server."""

    name: str
    command: tuple[str, ...]
    """What the hubs run."""
    raw_command: tuple[str, ...]
    """What runs without a hub."""
    memory_limit: int
    """Bytes."""
    memory_reservation: int
    """Bytes."""
    cpu_reservation: float
    """Cores; small, so that 120 servers fit on two machines of two cores."""
    ready: str
    """How the raw floor knows: ``tcp`` (accepts) or ``http`` (answers; JupyterLab listens before it can)."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _light() -> Workload:
    command = ("python3", "-c", (PROGRAMS / "light_server.py").read_text())
    return Workload("light", command, command, 128 * _MEBIBYTE, 16 * _MEBIBYTE, 0.01, "tcp")


LIGHT = _light()
LAB = Workload(
    "JupyterLab",
    ("jupyterhub-singleuser",),
    ("jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--ServerApp.base_url=/"),
    1024 * _MEBIBYTE,
    256 * _MEBIBYTE,
    0.05,
    "http",
)
