"""Shared folders and extra mounts: who sees what, where it comes from, and the tricks that are refused."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmhub.spawner.folders import (
    FolderError,
    FolderMount,
    Kind,
    check_targets,
    ensure_folder,
    ensure_mount,
    ensure_mountpoint,
    extra_mounts,
    folder_mounts,
    path_fields,
    render_path,
)
from swarmhub.spawner.names import home_slug

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give directories away")
HOME = "/home/jovyan"
FIELDS = path_fields("ana", course="intro")
GID = 30001 if os.geteuid() == 0 else os.getegid()


@dataclass(frozen=True)
class Folder:
    path: str = "courses/{course}/data"
    target: str = "/home/jovyan/data"
    gid: int = GID
    write: tuple[str, ...] = ("teachers",)
    read: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extra:
    source: str = "/srv/lab/extra/{user}"
    target: str = "/mnt/extra"
    read_only: bool = True


def shared(*folders: Folder, groups: tuple[str, ...] = ()) -> tuple[FolderMount, ...]:
    return folder_mounts(folders, root="/srv/lab", fields=FIELDS, groups=groups, home=HOME)


def extra(*mounts: Extra) -> tuple[FolderMount, ...]:
    return extra_mounts(mounts, root="/srv/lab", fields=FIELDS, home=HOME)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_student_reads_and_a_teacher_writes() -> None:
    student = FolderMount(
        "courses/intro/data", "/srv/lab/courses/intro/data", "/home/jovyan/data", True, Kind.SHARED, GID
    )
    assert shared(Folder()) == (student,)
    (teacher,) = shared(Folder(), groups=("teachers", "other"))
    assert not teacher.read_only


@pytest.mark.parametrize(
    ("groups", "sees", "writes"),
    [((), False, False), (("other",), False, False), (("ml",), True, False), (("teachers",), True, True)],
)
def test_a_folder_for_some_groups_is_seen_by_those_and_by_who_writes(
    groups: tuple[str, ...], sees: bool, writes: bool
) -> None:
    mounts = shared(Folder(read=("ml",)), groups=groups)
    assert [not mount.read_only for mount in mounts] == ([writes] if sees else [])


def test_fields_stand_for_slugs_never_for_what_was_typed() -> None:
    fields = path_fields("../../etc", "a/../b", "intro")
    assert fields["user"] == home_slug("../../etc")
    assert render_path("x/{user}/{server}", fields).count("/") == 2
    assert path_fields("ana")["server"] == "default"


@given(st.text(), st.text())
def test_no_name_leads_out_of_the_declared_folder(user: str, server: str) -> None:
    path = render_path("shared/{user}/{server}/x", path_fields(user, server))
    assert len(path.split("/")) == 4
    assert not {"", ".", ".."} & set(path.split("/"))


@given(st.text(), st.text())
def test_two_servers_of_a_user_never_share_a_server_folder(one: str, other: str) -> None:
    same = path_fields("ana", one)["server"] == path_fields("ana", other)["server"]
    assert same == (one == other)


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "A", "-a", "a" * 64, "a\n"])
def test_a_value_that_is_no_slug_is_refused(value: str) -> None:
    with pytest.raises(FolderError, match="which is no slug"):
        render_path("x/{user}", {"user": value})


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("/etc", "is absolute"),
        ("../x", r"'\.\.'"),
        ("a/../../x", r"'\.\.'"),
        ("a//b", "empty name"),
        ("", "empty name"),
        ("homes", "where the home directories are"),
        ("homes/{user}", "where the home directories are"),
        ("a/{group}", "unknown field {group}; allowed are {course}, {user}, {server}"),
        ("a/{user.__class__}", "unknown field"),
        ("a/{user[0]}", "unknown field"),
        ("a/{user!r}", "unknown field"),
        ("a/{user:>9}", "unknown field"),
        ("a/{}", "unknown field"),
        ("a/{user", "braces that do not match"),
    ],
)
def test_a_path_that_leaves_the_root_or_asks_for_more_is_refused(template: str, reason: str) -> None:
    with pytest.raises(FolderError, match=reason):
        render_path(template, FIELDS)


def test_a_folder_of_a_course_needs_a_course() -> None:
    with pytest.raises(FolderError, match=r"needs \{course\}"):
        render_path("courses/{course}", path_fields("ana"))


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/etc",
        "/etc/x",
        "/proc",
        "/sys/fs",
        "/dev/shm",
        "/run",
        "/run/secrets",
        "/home",
        HOME,
        HOME + "/",
    ],
)
def test_targets_the_server_itself_needs_are_refused(target: str) -> None:
    with pytest.raises(FolderError, match="is taken by the server itself"):
        shared(Folder(target=target))
    with pytest.raises(FolderError, match="is taken by the server itself"):
        extra(Extra(target=target))


@pytest.mark.parametrize("target", ["data", "/mnt/../etc", "/mnt//x", "/mnt/./x", "//etc", ""])
def test_targets_that_are_no_plain_absolute_path_are_refused(target: str) -> None:
    with pytest.raises(FolderError):
        shared(Folder(target=target))


@pytest.mark.parametrize("target", [HOME + "/data", "/home/other", "/mnt/{course}", "/etcetera", "/data/"])
def test_other_targets_are_fine(target: str) -> None:
    (mount,) = shared(Folder(target=target))
    assert mount.target == target.replace("{course}", "intro").rstrip("/")


def test_an_extra_mount_with_the_user_in_it_is_the_students_own() -> None:
    slug = home_slug("ana")
    own = FolderMount(f"extra/{slug}", f"/srv/lab/extra/{slug}", "/mnt/extra", True, Kind.PRIVATE)
    assert extra(Extra()) == (own,)
    (static,) = extra(Extra(source="/srv/lab/atlas", read_only=False))
    assert (static.kind, static.read_only, static.gid) == (Kind.EXISTING, False, None)


@pytest.mark.parametrize(
    "source", ["/etc", "/srv/lab", "/srv/laboratory/x", "relative", "/srv/lab/../x", "/srv/lab/"]
)
def test_an_extra_mount_from_outside_the_storage_root_is_refused(source: str) -> None:
    with pytest.raises(FolderError):
        extra(Extra(source=source))


def test_two_mounts_in_one_place_are_refused() -> None:
    check_targets((*shared(Folder()), *extra(Extra())))
    with pytest.raises(FolderError, match="courses/intro/data and b both want to be"):
        check_targets(shared(Folder(), Folder(path="b")))


@needs_root
def test_a_shared_folder_is_made_for_its_group_and_its_parents_for_root(tmp_path: Path) -> None:
    ensure_folder(tmp_path, "courses/intro/data", GID)
    folder = tmp_path / "courses" / "intro" / "data"
    assert (mode(folder), folder.stat().st_uid, folder.stat().st_gid) == (0o2770, 0, GID)
    for parent in (folder.parent, folder.parent.parent):
        assert (mode(parent), parent.stat().st_uid, parent.stat().st_gid) == (0o711, 0, 0)


@needs_root
def test_a_folder_made_by_hand_gets_the_declared_group_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    (folder / "table.csv").write_text("1,2")
    (folder / "table.csv").chmod(0o600)
    ensure_folder(tmp_path, "data", GID)
    ensure_folder(tmp_path, "data", GID)
    assert (mode(folder), folder.stat().st_gid) == (0o2770, GID)
    assert (mode(folder / "table.csv"), (folder / "table.csv").stat().st_gid) == (0o600, 0)


@pytest.mark.parametrize("linked", ["courses", "courses/intro", "courses/intro/data"])
def test_a_link_anywhere_in_a_folders_path_is_refused(tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    root = tmp_path / "root"
    (root / linked).parent.mkdir(parents=True)
    (root / linked).symlink_to(elsewhere)
    with pytest.raises(FolderError):
        ensure_folder(root, "courses/intro/data", GID)
    assert list(elsewhere.iterdir()) == []
    assert mode(elsewhere) == 0o755


@needs_root
def test_a_folder_in_a_folder_that_a_group_may_write_is_refused(tmp_path: Path) -> None:
    # Its writers could replace the inner one by a link to / before Docker mounts it.
    ensure_folder(tmp_path, "courses/intro", GID)
    with pytest.raises(FolderError, match="courses/intro: may be written by others than root"):
        ensure_folder(tmp_path, "courses/intro/data", GID)
    assert not (tmp_path / "courses" / "intro" / "data").exists()


@pytest.mark.parametrize("path", ["../x", "/etc", "a//b", ""])
def test_nothing_is_made_outside_the_root_or_the_home(tmp_path: Path, path: str) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(FolderError):
        ensure_folder(tmp_path / "root", path, GID)
    with pytest.raises(FolderError):
        ensure_mountpoint(str(tmp_path / "root"), HOME, f"{HOME}/{path}", os.geteuid(), GID)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["root"]


def test_a_file_in_a_folders_place_is_an_error_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(FolderError, match=r"/data: Not a directory"):
        ensure_folder(tmp_path, "data", GID)


@needs_root
def test_a_private_folder_is_the_students_and_is_not_taken_back(tmp_path: Path) -> None:
    mount = FolderMount("extra/ana", str(tmp_path / "extra/ana"), "/mnt/extra", False, Kind.PRIVATE)
    folder = tmp_path / "extra" / "ana"
    ensure_mount(tmp_path, mount, 20001, 100)
    assert (mode(folder), folder.stat().st_uid, folder.stat().st_gid) == (0o700, 20001, 100)
    folder.chmod(0o750)
    ensure_mount(tmp_path, mount, 20002, 100)
    assert (mode(folder), folder.stat().st_uid) == (0o750, 20001)


@needs_root
def test_a_private_folder_a_killed_hub_left_without_owner_gets_one(tmp_path: Path) -> None:
    (tmp_path / "extra" / "ana").mkdir(parents=True, mode=0o700)
    (tmp_path / "extra" / "ana").chmod(0o700)
    ensure_mount(tmp_path, FolderMount("extra/ana", "", "/mnt", False, Kind.PRIVATE), 20001, 100)
    assert (tmp_path / "extra" / "ana").stat().st_uid == 20001


def test_an_extra_mount_that_must_exist_is_neither_made_nor_changed(tmp_path: Path) -> None:
    mount = FolderMount("atlas/images", str(tmp_path / "atlas/images"), "/mnt/atlas", True, Kind.EXISTING)
    with pytest.raises(FolderError, match="atlas/images: No such file or directory"):
        ensure_mount(tmp_path, mount, 20001, 100)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "atlas" / "images").mkdir(parents=True)
    (tmp_path / "atlas" / "images").chmod(0o700)
    ensure_mount(tmp_path, mount, 20001, 100)
    assert (mode(tmp_path / "atlas" / "images"), (tmp_path / "atlas/images").stat().st_uid) == (
        0o700,
        os.geteuid(),
    )


@needs_root
def test_the_place_of_a_mount_in_the_home_is_the_students(tmp_path: Path) -> None:
    assert ensure_mountpoint(str(tmp_path), HOME, f"{HOME}/course/data", 20001, 100) is None
    for path in (tmp_path / "course", tmp_path / "course" / "data"):
        assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (20001, 100, 0o755)


@pytest.mark.parametrize("target", ["/mnt/data", "/home/jovyan2/data"])
def test_mounts_elsewhere_leave_the_home_alone(tmp_path: Path, target: str) -> None:
    assert ensure_mountpoint(str(tmp_path), HOME, target, 20001, 100) is None
    assert list(tmp_path.iterdir()) == []


@needs_root
@pytest.mark.parametrize("kind", ["file", "link", "broken link"])
def test_what_is_in_the_way_of_a_mount_is_renamed_and_kept(tmp_path: Path, kind: str) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    if kind == "file":
        (home / "data").write_text("mine")
    else:
        (home / "data").symlink_to(elsewhere if kind == "link" else "nowhere")
    moved = ensure_mountpoint(str(home), HOME, f"{HOME}/data/sub", 20001, 100)
    assert moved is not None
    assert moved.startswith("data.moved-")
    assert os.path.lexists(home / moved)
    assert kind != "file" or (home / moved).read_text() == "mine"
    assert (home / "data" / "sub").is_dir()
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_uid == 0
