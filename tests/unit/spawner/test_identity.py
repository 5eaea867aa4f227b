"""Name files and variables of a server's user."""

import re

import pytest

from swarmhub.spawner.identity import HomeMount, gecos, group_file, identity_env, passwd_file

HOME = HomeMount("/srv/swarmhub/homes/ana", 20001, 100, (30001,))


def expand(template: str, env: dict[str, str]) -> str:
    """What Swarm makes of the template: only the two forms that it uses (verified on engine 26.1.5)."""
    shell = re.sub(
        r'\{\{with env "(\w+)"\}\}\{\{\.\}\}\{\{else\}\}(.*?)\{\{end\}\}',
        lambda found: env.get(found[1]) or found[2],
        template,
    )
    return re.sub(r'\{\{env "(\w+)"\}\}', lambda found: env.get(found[1], ""), shell)


def users(text: str) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split(":") for line in text.splitlines()}


def test_one_passwd_file_names_every_student_by_their_own_environment() -> None:
    for uid in (20001, 20002):
        env = identity_env(HomeMount("/h", uid, 100), "Ana Müller")
        text = expand(passwd_file(), env)
        assert "{{" not in text
        assert users(text)["jovyan"] == [
            "jovyan",
            "x",
            str(uid),
            "100",
            "Ana Müller",
            "/home/jovyan",
            "/bin/sh",
        ]


def test_the_login_shell_is_the_services_own_where_it_names_one() -> None:
    text = expand(passwd_file(), identity_env(HOME, "") | {"SHELL": "/bin/bash"})
    assert users(text)["jovyan"][-1] == "/bin/bash"


def test_system_users_stay_known() -> None:
    known = users(expand(passwd_file(), identity_env(HOME, "")))
    assert {"root", "daemon", "www-data", "nobody", "_apt"} <= known.keys()
    assert all(len(entry) == 7 for entry in known.values())
    assert len({entry[2] for entry in known.values()}) == len(known)


def test_no_name_can_add_a_line_a_field_or_a_template() -> None:
    evil = 'Ana\nroot::0:0::/:/bin/sh {{env "PATH"}}\x00\x1b\u2028'
    line = users(expand(passwd_file(), identity_env(HOME, evil)))["jovyan"]
    assert len(line) == 7
    assert line[4] == 'Ana root 0 0 / /bin/sh env "PATH"'
    assert not set("{}\n:,\\") & set(gecos(evil + "{{{,\\"))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("", ""),
        ("  Ana   Müller ", "Ana Müller"),
        ("李小龍", "李小龍"),
        ("Mu\u0308ller", "Müller"),
        ("x" * 500, "x" * 80),
        ("x" * 79 + " y", "x" * 79),
        ("\udcff", ""),
    ],
)
def test_full_names_are_kept_as_far_as_a_line_holds_them(name: str, kept: str) -> None:
    assert gecos(name) == kept


def test_the_environment_agrees_with_the_process() -> None:
    env = identity_env(HOME, "")
    assert (env["HOME"], env["USER"], env["LOGNAME"]) == ("/home/jovyan", "jovyan", "jovyan")
    # docker-stacks' start script leaves everything alone when these are the process's own.
    assert (env["NB_USER"], env["NB_UID"], env["NB_GID"]) == ("jovyan", "20001", "100")


def test_course_groups_are_named_and_list_the_student() -> None:
    known = users(group_file(20001, {30001: "Course Däta", 30002: "physics"}))
    assert known["course-data"] == ["course-data", "x", "30001", "jovyan"]
    assert known["physics"] == ["physics", "x", "30002", "jovyan"]
    assert known["jovyan"] == ["jovyan", "x", "20001", ""]


def test_a_system_group_keeps_its_name_and_gains_the_student() -> None:
    known = users(group_file(100, {44: "gpu users"}))
    assert known["video"] == ["video", "x", "44", "jovyan"]
    assert known["users"] == ["users", "x", "100", ""]
    assert "jovyan" not in known


@pytest.mark.parametrize("name", ["", "root", "1234", "!!!", "李"])
def test_a_group_whose_name_is_taken_or_not_possible_is_called_by_its_number(name: str) -> None:
    assert users(group_file(100, {30001: name}))["group30001"][2] == "30001"


def test_two_groups_of_one_name_stay_two() -> None:
    known = users(group_file(100, {30001: "data", 30002: "Data"}))
    assert (known["data"][2], known["group30002"][2]) == ("30001", "30002")


@pytest.mark.parametrize("name", ["x" * 99, "-x:y\nz::0:", "_9data"])
def test_group_names_are_valid_whatever_they_were(name: str) -> None:
    lines = group_file(100, {30001: name}).splitlines()
    entry = next(line for line in lines if ":30001:" in line)
    assert re.fullmatch(r"[a-z][a-z0-9_-]{0,31}:x:30001:jovyan", entry)
    assert all(line.count(":") == 3 for line in lines)


def test_the_order_of_groups_does_not_change_the_file() -> None:
    groups = {1: "b", 30001: "data", 30002: "Data"}
    assert group_file(100, groups) == group_file(100, dict(reversed(groups.items())))
