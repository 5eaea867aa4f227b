"""What the operator reads about images."""

from __future__ import annotations

from datetime import timedelta

from swarmhub.config import Config
from swarmhub.controller.status import ImageRow, ServerRow, StatusDocument, image_rows, render
from swarmhub.pins import Pin
from tests.unit.controller.world import NOW

DIGEST = "registry:5000/lab/notebook@sha256:0123456789ab" + "c" * 52


def test_every_image_of_the_configuration_has_a_row_with_its_courses_and_digest() -> None:
    several = {
        "new": {"image": "r/notebook:2", "default": True},
        "old": {"image": "r/notebook:1", "hidden": True},
        "gone": {"redirect": "new"},
    }
    config = Config.model_validate(
        {
            "hub": {"name": "lab"},
            "pools": {"cpu": {}},
            "courses": {
                "intro": {"image": "r/notebook:2", "pool": "cpu"},
                "data": {"images": several, "pool": "cpu"},
            },
        }
    )
    pinned = {"r/notebook:2": Pin(digest=DIGEST, resolved_at=NOW), "other": Pin(digest="x", resolved_at=NOW)}
    assert image_rows(config, pinned, {"r/notebook:1": "no such image"}) == (
        ImageRow(
            image="r/notebook:1", courses=("data",), digest="", resolved_at=None, reason="no such image"
        ),
        ImageRow(image="r/notebook:2", courses=("intro", "data"), digest=DIGEST, resolved_at=NOW, reason=""),
    )


def test_images_and_the_image_of_each_server_are_shown_short() -> None:
    document = StatusDocument(
        hub="lab",
        now=NOW,
        swarm_seen_at=NOW,
        cloud_seen_at=NOW,
        servers=(
            ServerRow(
                name="lab-ada",
                user="ada",
                server="",
                course="intro",
                image=DIGEST.replace("0123", "9999"),
                node="host1",
                state="running",
                reason="",
            ),
        ),
        images=(
            ImageRow(
                image="registry:5000/lab/notebook:1",
                courses=("data", "intro"),
                digest=DIGEST,
                resolved_at=NOW - timedelta(hours=3),
                reason="",
            ),
            ImageRow(image="lost:1", courses=("x",), digest="", resolved_at=None, reason="no such image"),
        ),
    )
    lines = [" ".join(line.split()) for line in render(document).splitlines()]
    assert "ada intro notebook@9999456789ab host1 running -" in lines
    assert "registry:5000/lab/notebook:1 data, intro notebook@0123456789ab 3h -" in lines
    assert "lost:1 x - - no such image" in lines
