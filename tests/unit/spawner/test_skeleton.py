"""The skeleton: what is copied, with which owner and mode, and what is refused."""

import os
import socket
import stat
from pathlib import Path

import pytest

from swarmhub.spawner.safe_paths import PathError, opened
from swarmhub.spawner.skeleton import copy_skeleton

UID, GID = (20001, 100) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "skeleton").mkdir(parents=True)
    return root


def copy(root: Path, skeleton: str = "skeleton") -> Path:
    home = root.parent / "home"
    home.mkdir()
    with opened(root) as root_directory, opened(home) as home_directory:
        copy_skeleton(root_directory, skeleton, home_directory, UID, GID)
    return home


def test_files_and_folders_keep_their_contents_and_permissions(root: Path) -> None:
    deep = root / "skeleton" / "week1" / "data"
    deep.mkdir(parents=True)
    (deep / "big.csv").write_bytes(b"0123456789" * 100_000)
    (deep / "big.csv").chmod(0o440)
    (root / "skeleton" / "run.sh").write_text("true")
    (root / "skeleton" / "run.sh").chmod(0o755)
    (root / "skeleton" / "week1").chmod(0o500)
    home = copy(root)
    assert (home / "week1/data/big.csv").read_bytes() == b"0123456789" * 100_000
    modes = {
        name: stat.S_IMODE((home / name).stat().st_mode) for name in ("week1", "week1/data/big.csv", "run.sh")
    }
    assert modes == {"week1": 0o500, "week1/data/big.csv": 0o440, "run.sh": 0o755}


def test_everything_belongs_to_the_student(root: Path) -> None:
    (root / "skeleton" / "folder").mkdir()
    (root / "skeleton" / "folder" / "file").write_text("")
    (root / "skeleton" / "link").symlink_to("folder/file")
    home = copy(root)
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in home.rglob("*")}
    assert owners == {(UID, GID)}
    assert len(list(home.rglob("*"))) == 3


def test_set_user_id_and_sticky_bits_are_not_copied(root: Path) -> None:
    (root / "skeleton" / "tool").write_text("")
    (root / "skeleton" / "tool").chmod(0o6755)
    (root / "skeleton" / "folder").mkdir()
    (root / "skeleton" / "folder").chmod(0o3755)
    home = copy(root)
    assert {stat.S_IMODE((home / name).stat().st_mode) for name in ("tool", "folder")} == {0o755}


@pytest.mark.parametrize("to", ["../sub/file", "file", "../other", "missing"])
def test_a_link_that_stays_inside_is_copied_as_a_link(root: Path, to: str) -> None:
    (root / "skeleton" / "sub").mkdir()
    (root / "skeleton" / "sub" / "link").symlink_to(to)
    assert (copy(root) / "sub" / "link").readlink() == Path(to)


@pytest.mark.parametrize("to", ["/etc/passwd", "../..", "../../homes/ben", "x/../../../homes"])
def test_a_link_that_leads_out_is_refused(root: Path, to: str) -> None:
    (root / "skeleton" / "sub").mkdir()
    (root / "skeleton" / "sub" / "link").symlink_to(to)
    with pytest.raises(PathError, match="skeleton/sub/link: is a link that leads out"):
        copy(root)


def test_a_linked_folder_is_not_entered(root: Path) -> None:
    (root / "skeleton" / "real").mkdir()
    (root / "skeleton" / "real" / "file").write_text("")
    (root / "skeleton" / "again").symlink_to("real")
    assert (copy(root) / "again").is_symlink()


def test_pipes_and_sockets_are_refused_without_waiting_for_them(root: Path) -> None:
    os.mkfifo(root / "skeleton" / "pipe")
    with pytest.raises(PathError, match="skeleton/pipe: is neither a file nor a folder"):
        copy(root)
    (root / "skeleton" / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "skeleton" / "socket"))
        (root.parent / "home").rmdir()
        with pytest.raises(PathError, match="skeleton/socket: is neither"):
            copy(root)


def test_a_missing_skeleton_is_an_empty_one(root: Path) -> None:
    assert list(copy(root, "absent/skeleton").iterdir()) == []


@pytest.mark.parametrize("skeleton", ["linked", "linked/skeleton"])
def test_a_skeleton_behind_a_link_is_refused(root: Path, skeleton: str) -> None:
    elsewhere = root.parent / "elsewhere"
    (elsewhere / "skeleton").mkdir(parents=True)
    (elsewhere / "skeleton" / "secret").write_text("")
    (root / "linked").symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"directory|symbolic"):
        copy(root, skeleton)


@pytest.mark.parametrize("skeleton", ["/etc", "../etc", "a/../../etc", "a//b"])
def test_a_skeleton_outside_the_root_is_refused(root: Path, skeleton: str) -> None:
    with pytest.raises(PathError):
        copy(root, skeleton)


def test_folders_without_end_are_refused(root: Path) -> None:
    (root / "skeleton" / "/".join("d" * 60)).mkdir(parents=True)
    with pytest.raises(PathError, match="nested deeper"):
        copy(root)
