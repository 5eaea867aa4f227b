from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.students import Student


@pytest.fixture
def student(request: pytest.FixtureRequest) -> Iterator[Student]:
    """A student of this test's own, stopped afterwards."""
    name = "student-" + request.node.name.removeprefix("test_").replace("_", "-")[:40]
    someone = Student.create(name)
    yield someone
    someone.stop()
