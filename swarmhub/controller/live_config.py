"""``swarmhub.yaml`` as it is now; a mistake in it keeps the configuration that runs."""

from __future__ import annotations

from pathlib import Path

from swarmhub.config import Config, load_config
from swarmhub.config_errors import ConfigError
from swarmhub.controller import logs


class LiveConfig:
    """The configuration that runs: ``config``, and ``problem``, why the file's is another one."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError: there is nothing to go on with yet."""
        self._path = path
        self._stamp = _stamp(path)
        self.config: Config = load_config(path)
        self.problem: str | None = None

    def refresh(self) -> bool:
        """Read the file if it has changed; True if there is a new configuration."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            config = load_config(self._path)
        except ConfigError as error:
            return self._keep(str(error))
        if config.hub.name != self.config.hub.name:
            return self._keep(f"{self._path}: hub.name cannot change while the controller runs; restart it")
        self.config, self.problem = config, None
        logs.info("configuration read", file=str(self._path))
        return True

    def _keep(self, problem: str) -> bool:
        logs.warning("configuration not taken over; the running one stays", reason=problem)
        self.problem = problem
        return False


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
