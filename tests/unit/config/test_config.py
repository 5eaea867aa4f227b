"""What swarmhub.yaml may say, and what its author is told when it says something else."""

from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from swarmhub.config import Config, addresses_needed, load_config, parse_size
from swarmhub.config_errors import ConfigError

MINIMAL = """\
hub:
  name: lab
pools:
  cpu: {}
courses:
  intro:
    image: registry:5000/notebook:1
    pool: cpu
"""
Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str) -> Config:
        path = tmp_path / "swarmhub.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return write_and_load


def problems(load: Load, text: str) -> list[str]:
    """The error's lines, with the folder cut off."""
    with pytest.raises(ConfigError) as raised:
        load(text)
    return [line[line.index("swarmhub.yaml:") :] for line in str(raised.value).splitlines()]


def test_a_minimal_file_is_filled_with_defaults(load: Load) -> None:
    config = load(MINIMAL)
    assert config.network.name == "notebooks"
    assert config.network.subnet == IPv4Network("10.64.0.0/20")
    storage = {"root": "/srv/swarmhub", "first_uid": 20000, "gid": 100, "skeleton": "skeleton", "quota": None}
    assert config.storage.model_dump() == storage
    assert config.default_course == "intro"
    course = config.courses["intro"]
    assert (course.memory, course.memory_reservation) == (2**30, 2**28)
    assert (course.cpu, course.cpu_reservation) == (1.0, 0.1)


def test_what_the_file_says_wins_over_defaults(load: Load) -> None:
    text = MINIMAL.replace("cpu: {}", "cpu: {title: Mine}") + "    memory: 1.5G\nseats: 30\n"
    config = load(text)
    assert config.pools["cpu"].title == "Mine"
    assert config.courses["intro"].memory == 3 * 2**29
    assert config.seats == 30


def test_the_first_course_is_the_default_unless_another_is_named(load: Load) -> None:
    second = MINIMAL + "  other: {image: a, pool: cpu}\n"
    assert load(second).default_course == "intro"
    assert load(second + "default_course: other\n").default_course == "other"


def test_a_configuration_cannot_be_changed_after_loading(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(MINIMAL).seats = 3


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 2**29), ("1G", 2**30), ("1.5G", 3 * 2**29), ("2T", 2**41), (2**20, 2**20)]
)
def test_sizes_are_bytes_in_powers_of_1024(text: object, size: int) -> None:
    assert parse_size(text) == size


