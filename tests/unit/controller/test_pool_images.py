"""The images of a pool's courses, by digest."""

from __future__ import annotations

from datetime import timedelta

from swarmhub.config import Config
from swarmhub.controller.pool_images import PoolImages
from swarmhub.images import ImageError
from tests.unit.controller.world import NOW


def config(**images: str) -> Config:
    courses = {
        name: {"image": image, "pool": "gpu" if name.startswith("gpu") else "cpu"}
        for name, image in images.items()
    }
    return Config.model_validate(
        {"hub": {"name": "lab"}, "pools": {"cpu": {}, "gpu": {}}, "courses": courses}
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


async def test_after_a_change_the_old_digest_holds_until_the_new_one_is_known() -> None:
    registry = Registry()
    images = PoolImages(registry.resolve, lambda: NOW)
    images.load(config(intro="a"))
    await images.resolve_missing()
    images.load(config(intro="a", other="b"))
    assert images.by_pool() == {"cpu": ("a@sha256:1",), "gpu": ()}
    await images.resolve_missing()
    assert registry.asked == ["a", "a", "b"]
    assert images.by_pool() == {"cpu": ("a@sha256:1", "b@sha256:1"), "gpu": ()}
