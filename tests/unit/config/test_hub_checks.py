"""Networks, storage, shared folders and registries in swarmhub.yaml."""

from __future__ import annotations

import pytest

from swarmhub.config import addresses_needed
from swarmhub.config.hub_checks import ecr_region
from tests.unit.config.conftest import Load, Problems

BASE = """\
hub: {name: lab}
pools: {cpu: {}}
courses: {intro: {image: a, pool: cpu}}
"""
MORE = "more_networks: [{name: second, subnet: 10.65.0.0/24}]\n"


def test_seats_may_use_the_addresses_of_all_networks(load: Load, problems: Problems) -> None:
    small = BASE + "network: {subnet: 10.64.0.0/24}\n"
    assert load(small + "seats: 80\n").seats == 80
    assert problems(small + "seats: 120\n")
    config = load(small + MORE + "seats: 120\n")
    assert [network.name for network in config.networks] == ["notebooks", "second"]


def test_seats_beyond_all_networks_are_refused_with_the_sum(problems: Problems) -> None:
    (problem,) = problems(BASE + "network: {subnet: 10.64.0.0/24}\n" + MORE + "seats: 121\n")
    assert problem.startswith("6: seats: 121 seats do not fit into the 2 networks' 512 addresses")
    assert "516 needed; at most 120 seats" in problem
    assert addresses_needed(120, networks=2) <= 512


def test_overlapping_subnets_are_refused(problems: Problems) -> None:
    (problem,) = problems(BASE + "more_networks:\n  - {name: second, subnet: 10.64.8.0/24}\n")
    assert problem == (
        "5: more_networks.0.subnet: 10.64.8.0/24 overlaps 10.64.0.0/20 of network 'notebooks'; "
        "choose another range"
    )


def test_two_networks_of_one_name_are_refused(problems: Problems) -> None:
    (problem,) = problems(BASE + "more_networks: [{name: notebooks, subnet: 10.65.0.0/24}]\n")
    assert problem.startswith("4: more_networks.0.name: 'notebooks' is the name of another network")


def test_an_unknown_key_of_a_list_entry_is_named(problems: Problems) -> None:
    (problem,) = problems(BASE + "more_networks: [{nam: second}]\n")
    assert problem == "4: more_networks.0.nam: unknown key; did you mean 'name'? allowed here: name, subnet"


@pytest.mark.parametrize(
    ("text", "quota"), [("10G", 10 * 2**30), ("none", None), ("null", None), ("512M", 2**29)]
)
def test_a_quota_is_a_size_or_none(load: Load, text: str, quota: int | None) -> None:
    assert load(BASE + f"storage: {{quota: {text}}}\n").storage.quota == quota


def test_a_quota_that_is_no_size_is_refused(problems: Problems) -> None:
    (problem,) = problems(BASE + "storage: {quota: lots}\n")
    assert problem.startswith("4: storage.quota: is not a size")


@pytest.mark.parametrize("skeleton", ["/etc", "../x", "a/../b", "a//b", "homes/ana"])
def test_the_skeleton_is_a_folder_beside_the_homes(problems: Problems, skeleton: str) -> None:
    (problem,) = problems(BASE + f"storage: {{skeleton: {skeleton}}}\n")
    assert problem.startswith("4: storage.skeleton: is ")


def test_no_skeleton_is_allowed(load: Load) -> None:
    assert load(BASE + "storage: {skeleton: ''}\n").storage.skeleton == ""


def folder(**values: object) -> str:
    entries = {"path": "courses/{course}/data", "target": "/home/jovyan/data", "gid": 30001} | values
    return BASE + "folders:\n  data:\n" + "".join(f"    {k}: '{v}'\n" for k, v in entries.items())


def test_a_folder_says_who_may_read_and_write(load: Load) -> None:
    data = load(folder() + "    write: [teachers]\n").folders["data"]
    assert (data.path, data.target, data.gid) == ("courses/{course}/data", "/home/jovyan/data", 30001)
    assert (data.write, data.read) == (("teachers",), ())


@pytest.mark.parametrize(
    "path", ["/srv/data", "../data", "a/../../b", "", "a/", "./a", "a/\\x00b", "homes/{user}", "a" * 256]
)
def test_a_folder_lies_below_the_root_and_outside_the_homes(problems: Problems, path: str) -> None:
    text = folder().replace("'courses/{course}/data'", f'"{path}"')
    (problem,) = problems(text)
    assert problem.startswith("6: folders.data.path: is ")


@pytest.mark.parametrize("path", ["{name}/x", "{user.name}", "{0}", "{}", "{user!r}", "{user:>9}", "{user"])
def test_a_field_in_braces_that_is_not_known_is_refused_with_those_that_are(
    problems: Problems, path: str
) -> None:
    (problem,) = problems(folder(path=path))
    assert "6: folders.data.path: has " in problem
    assert "{course}, {server}, {user}" in problem


@pytest.mark.parametrize(
    "target",
    ["/", "/etc", "/etc/ssl", "/proc/1", "/sys", "/dev/shm", "/run/secrets", "/home/jovyan", "/home"],
)
def test_a_folder_cannot_take_the_servers_own_places(problems: Problems, target: str) -> None:
    (problem,) = problems(folder(target=target))
    assert problem.startswith("7: folders.data.target: is taken by the server itself")
    assert "/home/jovyan/data" in problem


@pytest.mark.parametrize("target", ["data", "/mnt/../etc", "//etc", "/mnt//x", "/home/jovyan/../x"])
def test_a_target_is_a_plain_absolute_path(problems: Problems, target: str) -> None:
    (problem,) = problems(folder(target=target))
    assert problem.startswith("7: folders.data.target: is not an absolute path without '..'")


def registry(host: str, text: str) -> str:
    return BASE + f"registries:\n  {host}: {text}\n"


ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


def test_registries_log_in_by_role_or_with_a_password(load: Load) -> None:
    assert load(registry(ECR, "{kind: ecr}")).registries[ECR].kind == "ecr"
    text = registry("reg.example.org:5000", "{kind: password, username: hub, password_file: /run/x}")
    assert load(text).registries["reg.example.org:5000"].username == "hub"


def test_a_host_names_its_region() -> None:
    assert ecr_region(ECR) == "eu-central-1"
    assert ecr_region("registry.example.org") == ""


@pytest.mark.parametrize(
    ("host", "text", "problem"),
    [
        (ECR, "{kind: gcr}", "kind: should be 'ecr' or 'password'; got 'gcr'"),
        (ECR, "{kind: ecr, username: a}", "username: has no meaning for kind 'ecr'"),
        ("local", "{kind: ecr}", "region: is required: the host names no AWS region"),
        ("local", "{kind: password, password_file: /x}", "username: is required for kind 'password'"),
        ("local", "{kind: password, username: a}", "password_file: is required for kind 'password'"),
        (
            "local",
            "{kind: password, username: a, password_file: x}",
            "password_file: is not an absolute path",
        ),
        (
            "local",
            "{kind: password, username: a, password_file: /x, region: eu}",
            "region: has no meaning for kind 'password'",
        ),
    ],
)
def test_what_a_registry_lacks_is_named(problems: Problems, host: str, text: str, problem: str) -> None:
    (found,) = problems(registry(host, text))
    assert found.startswith(f"5: registries.{host}.{problem}")


def test_a_registrys_name_is_a_host(problems: Problems) -> None:
    (problem,) = problems(registry("'https://reg.example.org/x'", "{kind: ecr}"))
    assert problem.startswith("5: registries.https://reg.example.org/x: must match")
