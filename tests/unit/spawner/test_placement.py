"""Where servers may run."""

import json
from typing import Any

import pytest

from swarmhub.spawner.placement import constraints, pick_network, relaxed


def body(*rules: str) -> dict[str, Any]:
    template = {"ContainerSpec": {"Image": "i"}, "Placement": {"Constraints": list(rules), "MaxReplicas": 1}}
    return {"name": "s", "task_template": template}


def test_pool_requirements_and_preferences_are_all_strict_at_first() -> None:
    assert constraints("gpu", {"zone": "a"}, {"disk": "nvme"}) == [
        "node.role==worker",
        "node.labels.org.swarmhub.pool==gpu",
        "node.labels.zone==a",
        "node.labels.disk==nvme",
    ]


def test_nothing_asked_for_is_any_node() -> None:
    assert constraints("", {}, {}) == []


@pytest.mark.parametrize("key", ["node.platform.arch", "engine.labels.rack"])
def test_swarms_own_words_are_used_as_they_are(key: str) -> None:
    assert constraints("", {key: "x"}, {}) == [f"{key}==x"]


def test_only_the_preference_is_given_up() -> None:
    rules = constraints("cpu", {"zone": "a"}, {"disk": "nvme", "rack": "2"})
    later = relaxed(body(*rules, "node.labels.mine==1"), {"disk": "nvme", "rack": "2"})
    assert later is not None
    assert later["task_template"]["Placement"] == {
        "Constraints": [*constraints("cpu", {"zone": "a"}, {}), "node.labels.mine==1"],
        "MaxReplicas": 1,
    }
    assert later["task_template"]["ContainerSpec"] == {"Image": "i"}
    assert later["name"] == "s"


def test_what_is_required_as_well_as_preferred_stays() -> None:
    rules = constraints("", {"disk": "nvme"}, {"disk": "nvme"})
    later = relaxed(body(*rules), {"disk": "nvme"})
    assert later is not None
    assert later["task_template"]["Placement"]["Constraints"] == ["node.labels.disk==nvme"]


def test_the_body_itself_does_not_change() -> None:
    strict = body("node.labels.disk==nvme")
    before = json.dumps(strict)
    assert relaxed(strict, {"disk": "nvme"}) is not None
    assert json.dumps(strict) == before


@pytest.mark.parametrize("prefer", [{}, {"disk": "nvme"}])
def test_nothing_to_give_up_is_told(prefer: dict[str, str]) -> None:
    assert relaxed(body("node.labels.zone==a"), prefer) is None
    assert relaxed({"task_template": {}}, prefer) is None


@pytest.mark.parametrize(
    ("used", "picked"),
    [
        ({}, "b"),
        ({"b": 10}, "a"),
        ({"b": 5}, "a"),
        ({"a": 5, "b": 10}, "a"),
        ({"a": 5, "b": 9}, "b"),
        ({"a": 99, "b": 99}, "b"),
    ],
)
def test_servers_go_to_the_network_with_most_room_and_the_first_of_equals(
    used: dict[str, int], picked: str
) -> None:
    assert pick_network(used, {"a": 5, "b": 10}) == picked


def test_without_networks_none_is_picked() -> None:
    assert pick_network({}, {}) == ""
