"""The choice of a course."""

import pytest

from swarmhub.config import Config
from swarmhub.spawner.errors import ConfigFailure
from swarmhub.spawner.options import chosen_course, course_form, options_from_form


def config(**titles: str) -> Config:
    courses = {name: {"title": title, "image": "a", "pool": "cpu"} for name, title in titles.items()}
    return Config.model_validate({"hub": {"name": "lab"}, "pools": {"cpu": {}}, "courses": courses})


def test_one_course_needs_no_form() -> None:
    assert course_form(config(intro="Intro")) == ""
    assert course_form(None) == ""


def test_the_form_lists_all_courses_with_the_default_selected() -> None:
    form = course_form(config(intro="Intro", stats="Statistics"))
    assert '<option value="intro" selected>Intro</option>' in form
    assert '<option value="stats">Statistics</option>' in form


def test_titles_cannot_inject_html() -> None:
    assert "<b>" not in course_form(config(intro="<b>", stats=""))


def test_the_forms_data_becomes_options() -> None:
    assert options_from_form({"course": ["stats"], "other": ["x"]}) == {"course": "stats"}
    assert options_from_form({}) == {}


def test_no_choice_is_the_default_course() -> None:
    assert chosen_course(config(intro="", stats=""), None) == "intro"
    assert chosen_course(config(intro="", stats=""), "stats") == "stats"


@pytest.mark.parametrize("chosen", ["nope", 5, ["intro"], {"a": 1}])
def test_what_is_no_course_is_refused_with_the_courses_there_are(chosen: object) -> None:
    with pytest.raises(ConfigFailure, match="there are: intro, stats"):
        chosen_course(config(intro="", stats=""), chosen)
