"""Names are always valid and never shared."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmhub.spawner.names import MAX_NAME, home_slug, service_name
from tests.support.names import any_text

hubs = st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True)
words = st.text(max_size=90)


@given(st.one_of(hubs, words), words, words)
def test_a_service_name_is_valid_whatever_the_user_is_called(hub: str, user: str, server: str) -> None:
    name = service_name(hub, user, server)
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name)
    assert not name.endswith("-")


@given(words)
def test_a_home_slug_is_valid_whatever_the_user_is_called(user: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", home_slug(user))


@given(st.tuples(hubs, words, words), st.tuples(hubs, words, words))
def test_two_servers_never_share_a_name(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (service_name(*one) == service_name(*other)) is (one == other)


def test_ten_thousand_random_users_and_servers_have_ten_thousand_names() -> None:
    source = random.Random(3)
    owners = {(any_text(source, 100), any_text(source, 40)) for _ in range(10_000)}
    names = {service_name("lab", user, server) for user, server in owners}
    assert len(names) == len(owners)
    assert max(map(len, names)) <= MAX_NAME


@given(words, words)
def test_two_users_never_share_a_home(one: str, other: str) -> None:
    assert (home_slug(one) == home_slug(other)) is (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("lab", "ab", "c"), ("lab", "a", "bc")),
        (("lab", "Ana", ""), ("lab", "ana", "")),
        (("lab", "ana b", ""), ("lab", "ana", "b")),
        (("lab", "a@b", ""), ("lab", "a-b", "")),
        (("lab", "x" * 80, ""), ("lab", "x" * 81, "")),
    ],
)
def test_look_alikes_are_told_apart(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert service_name(*one) != service_name(*other)


def test_a_name_can_be_read_by_people() -> None:
    assert service_name("lab", "José Álvarez").startswith("lab-jose-alvarez-")
    assert service_name("lab", "ana", "exam").startswith("lab-ana-exam-")
    assert home_slug("student1").startswith("student1-")


def test_names_stay_the_same_between_releases() -> None:
    # A restarted, upgraded hub finds its services and homes by these names: a change here loses homes.
    assert service_name("lab", "student1") == "lab-student1-homybyolva6ukklu"
    assert home_slug("student1") == "student1-wc2k7ckqd2c4tiuu"
