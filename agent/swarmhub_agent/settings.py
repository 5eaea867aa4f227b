"""The agent's settings, read from ``SWARMHUB_*`` environment variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from .errors import AgentError
from .protocol import CONTROLLER_PORT

T = TypeVar("T")


class SettingsError(AgentError):
    """A variable has a value outside its range; the text names variable, value and range."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What may differ between installations. Times in seconds."""

    shared_path: Path = Path("/srv/swarmhub")
    """Where the shared file system (EFS) is mounted on every instance."""
    controller_port: int = CONTROLLER_PORT
    swarm_port: int = 2377
    """Docker's default port for cluster management."""
    report_interval_s: float = 2.0
    notice_interval_s: float = 2.0
    """How often each notice is asked for; AWS recommends 5 s, half of it halves the reaction."""
    metadata_url: str = "http://169.254.169.254"
    docker_socket: Path = Path("/var/run/docker.sock")
    certificates_dir: Path = Path("/var/lib/docker/swarm/certificates")
    runtime_dir: Path = Path("/run/swarmhub-agent")
    """A directory on tmpfs, only root may enter; systemd makes it."""
    min_disk_free_percent: float = 5.0
    max_clock_skew_s: float = 5.0


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Build the settings; an unset or empty variable means the default.

    Raises SettingsError for a value outside its range.
    """

    def read(variable: str, default: T, convert: Callable[[str], T], allowed: str) -> T:
        text = environ.get(variable, "").strip()
        if not text:
            return default
        try:
            return convert(text)
        except ValueError:
            raise SettingsError(f"{variable}={text!r} is not allowed: it must be {allowed}") from None

    def number(variable: str, default: float, low: float, high: float, unit: str) -> float:
        def convert(text: str) -> float:
            value = float(text)
            if not low <= value <= high:
                raise ValueError
            return value

        return read(variable, default, convert, f"a number from {low:g} to {high:g} ({unit})")

    def port(variable: str, default: int) -> int:
        def convert(text: str) -> int:
            value = int(text)
            if not 1 <= value <= 65535:  # noqa: PLR2004 - TCP ports
                raise ValueError
            return value

        return read(variable, default, convert, "a TCP port from 1 to 65535")

    def path(variable: str, default: Path) -> Path:
        def convert(text: str) -> Path:
            value = Path(text)
            if not value.is_absolute():
                raise ValueError
            return value

        return read(variable, default, convert, "an absolute path")

    def url(variable: str, default: str) -> str:
        def convert(text: str) -> str:
            parts = urlsplit(text)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
                raise ValueError
            return text.rstrip("/")

        return read(variable, default, convert, "an http or https URL without a path")

    default = Settings()
    return Settings(
        shared_path=path("SWARMHUB_SHARED_PATH", default.shared_path),
        controller_port=port("SWARMHUB_CONTROLLER_PORT", default.controller_port),
        swarm_port=port("SWARMHUB_SWARM_PORT", default.swarm_port),
        report_interval_s=number("SWARMHUB_REPORT_INTERVAL", default.report_interval_s, 0.5, 60, "seconds"),
        notice_interval_s=number("SWARMHUB_NOTICE_INTERVAL", default.notice_interval_s, 0.5, 30, "seconds"),
        metadata_url=url("SWARMHUB_METADATA_URL", default.metadata_url),
        docker_socket=path("SWARMHUB_DOCKER_SOCKET", default.docker_socket),
        certificates_dir=path("SWARMHUB_CERTIFICATES_DIR", default.certificates_dir),
        runtime_dir=path("SWARMHUB_RUNTIME_DIR", default.runtime_dir),
        min_disk_free_percent=number(
            "SWARMHUB_MIN_DISK_FREE_PERCENT", default.min_disk_free_percent, 0, 90, "percent"
        ),
        max_clock_skew_s=number("SWARMHUB_MAX_CLOCK_SKEW", default.max_clock_skew_s, 1, 3600, "seconds"),
    )
