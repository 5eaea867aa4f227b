"""The files that the documentation shows are good ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.config.conftest import Load

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "configuration.md"
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["smallest", "full"])
def test_an_example_of_the_reference_is_accepted(load: Load, example: str) -> None:
    assert load(example).hub.name == "lab"
