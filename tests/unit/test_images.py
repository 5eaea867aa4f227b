"""Images of private registries, and images as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from swarmhub.images import ImageError, resolve_image, short_image
from swarmhub.registries import Credentials, PasswordRegistry

DIGEST = "sha256:0123456789ab" + "c" * 52


class Engine:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def inspect_distribution(self, image: str) -> dict[str, Any]:
        self.asked.append(image)
        return {"Descriptor": {"digest": DIGEST}}


def test_a_missing_login_is_the_reason_given(tmp_path: Path) -> None:
    file = tmp_path / "password"
    known = Credentials([PasswordRegistry("r.example.org", "hub", file)], lambda: datetime.now(UTC))
    engine = Engine()
    with pytest.raises(ImageError, match=f"image 'r.example.org/a:1': no login .*{file}: No such file"):
        resolve_image(engine, "r.example.org/a:1", credentials=known)
    assert engine.asked == []
    file.write_text("secret")
    assert resolve_image(engine, "r.example.org/a:1", credentials=known) == f"r.example.org/a@{DIGEST}"


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (f"registry:5000/swarmhub/notebook@{DIGEST}", "notebook@0123456789ab"),
        (f"notebook@{DIGEST}", "notebook@0123456789ab"),
        (f"registry:5000/notebook:1@{DIGEST}", "notebook:1@0123456789ab"),
        (DIGEST, "image@0123456789ab"),
        ("registry:5000/swarmhub/notebook:1", "notebook:1"),
        ("notebook", "notebook"),
        ("", ""),
    ],
)
def test_an_image_is_shown_by_its_name_and_the_first_digits_of_its_digest(image: str, shown: str) -> None:
    assert short_image(image) == shown
