"""What an engine dropped of a service, told from what it kept."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from swarmhub.spawner.readback import dropped_silently
from swarmhub.spawner.spec import service_body
from tests.unit.spawner.test_spec import REQUEST

BODY = service_body(replace(REQUEST, pids=512, open_files=8192))


def kept(change: Callable[[dict[str, Any]], Any] = lambda _template: None) -> dict[str, Any]:
    """The service's spec as an engine of today gives it back, after ``change`` to its task template."""
    template: dict[str, Any] = json.loads(json.dumps(BODY["task_template"]))
    # As engine 26.1.5 answers: more fields than it was given.
    template["ContainerSpec"]["Privileges"] |= {"CredentialSpec": None, "SELinuxContext": None}
    template["ContainerSpec"]["Isolation"] = "default"
    change(template)
    return {"Name": "lab-ana-x", "TaskTemplate": template}


def test_an_engine_that_keeps_everything_is_not_blamed() -> None:
    assert dropped_silently(BODY, kept()) == ()


def test_capabilities_are_the_same_in_either_spelling() -> None:
    body = service_body(replace(REQUEST))
    body["task_template"]["ContainerSpec"]["CapabilityDrop"] = ["NET_RAW"]
    spec = kept(lambda template: template["ContainerSpec"].update(CapabilityDrop=["CAP_NET_RAW"]))
    assert dropped_silently(body, spec) == ()


@pytest.mark.parametrize(
    ("field", "drop"),
    [
        ("NoNewPrivileges", lambda template: template["ContainerSpec"].pop("Privileges")),
        (
            "NoNewPrivileges",
            lambda template: template["ContainerSpec"].update(Privileges={"CredentialSpec": None}),
        ),
        ("CapabilityDrop", lambda template: template["ContainerSpec"].pop("CapabilityDrop")),
        ("Ulimits", lambda template: template["ContainerSpec"].update(Ulimits=None)),
        ("Limits.Pids", lambda template: template["Resources"]["Limits"].pop("Pids")),
        ("Limits.Pids", lambda template: template.pop("Resources")),
        ("Init", lambda template: template["ContainerSpec"].pop("Init")),
    ],
)
def test_each_field_that_is_missing_is_named_with_its_consequence(
    field: str, drop: Callable[[dict[str, Any]], Any]
) -> None:
    (sentence,) = dropped_silently(BODY, kept(drop))
    assert f"ignores {field} (known since Docker " in sentence


def test_an_engine_of_2022_is_told_all_it_drops() -> None:
    # Engine 20.10.24 kept everything else (research/seeds.md 5.0).
    def old(template: dict[str, Any]) -> None:
        del template["ContainerSpec"]["Privileges"]["NoNewPrivileges"]

    assert len(dropped_silently(BODY, kept(old))) == 1


def test_what_was_not_asked_for_is_not_missed() -> None:
    bare = copy.deepcopy(BODY)
    for key in ("Privileges", "CapabilityDrop", "Ulimits", "Init", "Healthcheck"):
        del bare["task_template"]["ContainerSpec"][key]
    bare["task_template"]["Resources"] = {}
    assert dropped_silently(bare, {"TaskTemplate": bare["task_template"]}) == ()
