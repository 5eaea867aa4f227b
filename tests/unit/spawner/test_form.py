"""The form: what it shows, what it sends, and who can use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest

from swarmhub.config import Config, SizeConfig
from swarmhub.spawner.form import limits, options_form
from swarmhub.spawner.profiles import options_from_form, resolve

G = 2**30
INTRO: dict[str, Any] = {"title": "Introduction", "pool": "cpu", "image": "r/intro:1", "memory": "2G"}
ML: dict[str, Any] = {
    "title": "Machine <b>learning</b>",
    "description": "Mondays & Tuesdays",
    "pool": "cpu",
    "images": {
        "py313": {"title": "Python 3.13", "image": "r/ml:313", "default": True},
        "py38": {"title": "Python 3.8", "image": "r/ml:38", "deprecated": "Gone in March."},
        "old": {"image": "r/ml:old", "hidden": True},
        "gone": {"redirect": "py38", "message": "You have Python 3.8 now."},
    },
    "sizes": {
        "small": {"title": "Small", "memory": "1G", "default": True},
        "gpu": {"memory": "8G", "cpu": 4, "resources": {"gpu": 1}, "allowed_groups": ["ml"]},
    },
    "options": {
        "editor": {"title": "Editor", "choices": {"lab": {"title": "JupyterLab"}, "vscode": {}}},
        "theme": {"choices": {"dark": {}, "light": {"default": True}}},
        "shell": {"choices": {"bash": {}}},
    },
    "read_only": ["theme"],
    "folders": ["data"],
}
FOLDERS = {"data": {"title": "Data", "path": "data", "target": "/mnt/data", "gid": 5, "write": ["teachers"]}}


def make(**courses: dict[str, Any]) -> Config:
    return Config.model_validate(
        {"hub": {"name": "lab"}, "pools": {"cpu": {}}, "folders": FOLDERS, "courses": courses}
    )


BOTH = make(intro=INTRO, ml=ML)


@dataclass
class Page(HTMLParser):
    """What a browser finds in a piece of HTML."""

    html: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def submitted(self) -> dict[str, list[str]]:
        """What a browser sends if nobody touches anything."""
        fields: dict[str, list[str]] = {}
        select = ""
        for tag, attributes in self.elements:
            if tag == "input" and (attributes["type"] == "hidden" or "checked" in attributes):
                fields[attributes["name"]] = [attributes["value"]]
            elif tag == "select":
                select = attributes["name"]
            elif tag == "option" and ("selected" in attributes or select not in fields):
                fields[select] = [attributes["value"]]
        return fields


def form(config: Config = BOTH, *groups: str, previous: Any = None, default_course: str = "") -> Page:
    return Page(options_form(config, frozenset(groups), frozenset(), previous, default_course))


def test_one_course_with_nothing_to_choose_needs_no_form() -> None:
    assert options_form(make(intro=INTRO)) == ""
    fixed = ML | {"read_only": ["image", "editor", "theme"]}
    assert options_form(make(ml=fixed)) == ""
    assert options_form(make(ml=fixed), frozenset({"ml"})) != ""


def test_who_may_have_no_course_gets_no_form() -> None:
    assert options_form(make(intro=INTRO | {"allowed_groups": ["x"]})) == ""


def test_only_courses_that_are_open_are_shown() -> None:
    config = make(
        intro=INTRO, ml=ML, staff=INTRO | {"allowed_groups": ["teachers"]}, past=INTRO | {"hidden": True}
    )
    values = [radio["value"] for radio in form(config).all("input")]
    assert values == ["intro", "ml"]
    assert [radio["value"] for radio in form(config, "teachers").all("input")] == ["intro", "ml", "staff"]


def test_courses_are_radio_buttons_in_a_named_group_and_each_has_a_label() -> None:
    page = form()
    radios = page.all("input")
    assert {radio["type"] for radio in radios} == {"radio"}
    assert {radio["name"] for radio in radios} == {"course"}
    assert page.all("fieldset")
    assert "Which course?" in page.text
    labelled = {label["for"] for label in page.all("label")}
    assert {element["id"] for element in [*radios, *page.all("select")]} == labelled


def test_ids_are_unique_and_descriptions_exist() -> None:
    page = form(BOTH, "ml")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {s["aria-describedby"] for s in page.all("select") if "aria-describedby" in s} <= set(ids)


def test_the_form_uses_no_script_and_nothing_from_elsewhere() -> None:
    page = form()
    assert not page.all("script")
    assert not page.all("link")
    assert "http" not in page.html


def test_an_untouched_form_starts_the_defaults() -> None:
    sent = options_from_form(form().submitted())
    choice = resolve(BOTH, sent)
    assert (sent["course"], choice.course, choice.image) == ("intro", "intro", "r/intro:1")
    ml = make(ml=ML)
    assert resolve(ml, options_from_form(form(ml).submitted())) == resolve(ml, None)


def test_what_was_chosen_last_is_chosen_again() -> None:
    last = {"course": "ml", "image": "py38", "size": "gpu", "options": {"editor": "vscode"}}
    sent = options_from_form(form(BOTH, "ml", previous=last).submitted())
    assert sent == last


def test_a_hidden_image_is_offered_to_who_used_it_last_only() -> None:
    assert "old" not in [option["value"] for option in form().all("option")]
    page = form(previous={"course": "ml", "image": "old"})
    assert options_from_form(page.submitted())["image"] == "old"


def test_a_redirected_image_is_replaced_with_its_message() -> None:
    page = form(previous={"course": "ml", "image": "gone"})
    assert options_from_form(page.submitted())["image"] == "py38"
    assert "You have Python 3.8 now." in page.text
    assert "You have Python 3.8 now." not in form().text


@pytest.mark.parametrize(
    "previous",
    [{"course": "nope"}, {"course": "ml", "image": "x"}, {"course": "ml", "size": "gpu"}, {"course": 3}, "x"],
)
def test_what_is_no_longer_possible_is_replaced_by_the_default(previous: Any) -> None:
    sent = options_from_form(form(previous=previous).submitted())
    assert resolve(BOTH, sent).image in ("r/intro:1", "r/ml:313")
    assert resolve(BOTH, sent).size_name in ("default", "small")


def test_the_operators_default_course_is_chosen_first() -> None:
    assert form(default_course="ml").submitted()["course"] == ["ml"]
    assert form(default_course="ml", previous={"course": "intro"}).submitted()["course"] == ["intro"]


def test_an_operators_default_that_is_not_offered_leaves_the_first_chosen() -> None:
    config = make(intro=INTRO, ml=ML, past=INTRO | {"hidden": True})
    assert form(config, default_course="past").submitted()["course"] == ["intro"]


def test_sizes_tell_their_limits() -> None:
    page = form(BOTH, "ml")
    assert "Small: up to 1 GB memory, 1 core" in page.text
    assert "gpu: up to 8 GB memory, 4 cores, 1 gpu" in page.text
    assert "Up to 2 gb memory" not in page.text
    assert "Up to 2 GB memory, 1 core" in page.text


def test_deprecated_images_say_what_will_happen() -> None:
    page = form()
    assert "Python 3.8 (going away)" in page.text
    assert "Python 3.8: Gone in March." in page.text


def test_read_only_fields_are_text() -> None:
    page = form()
    assert "theme:" in page.text
    assert "option:ml:theme" not in [select["name"] for select in page.all("select")]
    assert "light" in page.text
    assert "dark" not in page.text


def test_a_read_only_size_is_text() -> None:
    page = form(make(intro=INTRO, ml=ML | {"read_only": ["size"]}), "ml")
    assert "size:ml" not in [select["name"] for select in page.all("select")]
    assert "Small: up to 1 GB memory, 1 core" in page.text
    assert "gpu:" not in page.text


def test_an_option_with_one_answer_is_not_shown() -> None:
    assert "bash" not in form().html


def test_folders_say_who_may_write() -> None:
    assert "Folders: Data (read only)" in form().text
    assert "Folders: Data\n" in form(BOTH, "teachers").text + "\n"
    assert "read only" not in form(BOTH, "teachers").text


def test_texts_cannot_inject_html() -> None:
    page = form()
    assert "<b>" not in page.html
    assert "Machine <b>learning</b>" in page.text
    assert "Mondays & Tuesdays" in page.text


def test_half_a_core_is_plural() -> None:
    assert limits(SizeConfig(memory=G, cpu=0.5)) == "up to 1 GB memory, 0.5 cores"
