"""Courses with choices in swarmhub.yaml, and what is wrong with them."""

from __future__ import annotations

import textwrap

import pytest

from swarmhub.config import Config, load_config
from tests.unit.config.conftest import Load, Problems

HEAD = """\
hub: {name: lab}
pools: {cpu: {}, gpu: {}}
folders:
  data: {path: "courses/{course}", target: /mnt/data, gid: 30001}
courses:
  intro:
    pool: cpu
"""
LINES = HEAD.count("\n")


def course(text: str) -> str:
    return HEAD + textwrap.indent(textwrap.dedent(text).strip("\n"), "    ") + "\n"


RICH = course("""
    images:
      old: {image: "r/x:0", hidden: true}
      py313: {title: Python 3.13, image: "r/x:1"}
      py314: {image: "r/x:2", default: true, deprecated: Not yet}
      gone: {redirect: py313, message: Take this}
    sizes:
      small: {memory: 1G, cpu: 1}
      big: {memory: 8G, memory_reservation: 2G, cpu: 4, pool: gpu, resources: {gpu: 1}, default: true}
    options:
      editor:
        choices:
          lab: {default: true}
          vscode: {env: {URL: /vscode, LEVEL: 3}}
    read_only: [image, editor]
    folders: [data]
    mounts: [{source: "/srv/swarmhub/extra/{user}", target: /mnt/extra}]
    env: {TZ: UTC}
    require: {zone: a, rack: 7}
    """)


def test_a_course_with_choices_is_read(load: Load) -> None:
    intro = load(RICH).courses["intro"]
    assert list(intro.image_choices) == ["old", "py313", "py314", "gone"]
    assert intro.sizes["big"].resources == {"gpu": 1}
    assert intro.options["editor"].choices["vscode"].env == {"URL": "/vscode", "LEVEL": "3"}
    assert intro.require == {"zone": "a", "rack": "7"}
    assert intro.mounts[0].read_only


def test_the_short_forms_of_a_course_with_choices_are_those_of_the_default_ones(load: Load) -> None:
    intro = load(RICH).courses["intro"]
    assert intro.image == "r/x:2"
    assert (intro.memory, intro.memory_reservation) == (8 * 2**30, 2 * 2**30)
    assert (intro.cpu, intro.cpu_reservation) == (4, 0.1)


def test_the_default_image_is_the_first_one_offered_if_none_is_marked(load: Load) -> None:
    text = "images:\n  old: {image: x, hidden: true}\n  gone: {redirect: new}\n  new: {image: y}"
    assert load(course(text)).courses["intro"].image == "y"


def test_a_course_in_the_short_form_has_one_choice_of_each(load: Load) -> None:
    intro = load(course("image: a\nmemory: 2G\n")).courses["intro"]
    assert {name: image.image for name, image in intro.image_choices.items()} == {"default": "a"}
    assert {name: size.memory for name, size in intro.size_choices.items()} == {"default": 2 * 2**30}


