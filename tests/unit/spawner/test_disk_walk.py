"""Adding up a directory: as du does, in slices, and without being led astray."""

import os
import subprocess
import threading
from itertools import count
from pathlib import Path

import pytest

from swarmhub.spawner.disk_walk import DiskWalk, Usage


def measure(root: Path, name: str = "ana") -> Usage:
    walk = DiskWalk(root, name)
    assert walk.step(lambda: 0.0, 1.0)
    walk.close()
    return walk.usage(1000.0)


def du(path: Path) -> int:
    return int(subprocess.check_output(["du", "-s", "-B1", str(path)]).split()[0])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "ana"
    (home / "data" / "raw").mkdir(parents=True)
    (home / "data" / "raw" / "a.bin").write_bytes(os.urandom(300_000))
    (home / "data" / "b.bin").write_bytes(os.urandom(100_000))
    (home / "notes.ipynb").write_bytes(os.urandom(50_000))
    (home / "empty").mkdir()
    return home


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_counts_what_du_counts(home: Path) -> None:
    with (home / "sparse").open("wb") as sparse:
        sparse.truncate(10**9)
    os.link(home / "data" / "b.bin", home / "again")
    usage = measure(home.parent)
    assert usage.bytes == du(home)
    assert usage.bytes < 10**6
    assert (usage.measured_at, usage.complete) == (1000.0, True)


def test_the_biggest_are_named_with_all_that_is_in_them(home: Path) -> None:
    biggest = measure(home.parent).biggest
    assert [name for name, _ in biggest] == ["data", "notes.ipynb", "empty"]
    assert biggest[0][1] == du(home / "data")


def test_no_more_than_five_are_named(home: Path) -> None:
    for number in range(10):
        (home / f"file{number}").write_bytes(bytes(5000))
    assert len(measure(home.parent).biggest) == 5


def test_links_are_not_followed(home: Path, tmp_path: Path) -> None:
    before = measure(tmp_path).bytes
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "big").write_bytes(os.urandom(500_000))
    (home / "folder").symlink_to(elsewhere)
    (home / "file").symlink_to(elsewhere / "big")
    (home / "loop").symlink_to(".")
    assert measure(tmp_path).bytes - before < 100_000
    (tmp_path / "linked").symlink_to(home)
    with pytest.raises(OSError, match=r"directory|symbolic"):
        DiskWalk(tmp_path, "linked")


def test_a_folder_swapped_for_a_link_meanwhile_is_not_entered(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "big").write_bytes(os.urandom(500_000))
    walk = DiskWalk(tmp_path, "ana")
    # Four entries are counted, then folders are entered.
    clock = count().__next__
    assert not walk.step(clock, 3)
    (home / "empty").rmdir()
    (home / "empty").symlink_to(elsewhere)
    assert walk.step(lambda: 0, 1)
    assert walk.usage(0).bytes < 490_000


def test_another_file_system_is_not_entered(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    everything = measure(home.parent).bytes
    walk = DiskWalk(home.parent, "ana")
    walk._device += 1
    assert walk.step(lambda: 0.0, 1.0)
    assert walk.usage(0).bytes == home.stat().st_blocks * 512 < everything


def test_what_vanishes_or_cannot_be_read_meanwhile_is_forgiven(home: Path) -> None:
    walk = DiskWalk(home.parent, "ana")
    assert not walk.step(count().__next__, 3)
    (home / "empty").rmdir()
    (home / "data" / "b.bin").unlink()
    assert walk.step(lambda: 0, 1)
    assert walk.usage(0).complete


def test_a_slice_ends_in_the_middle_of_a_big_folder_and_goes_on_there(home: Path) -> None:
    for number in range(100):
        (home / "data" / f"file{number}").write_bytes(b"x")
    ticks = count()
    walk = DiskWalk(home.parent, "ana")
    steps = 1
    while not walk.step(lambda: next(ticks) % 10, 9):
        assert not walk.usage(0).complete
        steps += 1
    assert steps > 10
    assert walk.usage(0).bytes == du(home)


def test_a_walk_that_is_given_up_keeps_its_count_and_no_open_files(home: Path) -> None:
    before = open_files()
    walk = DiskWalk(home.parent, "ana")
    assert not walk.step(count().__next__, 3)
    assert open_files() > before
    walk.close()
    walk.close()
    assert open_files() == before
    usage = walk.usage(0)
    assert not usage.complete
    assert 0 < usage.bytes < du(home)
    assert not walk.step(lambda: 0, 1)


def test_giving_up_never_waits_for_a_step_under_way(home: Path) -> None:
    before = open_files()
    walk = DiskWalk(home.parent, "ana")
    inside, go_on = threading.Event(), threading.Event()

    def clock() -> int:
        inside.set()
        assert go_on.wait(5)
        return 0

    thread = threading.Thread(target=walk.step, args=(clock, 1))
    thread.start()
    assert inside.wait(5)
    walk.close()
    go_on.set()
    thread.join(5)
    assert not thread.is_alive()
    assert (walk.done, open_files()) == (False, before)


def test_folders_without_end_do_not_use_up_the_files_a_process_may_open(tmp_path: Path) -> None:
    (tmp_path / "ana" / "/".join("d" * 300)).mkdir(parents=True)
    before = open_files()
    walk = DiskWalk(tmp_path, "ana")
    most = 0
    while not walk.step(lambda: 0, 0):
        most = max(most, open_files() - before)
    assert 90 < most < 110


def test_names_are_fit_to_be_shown(tmp_path: Path) -> None:
    (tmp_path / "ana").mkdir()
    for name in (b"bell\x07\n", b"latin\xff", b"x" * 200):
        (tmp_path / "ana" / os.fsdecode(name)).write_bytes(b"x")
    names = {name for name, _ in measure(tmp_path).biggest}
    assert names == {"bell��", "latin�", "x" * 59 + "…"}
