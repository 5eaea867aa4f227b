"""``lab/reclaim``: the one command of the tutorial that takes the machine under a student's notebook."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.local_cloud import REPOSITORY, active_workers, node_of_server, run, workers
from tests.support.polling import eventually
from tests.support.students import Student


@pytest.fixture
def student() -> Iterator[Student]:
    eventually("two active workers", lambda: len(active_workers()) == 2, seconds=240, every=1)
    someone = Student.create("student-reclaimed")
    someone.start()
    yield someone
    someone.stop()


def test_the_notebook_comes_back_on_another_worker_with_its_file(student: Student) -> None:
    before = node_of_server(student.name)
    known = {worker.id for worker in workers()}
    student.write("mine.txt", "written before the machine was taken")
    said = run("lab/reclaim", student.name, "120")
    assert "takes i-" in said
    eventually(
        "the server runs elsewhere", lambda: node_of_server(student.name) not in (None, before), seconds=100
    )
    eventually("it answers at its address", student.answers, seconds=10)
    assert student.read("mine.txt") == "written before the machine was taken"
    eventually("the reclaimed node is gone", lambda: before not in {w.id for w in workers()}, seconds=100)
    eventually(
        "a new worker is active", lambda: {w.id for w in active_workers()} - known, seconds=180, every=1
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Usage"),
        (["student-nobody"], "no running server"),
        (["student01", "soon"], "no number of seconds"),
    ],
    ids=["nobody named", "no server", "no number"],
)
def test_a_wrong_call_is_answered_with_what_to_do(arguments: list[str], words: str) -> None:
    done = subprocess.run(
        ["lab/reclaim", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert words in done.stderr