def test_what_is_loaded_can_be_written_out_and_read_again(load: Load) -> None:
    config = load(RICH)
    assert Config.model_validate(config.model_dump()) == config
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_all_images_are_known_by_hub_and_by_pool(load: Load) -> None:
    config = load(RICH + "  other: {image: 'r/y:1', pool: cpu}\n")
    assert config.images() == ("r/x:0", "r/x:1", "r/x:2", "r/y:1")
    assert config.pool_images("cpu") == config.images()
    assert config.pool_images("gpu") == ("r/x:0", "r/x:1", "r/x:2")
    assert config.pool_images("none") == ()


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("image: a\nimages: {b: {image: b}}", 1, "image: is given beside 'images'; keep one of them"),
        ("image: ''", 1, "image: is required, but not given"),
        ("images: {}", 0, "image: is required, but not given"),
        ("image: a\nsizes: {s: {}}\nmemory: 1G", 3, "memory: is given beside 'sizes'; move it into each"),
        ("images:\n  a: {image: x}\n  b: {}", 3, "images.b: needs either 'image' or 'redirect'"),
        (
            "images:\n  a: {image: x}\n  b: {image: y, redirect: a}",
            3,
            "images.b: needs either 'image' or 'redirect', not both",
        ),
        (
            "images:\n  a: {image: x}\n  b: {redirect: c}",
            3,
            "images.b.redirect: unknown image 'c'; allowed here: a, b",
        ),
        (
            "images:\n  a: {image: x}\n  b: {redirect: c}\n  c: {image: x, hidden: true}",
            3,
            "images.b.redirect: leads to 'c', which is hidden; name an image that is offered",
        ),
        (
            "images:\n  a: {image: x, default: true}\n  b: {image: y, default: true}",
            3,
            "images.b.default: is a second default: 'a' is one already; keep one of them",
        ),
        (
            "images:\n  a: {image: x}\n  b: {image: y, default: true, hidden: true}",
            3,
            "images.b.default: cannot be the default: nobody can choose it",
        ),
        ("images:\n  a: {image: x, hidden: true}", 1, "images: leaves nothing to choose"),
        ("images:\n  a: {image: 'x y'}", 2, "images.a.image: is not an image"),
        ("image: a\nsizes:\n  s: {memory: much}", 3, "sizes.s.memory: is not a size"),
        ("image: a\nsizes:\n  s: {pool: gpus}", 3, "sizes.s.pool: unknown pool 'gpus'; did you mean 'gpu'?"),
        (
            "image: a\nsizes:\n  s: {memory: 128M}",
            3,
            "sizes.s.memory_reservation: reserves more than the limit memory allows",
        ),
        (
            "image: a\nsizes:\n  s: {default: true}\n  t: {default: true}",
            4,
            "sizes.t.default: is a second default: 's'",
        ),
        ("image: a\nsizes:\n  s: {resources: {gpu: 0}}", 3, "sizes.s.resources.gpu: should be greater"),
        ("image: a\nshared_memory: 2G", 2, "shared_memory: is more than the memory of size 'default'"),
        ("image: a\nfolders: [dat]", 2, "folders.0: unknown folder 'dat'; did you mean 'data'?"),
        (
            "image: a\noptions: {editor: {choices: {a: {}}}}\nread_only: [editr]",
            3,
            "read_only.0: unknown field 'editr'; did you mean 'editor'? allowed here: editor, image, size",
        ),
        ("image: a\noptions: {image: {choices: {a: {}}}}", 2, "options.image: is a name with a meaning"),
        ("image: a\noptions: {editor: {choices: {}}}", 2, "options.editor.choices: Dictionary should have"),
        (
            "image: a\noptions:\n  e:\n    choices:\n      a: {default: true}\n      b: {default: true}",
            6,
            "options.e.choices.b.default: is a second default: 'a'",
        ),
        ("image: a\nfolders: data", 2, "folders: should be a list; got 'data'"),
        ("image: a\nenv: {MY-KEY: 1}", 2, "env.MY-KEY: must match"),
        ("image: a\nenv: {KEY: yes}", 2, "env.KEY: should be a valid string; got True"),
        ("image: a\nrequire: {zone: 'a b'}", 2, "require.zone: must match"),
        ("image: a\ntoken: file", 2, "token: should be 'secret' or 'env'; got 'file'"),
        ("image: a\npids: 3", 2, "pids: should be greater than or equal to 32; got 3"),
        ("image: a\ndefault: true", 2, "default: unknown key"),
        ("image: a\nhidden: true", 2, "hidden: the default course 'intro' is hidden"),
        (
            "image: a\nmounts: [{source: /srv/other, target: /mnt/x}]",
            2,
            "mounts.0.source: is not below storage.root; choose a folder below /srv/swarmhub",
        ),
        (
            "image: a\nmounts: [{source: /srv/swarmhub, target: /mnt/x}]",
            2,
            "mounts.0.source: is not below storage.root",
        ),
        (
            "image: a\nmounts: [{source: '/srv/swarmhub/homes/{user}', target: /mnt/x}]",
            2,
            "mounts.0.source: is in 'homes', where the home directories are",
        ),
        (
            "image: a\nmounts: [{source: /srv/swarmhub/../x, target: /mnt/x}]",
            2,
            "mounts.0.source: is not an absolute path without '..'",
        ),
        ("image: a\nmounts: [{source: /srv/swarmhub/x, target: /etc}]", 2, "mounts.0.target: is taken"),
        (
            "image: a\nfolders: [data]\nmounts: [{source: /srv/swarmhub/x, target: /mnt/data/}]",
            3,
            "mounts.0.target: mount '/srv/swarmhub/x' and folder 'data' are both at /mnt/data",
        ),
        ("image: a\nfolders: [data, data]", 2, "folders.1: folder 'data' and folder 'data' are both at"),
    ],
)
def test_a_problem_is_named_with_its_line(problems: Problems, text: str, line: int, problem: str) -> None:
    (found,) = problems(course(text))
    where, _, message = found.partition(": courses.intro.")
    assert message.startswith(problem)
    # Line 0: the course itself, whose key stands on the line before the pool.
    assert int(where) == (LINES + line if line else LINES - 1)


def test_redirects_in_a_circle_are_refused_with_the_way(problems: Problems) -> None:
    text = course("images:\n  a: {image: x}\n  b: {redirect: c}\n  c: {redirect: b}")
    found = [problem.partition("redirect: ")[2] for problem in problems(text)]
    ways = ("b → c → b", "c → b → c")
    assert found == [f"leads in a circle: {way}; end it at an image" for way in ways]


def test_redirects_may_follow_each_other(load: Load) -> None:
    assert load(course("images:\n  a: {image: x}\n  b: {redirect: c}\n  c: {redirect: a}")).images() == ("x",)


def test_a_folder_cannot_get_into_the_homes_by_a_courses_name(problems: Problems) -> None:
    text = HEAD.replace("courses/{course}", "{course}").replace("intro:", "homes:")
    (problem,) = problems(text + "    image: a\n    folders: [data]\n")
    assert ": courses.homes.folders.0: folder 'data' would be in 'homes'" in problem


def test_two_folders_collide_where_a_field_makes_their_targets_equal(problems: Problems) -> None:
    more = '  more: {path: more, target: "/mnt/{course}", gid: 5}\n  data:'
    text = course("image: a\nfolders: [data, more]").replace("  data:", more).replace("intro:", "data:")
    (problem,) = problems(text)
    assert "folder 'more' and folder 'data' are both at /mnt/data" in problem


def test_hidden_default_courses_are_named_where_they_are_made_the_default(problems: Problems) -> None:
    text = course("image: a\nhidden: true") + "  other: {image: a, pool: cpu}\ndefault_course: intro\n"
    assert [p.partition(": ")[2].partition(":")[0] for p in problems(text)] == ["default_course"]


def test_the_local_clouds_file_is_good() -> None:
    assert load_config("lab/etc/swarmhub.yaml").default_course == "intro"