@given(st.integers(1, 4096), st.sampled_from("MGT"))
def test_whole_sizes_keep_their_value(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * {"M": 2**20, "G": 2**30, "T": 2**40}[unit]


@pytest.mark.parametrize("text", ["1 GB", "lots", "-1G", "1g", "", True, None, [1]])
def test_what_is_no_size_is_refused_with_the_allowed_form(text: object) -> None:
    with pytest.raises(ValueError, match="for example 512M, 1G"):
        parse_size(text)


def test_a_size_too_small_to_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1M"):
        parse_size("512")


def test_an_unknown_key_is_named_with_line_and_nearest_match(load: Load) -> None:
    (problem,) = problems(load, MINIMAL + "    memmory: 1G\n")
    assert problem.startswith(
        "swarmhub.yaml:9: courses.intro.memmory: unknown key; did you mean 'memory'? allowed here: allowed_"
    )


def test_an_unknown_top_level_key_is_named(load: Load) -> None:
    (problem,) = problems(load, MINIMAL + "seat: 3\n")
    assert problem.startswith(
        "swarmhub.yaml:9: seat: unknown key; did you mean 'seats'? allowed here: courses,"
    )


def test_an_unknown_pool_lists_the_pools(load: Load) -> None:
    assert problems(load, MINIMAL.replace("pool: cpu", "pool: cpus")) == [
        "swarmhub.yaml:8: courses.intro.pool: unknown pool 'cpus'; did you mean 'cpu'? allowed here: cpu"
    ]


def test_an_unknown_default_course_lists_the_courses(load: Load) -> None:
    assert problems(load, MINIMAL + "default_course: outro\n") == [
        "swarmhub.yaml:9: default_course: unknown course 'outro'; did you mean 'intro'? allowed here: intro"
    ]


def test_a_missing_key_is_placed_at_its_parent(load: Load) -> None:
    text = MINIMAL.replace("    image: registry:5000/notebook:1\n", "")
    assert problems(load, text) == ["swarmhub.yaml:6: courses.intro.image: is required, but not given"]


def test_a_bad_size_says_what_it_got_and_what_is_allowed(load: Load) -> None:
    (problem,) = problems(load, MINIMAL + "    memory: 1 gig\n")
    assert problem.startswith(
        "swarmhub.yaml:9: courses.intro.memory: is not a size; write a number and one of"
    )
    assert problem.endswith("got '1 gig'")


def test_a_value_of_the_wrong_type_says_what_it_got(load: Load) -> None:
    (problem,) = problems(load, MINIMAL + "seats: many\n")
    assert problem.startswith("swarmhub.yaml:9: seats: should be a valid integer")
    assert problem.endswith("got 'many'")


@pytest.mark.parametrize("name", ["Lab", "1lab", "l_b", "x" * 21])
def test_a_hub_name_must_fit_into_service_names(load: Load, name: str) -> None:
    (problem,) = problems(load, MINIMAL.replace("name: lab", f"name: {name}"))
    assert problem.startswith("swarmhub.yaml:2: hub.name: ")
    assert repr(name) in problem


def test_a_course_name_must_be_a_slug(load: Load) -> None:
    (problem,) = problems(load, MINIMAL.replace("intro:", "Intro Course:"))
    assert problem.startswith("swarmhub.yaml:6: courses.Intro Course: must match")


@pytest.mark.parametrize("root", ["srv", "/srv/../etc"])
def test_the_storage_root_is_an_absolute_path(load: Load, root: str) -> None:
    (problem,) = problems(load, MINIMAL + f"storage: {{root: {root}}}\n")
    assert problem.startswith("swarmhub.yaml:9: storage.root: is not an absolute path without '..'")


def test_a_reservation_above_its_limit_is_refused(load: Load) -> None:
    found = problems(load, MINIMAL + "    memory_reservation: 2G\n    cpu_reservation: 3\n")
    assert [problem.split(": ")[1] for problem in found] == [
        "courses.intro.memory_reservation",
        "courses.intro.cpu_reservation",
    ]


def test_all_problems_are_reported_in_file_order(load: Load) -> None:
    text = MINIMAL.replace("name: lab", "nam: lab").replace("pool: cpu", "pool: gpu") + "seats: 0\n"
    assert [problem.split(": ")[0] for problem in problems(load, text)] == [
        "swarmhub.yaml:1",
        "swarmhub.yaml:2",
        "swarmhub.yaml:8",
        "swarmhub.yaml:9",
    ]


def test_a_key_given_twice_names_both_lines(load: Load) -> None:
    assert problems(load, MINIMAL + "    pool: gpu\n") == [
        "swarmhub.yaml:9: courses.intro.pool: is given twice, first on line 8; keep one"
    ]


def test_broken_yaml_names_the_line(load: Load) -> None:
    (problem,) = problems(load, "hub:\n  name: [lab\npools: {}\n")
    assert problem.startswith("swarmhub.yaml:3: is not valid YAML: ")


@pytest.mark.parametrize("text", ["", "- a\n", "word\n"])
def test_a_file_without_keys_is_refused(load: Load, text: str) -> None:
    assert problems(load, text) == ["swarmhub.yaml:1: is empty or not a mapping; write keys such as 'hub:'"]


def test_a_file_that_is_not_there_is_an_error_of_the_same_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "absent.yaml")


def test_seats_that_do_not_fit_the_subnet_are_refused_with_the_sum(load: Load) -> None:
    (problem,) = problems(load, MINIMAL + "network: {subnet: 10.64.0.0/24}\nseats: 100\n")
    assert problem.startswith(
        "swarmhub.yaml:10: seats: 100 seats do not fit into network.subnet 10.64.0.0/24"
    )
    assert "316 needed, 256 there; at most 80 seats, or a subnet of at least /23" in problem


def test_the_most_seats_named_in_the_error_do_fit(load: Load) -> None:
    assert load(MINIMAL + "network: {subnet: 10.64.0.0/24}\nseats: 80\n").seats == 80
    assert problems(load, MINIMAL + "network: {subnet: 10.64.0.0/24}\nseats: 81\n")
    assert addresses_needed(80) <= 256


def test_the_default_subnet_holds_the_default_seats(load: Load) -> None:
    config = load(MINIMAL)
    assert addresses_needed(config.seats) <= config.network.subnet.num_addresses


def models(model: type[BaseModel]) -> list[type[BaseModel]]:
    nested = [f.annotation for f in model.model_fields.values()]
    found = [m for m in nested if isinstance(m, type) and issubclass(m, BaseModel)]
    return [model, *(inner for m in found for inner in models(m))]


def test_every_key_is_described() -> None:
    for model in models(Config):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
