"""Swarm's words, and what a person is told instead."""

import pytest

from swarmhub.spawner.causes import Cause, named_by, plain


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("no suitable node", "there is no machine yet"),
        ("no suitable node (insufficient resources on 1 node)", "1 machine is full"),
        (
            "no suitable node "
            "(insufficient resources on 2 nodes; scheduling constraints not satisfied on 1 node)",
            "2 machines are full",
        ),
        (
            "no suitable node (1 node not available for new tasks; insufficient resources on 12 nodes)",
            "1 machine is getting ready or going away, 12 machines are full",
        ),
        (
            "no suitable node (scheduling constraints not satisfied on 3 nodes)",
            "no machine of the right kind is there yet",
        ),
        (
            "no suitable node (insufficient resources on 2 nodes; max replicas per node limit exceed)",
            "2 machines are full (max replicas per node limit exceed)",
        ),
        ("no suitable node (moon in the wrong phase on 2 nodes)", "(moon in the wrong phase on 2 nodes)"),
        ("something else", "something else"),
        ("", ""),
    ],
)
def test_the_schedulers_reasons_are_put_in_plain_words(error: str, words: str) -> None:
    assert plain(error) == words


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("No such image: course:1", Cause.IMAGE),
        ("manifest for registry/course:2 not found: manifest unknown: manifest unknown", Cause.IMAGE),
        ("starting container failed: something", None),
        ("", None),
    ],
)
def test_an_error_is_called_by_what_it_says_or_not_at_all(error: str, cause: Cause | None) -> None:
    assert named_by(error) is cause
