"""A mistake in swarmhub.yaml keeps the configuration that runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarmhub.config_errors import ConfigError
from swarmhub.controller.live_config import LiveConfig

GOOD = "hub: {name: lab}\npools: {cpu: {}}\ncourses: {intro: {image: 'a:1', pool: cpu}}\n"


def write(file: Path, text: str) -> None:
    # A new file each time, as editors make: its inode changes even within one tick of the clock.
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)  # noqa: PTH105


def test_a_change_is_taken_over_and_a_mistake_is_not(tmp_path: Path) -> None:
    file = tmp_path / "swarmhub.yaml"
    write(file, GOOD)
    live = LiveConfig(file)
    assert not live.refresh()
    write(file, GOOD.replace("a:1", "a:2"))
    assert live.refresh()
    assert live.config.courses["intro"].image == "a:2"
    write(file, GOOD.replace("pool: cpu", "pool: gpu"))
    assert not live.refresh()
    assert live.config.courses["intro"].pool == "cpu"
    assert f"{file}:3" in (live.problem or "")
    write(file, GOOD)
    assert live.refresh()
    assert live.problem is None


def test_the_hub_cannot_be_renamed_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "swarmhub.yaml"
    write(file, GOOD)
    live = LiveConfig(file)
    write(file, GOOD.replace("lab", "other"))
    assert not live.refresh()
    assert "hub.name" in (live.problem or "")


def test_a_file_that_goes_away_keeps_what_runs(tmp_path: Path) -> None:
    file = tmp_path / "swarmhub.yaml"
    write(file, GOOD)
    live = LiveConfig(file)
    file.unlink()
    assert not live.refresh()
    assert live.config.hub.name == "lab"


def test_there_must_be_a_configuration_to_start_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        LiveConfig(tmp_path / "none.yaml")
