"""Home directories: made once, with an owner of their own, and never through a link."""

import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from swarmhub.spawner.homes import Home, HomeError, ensure_home

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give directories away")


def ensure(root: Path, slug: str = "ana") -> Home:
    return ensure_home(root, slug, 20000, 100, lock_timeout=0.1)


@needs_root
def test_a_new_home_is_private_to_its_new_owner(tmp_path: Path) -> None:
    home = ensure(tmp_path)
    assert home == Home(str(tmp_path / "homes" / "ana"), 20000, 100)
    status = Path(home.path).stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (20000, 100, 0o700)


@needs_root
def test_each_home_gets_the_next_user_id(tmp_path: Path) -> None:
    assert [ensure(tmp_path, slug).uid for slug in ("ana", "ben", "eve")] == [20000, 20001, 20002]


@needs_root
def test_an_existing_home_keeps_owner_and_contents(tmp_path: Path) -> None:
    first = ensure(tmp_path)
    (Path(first.path) / "work.ipynb").write_text("mine")
    ensure(tmp_path, "ben")
    assert ensure(tmp_path) == first
    assert (Path(first.path) / "work.ipynb").read_text() == "mine"


@needs_root
def test_a_home_made_by_hand_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "homes" / "ana").mkdir(parents=True)
    os.chown(tmp_path / "homes" / "ana", 1234, 100)
    assert ensure(tmp_path).uid == 1234


@needs_root
def test_a_user_id_is_never_given_out_again(tmp_path: Path) -> None:
    Path(ensure(tmp_path, "ana").path).rmdir()
    assert ensure(tmp_path, "ben").uid == 20001


@needs_root
@pytest.mark.parametrize("ledger", [None, b"", b"garbage"])
def test_without_a_readable_ledger_the_owners_say_what_is_taken(tmp_path: Path, ledger: bytes | None) -> None:
    (tmp_path / "homes" / "old").mkdir(parents=True)
    os.chown(tmp_path / "homes" / "old", 20041, 100)
    if ledger is not None:
        (tmp_path / "homes" / ".uids").write_bytes(ledger)
    assert ensure(tmp_path).uid == 20042


@needs_root
def test_a_home_left_unfinished_by_a_crash_is_finished(tmp_path: Path) -> None:
    (tmp_path / "homes" / ".new-ana").mkdir(parents=True)
    assert ensure(tmp_path).uid == 20000
    assert sorted(path.name for path in (tmp_path / "homes").iterdir()) == [".uids", "ana"]


@needs_root
def test_homes_made_at_the_same_time_never_share_an_owner(tmp_path: Path) -> None:
    make = partial(ensure_home, tmp_path, first_uid=20000, gid=100)
    with ThreadPoolExecutor(8) as pool:
        homes = list(pool.map(make, [f"student{number % 20}" for number in range(40)]))
    assert {home.uid for home in homes} == set(range(20000, 20020))
    assert len({(home.path, home.uid) for home in homes}) == 20


def test_a_home_of_root_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root owns directories as root")
    (tmp_path / "homes" / "ana").mkdir(parents=True)
    with pytest.raises(HomeError, match="belongs to root"):
        ensure(tmp_path)


@pytest.mark.parametrize("slug", ["", ".", "..", "../ana", "a/b", "/etc", "Ana", "a" * 64, ".uids", "-a"])
def test_what_is_no_slug_is_refused_before_anything_is_touched(tmp_path: Path, slug: str) -> None:
    with pytest.raises(HomeError, match="is not the name of a home"):
        ensure(tmp_path, slug)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("linked", ["homes", "homes/ana", "homes/.new-ana", "homes/.uids"])
def test_a_symbolic_link_is_never_followed(tmp_path: Path, linked: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "root"
    (root / linked).parent.mkdir(parents=True)
    (root / linked).symlink_to(elsewhere)
    with pytest.raises(HomeError):
        ensure(root)
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_uid == os.geteuid()


def test_a_file_in_the_homes_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "homes").mkdir()
    (tmp_path / "homes" / "ana").write_text("")
    with pytest.raises(HomeError, match="Not a directory"):
        ensure(tmp_path)


def test_a_missing_file_system_is_an_error_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="absent/homes/ana: No such file or directory"):
        ensure(tmp_path / "absent")


def test_a_lock_held_by_another_is_waited_for_only_so_long(tmp_path: Path) -> None:
    (tmp_path / "homes").mkdir()
    with (tmp_path / "homes" / ".uids").open("w") as ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)
        with pytest.raises(HomeError, match=r"another process held the lock for 0\.1 s"):
            ensure(tmp_path)
