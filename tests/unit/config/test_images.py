"""An image reference becomes a digest, or an error that names image and reason."""

from typing import Any

import pytest
import requests
from docker.errors import APIError

from swarmhub.images import ImageError, resolve_image

DIGEST = "sha256:" + "a" * 64


class Registry:
    """Answers like the engine's distribution endpoint; exceptions in ``answers`` are raised, in order."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def inspect_distribution(self, image: str) -> dict[str, Any]:
        self.asked.append(image)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"Descriptor": {"digest": answer}}


def api_error(status: int) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError("refused", response=response, explanation="manifest unknown")


@pytest.mark.parametrize(
    ("reference", "resolved"),
    [
        ("notebook", f"notebook@{DIGEST}"),
        ("notebook:1", f"notebook@{DIGEST}"),
        ("registry:5000/swarmhub/notebook:1", f"registry:5000/swarmhub/notebook@{DIGEST}"),
        ("registry:5000/notebook", f"registry:5000/notebook@{DIGEST}"),
    ],
)
def test_the_tag_is_replaced_by_the_digest(reference: str, resolved: str) -> None:
    assert resolve_image(Registry(DIGEST), reference) == resolved


@pytest.mark.parametrize("reference", [f"notebook@{DIGEST}", f"notebook:1@{DIGEST}", DIGEST])
def test_a_reference_that_is_fixed_already_needs_no_registry(reference: str) -> None:
    registry = Registry()
    assert resolve_image(registry, reference) == reference
    assert registry.asked == []


def test_an_unknown_image_is_an_error_at_once_with_image_and_reason() -> None:
    registry = Registry(api_error(404))
    with pytest.raises(ImageError, match="image 'notebook:1': manifest unknown"):
        resolve_image(registry, "notebook:1")
    assert len(registry.asked) == 1


def test_a_passing_failure_is_asked_again() -> None:
    registry = Registry(requests.ConnectionError("refused"), DIGEST)
    assert resolve_image(registry, "notebook:1") == f"notebook@{DIGEST}"


def test_no_attempt_is_made_after_the_deadline() -> None:
    registry = Registry(requests.ConnectionError("refused"), DIGEST)
    with pytest.raises(ImageError, match="did not answer"):
        resolve_image(registry, "notebook:1", deadline=0)
    assert len(registry.asked) == 1


def test_an_answer_without_digest_is_refused() -> None:
    with pytest.raises(ImageError, match="no sha256 digest"):
        resolve_image(Registry("latest"), "notebook:1")
