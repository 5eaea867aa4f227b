"""The images of a pool's courses, by digest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from swarmhub.config import Config
from swarmhub.controller.pool_images import PoolImages
from swarmhub.images import ImageError
from swarmhub.pins import Pins
from tests.unit.controller.world import NOW


def config(*, registries: Mapping[str, Any] | None = None, **images: str) -> Config:
    courses = {
        name: {"image": image, "pool": "gpu" if name.startswith("gpu") else "cpu"}
        for name, image in images.items()
    }
    return Config.model_validate(
        {
            "hub": {"name": "lab"},
            "pools": {"cpu": {}, "gpu": {}},
            "registries": registries or {},
            "courses": courses,
        }
    )


class Registry:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.unknown: set[str] = set()

    async def resolve(self, reference: str) -> str:
        self.asked.append(reference)
        if reference in self.unknown:
            raise ImageError(reference, "no such image")
        return f"{reference}@sha256:1"


async def test_each_pool_has_its_own_courses_images() -> None:
    registry = Registry()
    images = PoolImages(registry.resolve, lambda: NOW)
    images.load(config(intro="b", other="a", same="a", gpu="c"))
    assert images.pending(NOW) == {"cpu", "gpu"}
    await images.resolve_missing()
    await images.resolve_missing()
    assert sorted(registry.asked) == ["a", "b", "c"]
    assert images.of("cpu") == ("a@sha256:1", "b@sha256:1")
    assert images.of("gpu") == ("c@sha256:1",)
    assert images.of(None) == ()
    assert images.pending(NOW) == frozenset()


async def test_an_image_that_fails_is_tried_again_and_holds_its_pool_up_for_a_minute_only() -> None:
    registry = Registry()
    registry.unknown = {"b"}
    images = PoolImages(registry.resolve, lambda: NOW)
    images.load(config(intro="b", gpu="c"))
    await images.resolve_missing()
    assert images.of("gpu") == ("c@sha256:1",)
    assert images.pending(NOW + timedelta(seconds=59)) == {"cpu"}
    assert images.pending(NOW + timedelta(seconds=60)) == frozenset()
    assert images.problems == {"b": "image 'b': no such image"}
    registry.unknown = set()
    await images.resolve_missing()
    assert (images.of("cpu"), images.problems) == (("b@sha256:1",), {})


async def test_after_a_change_only_new_images_are_resolved_and_the_others_keep_their_digest() -> None:
    registry = Registry()
    images = PoolImages(registry.resolve, lambda: NOW)
    images.load(config(intro="a"))
    await images.resolve_missing()
    images.load(config(intro="a", other="b"))
    assert images.by_pool() == {"cpu": ("a@sha256:1",), "gpu": ()}
    assert images.pending(NOW) == {"cpu"}
    await images.resolve_missing()
    assert registry.asked == ["a", "b"]
    assert images.by_pool() == {"cpu": ("a@sha256:1", "b@sha256:1"), "gpu": ()}


async def test_a_restarted_controller_uses_what_it_or_the_hub_has_pinned(tmp_path: Path) -> None:
    registry = Registry()
    Pins(tmp_path / "images.json", lambda: NOW).put("a", "a@sha256:old")
    images = PoolImages(registry.resolve, lambda: NOW, Pins(tmp_path / "images.json", lambda: NOW))
    images.load(config(intro="a", gpu="c"))
    await images.resolve_missing()
    assert registry.asked == ["c"]
    assert images.by_pool() == {"cpu": ("a@sha256:old",), "gpu": ("c@sha256:1",)}


async def test_an_image_the_operator_refreshes_is_asked_of_the_nodes(tmp_path: Path) -> None:
    images = PoolImages(Registry().resolve, lambda: NOW, Pins(tmp_path / "images.json", lambda: NOW))
    images.load(config(intro="a"))
    await images.resolve_missing()
    later = NOW + timedelta(hours=1)
    Pins(tmp_path / "images.json", lambda: later).replace("a", "a@sha256:new")
    await images.resolve_missing()
    assert images.of("cpu") == ("a@sha256:new",)
    assert images.pinned["a"].resolved_at == later


async def test_only_a_new_configuration_drops_pins(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "images.json", lambda: NOW)
    images = PoolImages(Registry().resolve, lambda: NOW, pins)
    images.load(config(intro="a"))
    await images.resolve_missing()
    pins.put("named-by-a-student", "x@sha256:1")
    await images.resolve_missing()
    assert pins.all().keys() == {"a", "named-by-a-student"}
    images.load(config(intro="b"))
    await images.resolve_missing()
    assert pins.all().keys() == {"b"}


async def test_a_problem_ends_when_the_hub_resolves_the_image(tmp_path: Path) -> None:
    registry = Registry()
    registry.unknown = {"a"}
    images = PoolImages(registry.resolve, lambda: NOW, Pins(tmp_path / "images.json", lambda: NOW))
    images.load(config(intro="a"))
    await images.resolve_missing()
    assert images.problems
    Pins(tmp_path / "images.json", lambda: NOW).put("a", "a@sha256:1")
    await images.resolve_missing()
    assert (images.problems, images.of("cpu")) == ({}, ("a@sha256:1",))


async def test_nodes_are_not_asked_to_pull_what_needs_a_login() -> None:
    images = PoolImages(Registry().resolve, lambda: NOW)
    login = {"kind": "password", "username": "hub", "password_file": "/secrets/r"}
    images.load(config(registries={"r.example.org": login}, intro="r.example.org/a", other="b"))
    assert images.pending(NOW) == {"cpu"}
    await images.resolve_missing()
    assert (images.of("cpu"), images.pending(NOW)) == (("b@sha256:1",), frozenset())
    assert images.pinned.keys() == {"r.example.org/a", "b"}


async def test_the_operator_sees_every_image_resolved_or_not() -> None:
    registry = Registry()
    registry.unknown = {"b"}
    images = PoolImages(registry.resolve, lambda: NOW)
    assert images.rows() == ()
    images.load(config(intro="a", other="b"))
    await images.resolve_missing()
    assert [(row.image, row.digest, row.reason) for row in images.rows()] == [
        ("a", "a@sha256:1", ""),
        ("b", "", "image 'b': no such image"),
    ]
