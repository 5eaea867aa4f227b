"""Reading a ``swarmhub.yaml`` that a test writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from swarmhub.config import Config, load_config
from swarmhub.config_errors import ConfigError

Load = Callable[[str], Config]
Problems = Callable[[str], list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str) -> Config:
        path = tmp_path / "swarmhub.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return write_and_load


@pytest.fixture
def problems(load: Load) -> Problems:
    """The error's lines, with folder and file name cut off."""

    def problems_of(text: str) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            load(text)
        return [line.partition("swarmhub.yaml:")[2] for line in str(raised.value).splitlines()]

    return problems_of
