"""What somebody may choose, and what it means, whichever way it was chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmhub.config import Config
from swarmhub.spawner.profiles import (
    ChoiceError,
    ServerChoice,
    options_from_form,
    resolve,
    visible_courses,
)

G = 2**30
COURSES: dict[str, Any] = {
    "intro": {
        "title": "Introduction",
        "pool": "cpu",
        "image": "r/intro:1",
        "memory": "2G",
        "folders": ["data", "staff"],
    },
    "ml": {
        "pool": "cpu",
        "images": {
            "py313": {"title": "Python 3.13", "image": "r/ml:313", "default": True},
            "py38": {"image": "r/ml:38", "deprecated": "Python 3.8 goes in March."},
            "old": {"image": "r/ml:old", "hidden": True},
            "gone": {"redirect": "older", "message": "Gone for good."},
            "older": {"redirect": "py38"},
            "beta": {"image": "r/ml:beta", "allowed_groups": ["teachers"]},
        },
        "sizes": {
            "gpu": {
                "memory": "8G",
                "cpu": 4,
                "pool": "gpu",
                "resources": {"gpu": 1},
                "require": {"card": "a10"},
                "relax_after": 5,
                "allowed_groups": ["ml"],
                "allowed_roles": ["researcher"],
            },
            "small": {"memory": "1G"},
        },
        "options": {
            "editor": {
                "choices": {
                    "lab": {},
                    "vscode": {"env": {"URL": "/vscode", "MODE": "option"}, "default": True},
                    "vim": {"allowed_groups": ["teachers"]},
                }
            },
            "theme": {"choices": {"dark": {"env": {"THEME": "dark"}}, "light": {}}},
        },
        "read_only": ["theme"],
        "env": {"MODE": "course", "TZ": "UTC"},
        "require": {"zone": "a"},
        "prefer": {"disk": "nvme"},
        "shared_memory": "256M",
    },
    "staff": {"pool": "cpu", "image": "r/staff:1", "allowed_groups": ["teachers"], "allowed_roles": ["ta"]},
    "past": {"pool": "cpu", "image": "r/past:1", "hidden": True},
}
FOLDERS = {
    "data": {"path": "data", "target": "/mnt/data", "gid": 5, "write": ["teachers"]},
    "staff": {"path": "staff", "target": "/mnt/s", "gid": 6, "read": ["tas"], "write": ["teachers"]},
}


def make(courses: dict[str, Any] = COURSES, **more: Any) -> Config:
    pools: dict[str, Any] = {"cpu": {}, "gpu": {}}
    hub = {"name": "lab"}
    return Config.model_validate({"hub": hub, "pools": pools, "courses": courses, "folders": FOLDERS} | more)


CONFIG = make()


def choose(options: object = None, *groups: str, **more: Any) -> ServerChoice:
    return resolve(CONFIG, options, groups=frozenset(groups), **more)


def refused(options: object, *groups: str, **more: Any) -> ChoiceError:
    with pytest.raises(ChoiceError) as raised:
        choose(options, *groups, **more)
    return raised.value


def test_no_choice_is_the_default_course_with_its_defaults() -> None:
    for options in (None, {}, {"course": ""}, {"options": None}, {"options": {}}):
        choice = choose(options)
        assert (choice.course, choice.course_title) == ("intro", "Introduction")
        assert (choice.image, choice.memory, choice.pool) == ("r/intro:1", 2 * G, "cpu")


def test_a_choice_says_everything_about_the_server() -> None:
    choice = choose({"course": "ml", "size": "gpu", "options": {"editor": "lab"}}, "ml")
    assert (choice.image_name, choice.image) == ("py313", "r/ml:313")
    assert (choice.size_name, choice.memory, choice.cpu) == ("gpu", 8 * G, 4)
    assert (choice.pool, dict(choice.resources)) == ("gpu", {"gpu": 1})
    assert choice.require == {"zone": "a", "card": "a10"}
    assert (choice.prefer, choice.relax_after) == ({"disk": "nvme"}, 5)
    assert choice.options == {"editor": "lab", "theme": "dark"}
    assert choice.env == {"MODE": "course", "TZ": "UTC", "THEME": "dark"}
    assert (choice.shared_memory, choice.token, choice.notices) == (2**28, "secret", ())


def test_shared_memory_is_half_the_memory_unless_the_course_says_otherwise() -> None:
    assert choose().shared_memory == G


def test_an_options_answer_adds_to_the_courses_environment_and_wins() -> None:
    assert choose({"course": "ml"}).env["MODE"] == "option"


def test_a_relaxation_time_is_the_courses_unless_the_size_has_one() -> None:
    assert choose({"course": "ml"}).relax_after == 60


def test_a_choice_written_down_is_the_same_choice_when_read_again() -> None:
    choice = choose({"course": "ml", "image": "gone", "size": "gpu"}, "ml")
    assert replace(choose(choice.user_options, "ml"), notices=()) == replace(choice, notices=())


@pytest.mark.parametrize(
    ("options", "groups", "message", "allowed"),
    [
        ("intro", (), "must be an object", ("course", "image", "size", "options")),
        (["course"], (), "must be an object", ("course", "image", "size", "options")),
        ({"memory": "64G"}, (), "no option 'memory'", ("course", "image", "size", "options")),
        ({1: "x"}, (), "no option 1", ("course", "image", "size", "options")),
        ({"course": 5}, (), "'course' must be a name, not 5", ()),
        ({"course": ["intro"]}, (), "'course' must be a name", ()),
        ({"options": ["a"]}, (), "'options' must be an object", ()),
        ({"course": "ml", "options": {"editor": {"a": 1}}}, (), "'editor' must be a name", ()),
        ({"course": "nope"}, (), "no course 'nope' for you", ("intro", "ml")),
        ({"course": "staff"}, (), "no course 'staff' for you", ("intro", "ml")),
        ({"course": "staff"}, ("students",), "no course 'staff' for you", ("intro", "ml")),
        ({"course": "past"}, (), "no course 'past' for you", ("intro", "ml")),
        ({"image": "r/evil:1"}, (), "no image 'r/evil:1' for you", ("default",)),
        ({"course": "ml", "image": "old"}, (), "no image 'old' for you", ("py313", "py38")),
        ({"course": "ml", "image": "beta"}, (), "no image 'beta' for you", ("py313", "py38")),
        ({"course": "ml", "size": "gpu"}, (), "no size 'gpu' for you", ("small",)),
        ({"course": "ml", "options": {"editor": "vim"}}, (), "no editor 'vim'", ("lab", "vscode")),
        ({"course": "ml", "options": {"shell": "zsh"}}, (), "no option 'shell'", ("editor", "theme")),
        ({"course": "ml", "options": {"theme": "light"}}, (), "theme cannot be changed", ("dark",)),
        ({"options": {"editor": "lab"}}, (), "no option 'editor' in Introduction", ()),
    ],
)
def test_what_is_forged_is_refused_with_what_is_allowed(
    options: object, groups: tuple[str, ...], message: str, allowed: tuple[str, ...]
) -> None:
    error = refused(options, *groups)
    assert message in error.message
    assert error.allowed == allowed
    assert all(name in str(error) for name in allowed)


def test_what_is_for_a_group_or_a_role_is_for_them() -> None:
    assert choose({"course": "staff"}, "teachers").course == "staff"
    assert choose({"course": "staff"}, roles=frozenset({"ta"})).course == "staff"
    assert choose({"course": "ml", "image": "beta"}, "teachers").image == "r/ml:beta"
    assert choose({"course": "ml", "size": "gpu"}, roles=frozenset({"researcher"})).size_name == "gpu"
    assert choose({"course": "ml", "options": {"editor": "vim"}}, "teachers").options["editor"] == "vim"


def test_the_default_is_the_first_that_is_for_the_person() -> None:
    assert choose({"course": "ml"}).size_name == "small"
    assert choose({"course": "ml"}, "ml").size_name == "gpu"


def test_a_read_only_field_may_be_sent_as_it_is() -> None:
    assert choose({"course": "ml", "options": {"theme": "dark"}}).options["theme"] == "dark"


def test_a_redirect_leads_to_the_image_that_replaced_it_and_says_so() -> None:
    choice = choose({"course": "ml", "image": "gone"})
    assert (choice.image_name, choice.image) == ("py38", "r/ml:38")
    assert choice.notices == ("Gone for good.", "older was replaced by py38.", "Python 3.8 goes in March.")


def test_a_read_only_image_may_be_asked_for_by_a_name_that_leads_to_it() -> None:
    images = {"a": {"image": "r/a"}, "b": {"image": "r/b"}, "c": {"redirect": "a"}, "d": {"redirect": "b"}}
    config = make({"intro": {"pool": "cpu", "images": images, "read_only": ["image"]}})
    assert resolve(config, {"image": "c"}).image == "r/a"
    with pytest.raises(ChoiceError, match="image cannot be changed to 'b'; there is: a"):
        resolve(config, {"image": "d"})


def test_a_hidden_image_or_course_is_kept_by_who_used_it_last() -> None:
    before = {"course": "ml", "image": "old"}
    assert choose({"course": "ml", "image": "old"}, previous=before).image == "r/ml:old"
    assert choose({"course": "past"}, previous={"course": "past"}).image == "r/past:1"
    assert refused({"course": "ml", "image": "old"}, previous={"course": "intro", "image": "old"})
    assert refused({"course": "past"}, previous={"course": "ml"})


def test_a_hidden_image_never_becomes_the_default() -> None:
    images = {"old": {"image": "r/old", "hidden": True}, "new": {"image": "r/new"}}
    config = make({"intro": {"pool": "cpu", "images": images}})
    assert resolve(config, None, previous={"course": "intro", "image": "old"}).image == "r/new"


def test_what_was_used_last_opens_nothing_that_is_for_others() -> None:
    assert refused({"course": "staff"}, previous={"course": "staff"})
    assert refused({"course": "ml", "image": "beta"}, previous={"course": "ml", "image": "beta"})


@pytest.mark.parametrize("previous", [{"course": 5}, {"course": ["past"]}, {"image": {}}, "past", 7])
def test_broken_earlier_options_count_for_nothing(previous: Any) -> None:
    assert refused({"course": "past"}, previous=previous)
    assert choose(None, previous=previous).course == "intro"


def test_the_operator_may_set_another_default_even_a_hidden_one() -> None:
    assert choose(None, default_course="ml").course == "ml"
    assert choose(None, default_course="past").course == "past"
    assert choose({"course": "intro"}, default_course="past").course == "intro"
    assert "'nope' does not exist" in refused(None, default_course="nope").message


def test_who_may_not_have_the_default_course_gets_the_first_that_is_open() -> None:
    assert choose(None, default_course="staff").course == "intro"
    config = make(COURSES, default_course="staff")
    assert resolve(config, None).course == "intro"


def test_who_may_have_no_course_is_told_so() -> None:
    config = make({"staff": COURSES["staff"]})
    with pytest.raises(ChoiceError, match="No course is open to you"):
        resolve(config, None)


def test_only_courses_with_something_for_the_person_are_visible() -> None:
    sizes = {"big": {"allowed_groups": ["ml"]}}
    config = make({"intro": COURSES["intro"], "big": {"pool": "cpu", "image": "a", "sizes": sizes}})
    assert list(visible_courses(config)) == ["intro"]
    assert list(visible_courses(config, frozenset({"ml"}))) == ["intro", "big"]
    assert list(visible_courses(CONFIG, frozenset({"teachers"}))) == ["intro", "ml", "staff"]


def test_an_option_without_an_answer_for_the_person_is_left_out() -> None:
    options = {"tool": {"choices": {"a": {"allowed_groups": ["ml"], "env": {"TOOL": "a"}}}}}
    config = make({"intro": {"pool": "cpu", "image": "a", "options": options}})
    assert resolve(config, None).options == {}
    assert resolve(config, None, groups=frozenset({"ml"})).env == {"TOOL": "a"}
    with pytest.raises(ChoiceError, match="There is no tool 'a' for you"):
        resolve(config, {"options": {"tool": "a"}})


def test_folders_are_those_the_person_sees() -> None:
    assert [folder.name for folder in choose().folders] == ["data"]
    assert [folder.name for folder in choose(None, "tas").folders] == ["data", "staff"]
    folders = choose(None, "teachers").folders
    assert [folder.writable(frozenset({"teachers"})) for folder in folders] == [True, True]
    assert not folders[0].writable(frozenset({"tas"}))


def test_a_form_gives_the_fields_of_the_chosen_course() -> None:
    form = {
        "course": ["ml"],
        "image:ml": ["py38"],
        "image:intro": ["default"],
        "size:ml": ["small"],
        "option:ml:editor": ["lab"],
        "option:intro:editor": ["vim"],
        "_xsrf": ["token"],
    }
    options = {"course": "ml", "image": "py38", "size": "small", "options": {"editor": "lab"}}
    assert options_from_form(form) == options
    assert choose(options).user_options == options | {"options": {"editor": "lab", "theme": "dark"}}


def test_a_link_may_leave_out_the_courses_name() -> None:
    link = {"course": ["ml"], "image": ["py38"], "option:theme": ["dark"]}
    assert options_from_form(link) == {"course": "ml", "image": "py38", "options": {"theme": "dark"}}
    assert options_from_form({"image": ["default"]}) == {"image": "default"}
    assert options_from_form({}) == {}


@pytest.mark.parametrize(
    "field", ["memory", "image:ml:x", "option", "option:a:b:c", "options", "volume_file"]
)
def test_a_field_no_form_has_is_kept_and_refused(field: str) -> None:
    options = options_from_form({"course": ["ml"], field: ["x"]})
    assert refused(options)


WORDS = st.sampled_from(["course", "image", "size", "options", "editor", "ml", "old"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
)


@given(JUNK, JUNK)
def test_whatever_is_sent_gives_a_server_that_is_allowed_or_a_refusal(options: Any, previous: Any) -> None:
    try:
        choice = choose(options, previous=previous)
    except ChoiceError:
        return
    assert choice.course in ("intro", "ml", "past")
    assert choice.size_name in ("default", "small")
    assert choice.image in ("r/intro:1", "r/ml:313", "r/ml:38", "r/ml:old", "r/past:1")
