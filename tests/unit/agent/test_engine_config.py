from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from swarmhub_agent.engine_config import EngineConfigError, apply
from swarmhub_agent.identity import Identity

from tests.unit.agent.fakes import INSTANCE

OURS = [f"org.swarmhub.instance={INSTANCE}", "org.swarmhub.pool=cpu"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "daemon.json"


def test_a_missing_or_empty_file_is_written(file: Path, identity: Identity) -> None:
    assert apply(file, identity)
    assert json.loads(file.read_text()) == {"labels": OURS}
    assert file.stat().st_mode & 0o777 == 0o644
    file.write_text("\n")
    assert apply(file, identity)
    assert json.loads(file.read_text()) == {"labels": OURS}


def test_other_keys_labels_and_the_files_mode_are_kept(file: Path, identity: Identity) -> None:
    file.parent.mkdir()
    file.write_text('{"log-driver": "local", "labels": ["rack=7"], "live-restore": false}')
    file.chmod(0o600)
    assert apply(file, identity)
    assert json.loads(file.read_text()) == {
        "log-driver": "local",
        "labels": ["rack=7", *OURS],
        "live-restore": False,
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_labels_of_another_instance_are_replaced(file: Path, identity: Identity) -> None:
    apply(file, replace(identity, instance_id="i-0other", pool="gpu"))
    assert apply(file, identity)
    assert json.loads(file.read_text()) == {"labels": OURS}


def test_a_file_that_is_right_is_not_written_again(file: Path, identity: Identity) -> None:
    apply(file, identity)
    before = file.stat()
    assert not apply(file, identity)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{\n  "log-driver": local\n}', "line 2, column 17"),
        ("[]", "must hold a JSON object, not list"),
        ('{"labels": "a=b"}', '"labels" must be a list'),
        ('{"labels": [1]}', '"labels" must be a list'),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it_and_loses_nothing(
    file: Path, identity: Identity, text: str, reason: str
) -> None:
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(EngineConfigError) as error:
        apply(file, identity)
    assert str(file) in str(error.value)
    assert reason in str(error.value)
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]


def test_a_directory_in_the_files_place_is_an_error(file: Path, identity: Identity) -> None:
    file.mkdir(parents=True)
    with pytest.raises(EngineConfigError, match="cannot be read"):
        apply(file, identity)
