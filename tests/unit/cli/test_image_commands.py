"""``swarmhub images``: what the operator sees of digests, and how a moved tag is taken over."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from docker.errors import APIError, DockerException

from swarmhub.cli import image_commands, main
from swarmhub.pins import Pins

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
CONFIG = """
hub: {name: lab}
pools: {cpu: {}}
courses:
  intro: {image: 'r/a:1', pool: cpu}
  data: {image: 'r/b:1', pool: cpu}
"""


class Engine:
    """Says what the registry says; unknown images are an error."""

    def __init__(self) -> None:
        self.digests = {"r/a:1": "sha256:" + "a" * 64, "r/b:1": "sha256:" + "b" * 64}

    def inspect_distribution(self, image: str) -> dict[str, Any]:
        if image not in self.digests:
            response = requests.Response()
            response.status_code = 404
            raise APIError("refused", response=response, explanation="manifest unknown")
        return {"Descriptor": {"digest": self.digests[image]}}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(image_commands, "docker_client", lambda _credentials: made)
    return made


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "swarmhub.yaml").write_text(CONFIG)
    monkeypatch.setenv("SWARMHUB_CONFIG", str(tmp_path / "swarmhub.yaml"))
    monkeypatch.setenv("SWARMHUB_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def pins(state: Path) -> Pins:
    return Pins(state / "images.json", lambda: NOW)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["images", *arguments])


def test_every_image_is_listed_with_its_digest_and_since_when(state: Path) -> None:
    pins(state).put("r/a:1", "r/a@sha256:" + "a" * 64)
    lines = [line.split() for line in run("list").output.splitlines()]
    assert lines[1:] == [
        ["r/a:1", "intro", "a@aaaaaaaaaaaa", "2026-03-02", "10:00:00", "UTC"],
        ["r/b:1", "data", "-", "-"],
    ]
    rows = [json.loads(line) for line in run("list", "--json").output.splitlines()]
    assert [row["digest"] for row in rows] == ["r/a@sha256:" + "a" * 64, ""]


def test_refresh_takes_moved_tags_over_and_says_what_changed(state: Path, engine: Engine) -> None:
    pins(state).put("r/a:1", "r/a@sha256:" + "0" * 64)
    pins(state).put("r/left:1", "r/left@sha256:" + "1" * 64)
    result = run("refresh")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "r/a:1: a@aaaaaaaaaaaa (was a@000000000000)",
        "r/b:1: b@bbbbbbbbbbbb (new)",
    ]
    assert "unchanged" in run("refresh").output
    assert {reference: pin.digest for reference, pin in pins(state).all().items()} == {
        "r/a:1": "r/a@sha256:" + "a" * 64,
        "r/b:1": "r/b@sha256:" + "b" * 64,
    }


def test_refresh_of_one_image_leaves_the_others_alone(state: Path, engine: Engine) -> None:
    pins(state).put("r/a:1", "r/a@sha256:" + "0" * 64)
    run("refresh", "r/b:1")
    assert pins(state).all()["r/a:1"].digest.endswith("0" * 64)
    assert "r/b:1" in pins(state).all()


def test_an_image_that_is_not_configured_is_refused_with_those_that_are(engine: Engine) -> None:
    result = run("refresh", "r/c:1")
    assert result.exit_code == 2
    assert "no image 'r/c:1'; it has: r/a:1, r/b:1" in result.output


def test_an_image_that_is_gone_keeps_its_digest_and_the_rest_is_refreshed(
    state: Path, engine: Engine
) -> None:
    pins(state).put("r/a:1", "r/a@sha256:" + "0" * 64)
    del engine.digests["r/a:1"]
    result = run("refresh")
    assert result.exit_code == 4
    assert "image 'r/a:1': manifest unknown; it keeps the digest it had" in result.output
    assert pins(state).all()["r/a:1"].digest.endswith("0" * 64)
    assert "r/b:1" in pins(state).all()


def test_what_could_not_be_written_is_not_said_to_be_done(state: Path, engine: Engine) -> None:
    state.write_text("a file where the folder should be")
    result = run("refresh")
    assert result.exit_code == 4
    assert f"{state}/images.json cannot be written; nothing has changed" in result.output


def test_without_docker_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_credentials: object) -> None:
        raise DockerException("no socket")

    monkeypatch.setattr(image_commands, "docker_client", away)
    result = run("refresh")
    assert (result.exit_code, "Docker does not answer: no socket" in result.output) == (4, True)
