"""A tag keeps its digest until somebody means to change it, in every process and across restarts."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from swarmhub import pins as module
from swarmhub.pins import Pins

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


class Registry:
    """A registry whose tag moves at every question."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, reference: str) -> str:
        self.asked.append(reference)
        return f"{reference}@sha256:{len(self.asked)}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "images.json"


@pytest.fixture
def registry() -> Registry:
    return Registry()


def pins(file: Path | None) -> Pins:
    return Pins(file, lambda: NOW)


def test_a_restarted_process_keeps_the_digest_of_a_tag_that_moved(file: Path, registry: Registry) -> None:
    assert pins(file).digest("a", registry) == "a@sha256:1"
    assert pins(file).digest("a", registry) == "a@sha256:1"
    assert registry.asked == ["a"]


def test_two_processes_agree_even_if_both_ask_the_registry(file: Path, registry: Registry) -> None:
    hub, controller = pins(file), pins(file)

    def meanwhile(reference: str) -> str:
        controller.digest(reference, registry)
        return "a@sha256:moved"

    assert hub.digest("a", meanwhile) == "a@sha256:1"
    assert (hub.all(), controller.all()) == (pins(file).all(), pins(file).all())


def test_a_change_of_another_process_counts_at_once(file: Path, registry: Registry) -> None:
    hub = pins(file)
    hub.digest("a", registry)
    assert pins(file).replace("a", "a@sha256:new") == "a@sha256:1"
    assert hub.digest("a", registry) == "a@sha256:new"


def test_the_first_refresh_of_an_image_replaces_nothing(file: Path) -> None:
    assert pins(file).replace("a", "a@sha256:1") is None


def test_an_image_that_left_the_configuration_is_asked_for_anew_when_it_comes_back(
    file: Path, registry: Registry
) -> None:
    kept = pins(file)
    for reference in ("a", "b"):
        kept.digest(reference, registry)
    kept.keep({"b", "c"})
    assert pins(file).all().keys() == {"b"}
    assert pins(file).digest("a", registry) == "a@sha256:3"


def test_keeping_what_is_there_writes_nothing(file: Path, registry: Registry) -> None:
    kept = pins(file)
    kept.digest("a", registry)
    before = file.stat().st_ino
    kept.keep({"a", "b"})
    assert file.stat().st_ino == before


def test_when_an_image_was_resolved_is_kept(file: Path, registry: Registry) -> None:
    pins(file).digest("a", registry)
    later = Pins(file, lambda: NOW + timedelta(hours=1))
    later.digest("b", registry)
    assert {reference: pin.resolved_at for reference, pin in later.all().items()} == {
        "a": NOW,
        "b": NOW + timedelta(hours=1),
    }


def test_what_the_registry_refuses_is_raised_and_not_kept(file: Path, registry: Registry) -> None:
    def refuse(reference: str) -> str:
        raise LookupError(reference)

    kept = pins(file)
    with pytest.raises(LookupError):
        kept.digest("a", refuse)
    assert kept.digest("a", registry) == "a@sha256:1"


def test_a_file_that_makes_no_sense_is_set_aside_and_written_anew(
    file: Path, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir()
    file.write_text('{"images": [')
    assert pins(file).digest("a", registry) == "a@sha256:1"
    assert file.with_name("images.json.bad").read_text() == '{"images": ['
    assert json.loads(file.read_text())["images"].keys() == {"a"}
    assert "images.json makes no sense" in caplog.text


def test_a_process_that_runs_writes_what_it_knows_when_the_file_is_spoilt_or_removed(
    file: Path, registry: Registry
) -> None:
    kept = pins(file)
    kept.digest("a", registry)
    for spoil in (lambda: file.write_text("x"), file.unlink):
        spoil()
        assert kept.digest("a", registry) == "a@sha256:1"
        kept.put("b", "b@sha256:1")
        assert pins(file).all().keys() == {"a", "b"}


def test_a_file_that_cannot_be_written_stops_no_start_and_is_written_later(
    tmp_path: Path, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    kept = pins(blocked / "images.json")
    assert [kept.digest("a", registry) for _ in range(2)] == ["a@sha256:1"] * 2
    assert caplog.text.count("cannot be used") == 1
    blocked.unlink()
    kept.digest("b", registry)
    assert pins(blocked / "images.json").all().keys() == {"a", "b"}


def test_what_was_pinned_in_memory_outlives_a_change_by_somebody_else(
    file: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = pins(file)
    kept.digest("a", registry)
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", _no_space)
        kept.digest("b", registry)
    pins(file).put("c", "c@sha256:1")
    assert kept.all().keys() == {"a", "b", "c"}
    assert list(file.parent.glob(".images.json.*")) == [file.with_name(".images.json.lock")]


def test_without_a_file_pins_last_as_long_as_the_process(registry: Registry) -> None:
    kept = pins(None)
    assert [kept.digest("a", registry) for _ in range(2)] == ["a@sha256:1"] * 2


def test_a_lock_that_is_never_given_back_holds_nobody_up_for_long(
    file: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_WITHIN_S", 0.05)
    stuck = pins(file)
    with stuck._locked():
        assert pins(file).digest("a", registry) == "a@sha256:1"
    assert not file.exists()


def test_threads_and_processes_lose_none_of_their_changes(file: Path, registry: Registry) -> None:
    shared = [pins(file), pins(file)]

    def work(number: int) -> None:
        for i in range(5):
            shared[number % 2].digest(f"{number}-{i}", registry)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(pins(file).all()) == 30


def _no_space(_handle: int) -> None:
    raise OSError(28, "No space left on device")
