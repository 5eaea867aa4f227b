"""Home directories: made once, with an owner of their own, and never through a link."""

import fcntl
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from swarmhub.spawner import homes
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


def leftovers(root: Path) -> list[str]:
    return [path.name for path in (root / "homes" / ".new").iterdir()]


@needs_root
def test_what_a_killed_hub_left_unfinished_goes_after_an_hour(tmp_path: Path) -> None:
    new = tmp_path / "homes" / ".new"
    for name, age in (("abandoned", 2 * 3600), ("being-made", 60)):
        (new / name / "sub").mkdir(parents=True)
        then = time.time() - age
        os.utime(new / name, (then, then))
    ensure(tmp_path)
    assert leftovers(tmp_path) == ["being-made"]
    assert sorted(path.name for path in (tmp_path / "homes").iterdir()) == [".new", ".uids", "ana"]


@needs_root
def test_homes_made_at_the_same_time_never_share_an_owner(tmp_path: Path) -> None:
    make = partial(ensure_home, tmp_path, first_uid=20000, gid=100)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, [f"student{number % 20}" for number in range(40)]))
    assert len({home.path for home in made}) == len({home.uid for home in made}) == 20
    assert all(Path(home.path).stat().st_uid == home.uid for home in made)
    assert leftovers(tmp_path) == []


@needs_root
def test_whoever_makes_a_home_second_gets_the_first_ones_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "skeleton").mkdir()
    faster: list[Home] = []

    def overtaken(*_: object) -> None:
        monkeypatch.setattr(homes, "copy_skeleton", lambda *_: None)
        faster.append(ensure(tmp_path))

    monkeypatch.setattr(homes, "copy_skeleton", overtaken)
    assert ensure_home(tmp_path, "ana", 20000, 100, skeleton="skeleton") == faster[0]
    assert leftovers(tmp_path) == []


@needs_root
def test_a_new_home_starts_with_the_skeleton_and_an_old_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "skeleton").mkdir()
    (tmp_path / "skeleton" / "welcome.ipynb").write_text("{}")
    home = ensure_home(tmp_path, "ana", 20000, 100, skeleton="skeleton")
    welcome = Path(home.path) / "welcome.ipynb"
    assert (welcome.read_text(), welcome.stat().st_uid, welcome.stat().st_gid) == ("{}", home.uid, 100)
    welcome.unlink()
    ensure_home(tmp_path, "ana", 20000, 100, skeleton="skeleton")
    assert not welcome.exists()


@needs_root
def test_a_home_whose_skeleton_is_refused_does_not_appear_half_made(tmp_path: Path) -> None:
    (tmp_path / "skeleton").mkdir()
    (tmp_path / "skeleton" / "a").write_text("fine")
    (tmp_path / "skeleton" / "out").symlink_to("/etc/passwd")
    with pytest.raises(HomeError, match="skeleton/out: is a link that leads out"):
        ensure_home(tmp_path, "ana", 20000, 100, skeleton="skeleton")
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "homes" / "ana").exists()


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


@pytest.mark.parametrize("linked", ["homes", "homes/ana", "homes/.new", "homes/.uids"])
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
