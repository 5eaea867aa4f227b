"""What a student and JupyterHub are told of a start that failed."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import jupyterhub.spawner
import pytest
from tornado import web

from swarmhub.spawner import errors
from swarmhub.spawner.errors import CrashedFailure, ImageFailure, QuotaFailure, StartFailure


@pytest.fixture(params=["as installed", "without SpawnException"])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as it is here, and as it is on JupyterHub 5."""
    if request.param == "as installed":
        yield errors
        return
    monkeypatch.delattr(jupyterhub.spawner, "SpawnException", raising=False)
    monkeypatch.delitem(sys.modules, errors.__name__)
    older = importlib.import_module(errors.__name__)
    yield older
    monkeypatch.undo()
    sys.modules["swarmhub.spawner"].errors = errors


def test_every_failure_works_on_both_jupyterhubs(module: ModuleType) -> None:
    for kind in module.StartFailure.__subclasses__():
        failure = kind("It did not start", "because")
        assert isinstance(failure, web.HTTPError)
        assert (failure.reason, failure.kind, failure.status_code) == (
            kind.reason,
            kind.reason,
            int(kind.status),
        )
        assert failure.jupyterhub_message == "It did not start (because)"
        assert "because" in str(failure)
        failure.add_log("the last line")
        assert "the last line" in failure.get_message()


def test_a_reason_survives_that_jupyterhub_5_overwrites_it(module: ModuleType) -> None:
    failure = module.ImageFailure("x")
    failure.reason = "error"
    assert failure.kind == "image"


def test_each_failure_has_a_reason_of_its_own() -> None:
    kinds = StartFailure.__subclasses__()
    assert len({kind.reason for kind in kinds}) == len(kinds) == 10


def test_what_swarm_said_cannot_be_markup() -> None:
    failure = ImageFailure("Your course's image", "<script>alert(1)</script>")
    assert "<script>" not in failure.jupyterhub_html_message
    assert "&lt;script&gt;" in failure.jupyterhub_html_message
    assert ImageFailure("a < b").jupyterhub_html_message == "a &lt; b"


def test_the_servers_last_lines_are_shown_and_logged() -> None:
    failure = CrashedFailure("It ended", "task: non-zero exit (1)", exit_code=1)
    failure.add_log("ImportError: <nope>")
    assert "ImportError: &lt;nope&gt;" in failure.jupyterhub_html_message
    assert "task: non-zero exit (1)" in failure.jupyterhub_html_message
    assert "ImportError: <nope>" in str(failure)
    assert "ImportError" not in failure.jupyterhub_message


def test_only_a_server_that_ran_has_a_log_to_look_at() -> None:
    assert CrashedFailure("x").wants_log
    assert not ImageFailure("x").wants_log


def test_a_full_home_is_the_students_to_change() -> None:
    assert QuotaFailure("Your home is full").status_code == 403
