"""Steps below a root: what is a path, and which directories may be on the way."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from swarmhub.spawner.safe_paths import PathError, open_below, opened, opened_parent, parts_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give directories away")


def reach(root: Path, path: str, *, make: bool = False) -> Path:
    with opened_parent(root, parts_of(path), make=make) as parent:
        return Path(f"/proc/self/fd/{parent}").readlink()


def test_a_path_is_split_into_its_names() -> None:
    assert parts_of("courses/Lab 1/dätä.x") == ("courses", "Lab 1", "dätä.x")


@pytest.mark.parametrize(
    "path", ["", "/", "/etc", ".", "..", "a/..", "../a", "a/./b", "a//b", "a/", "a\0b", "a\nb"]
)
def test_what_is_no_plain_path_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        parts_of(path)


def test_a_name_the_file_system_cannot_hold_is_refused() -> None:
    assert parts_of("a" * 255)
    with pytest.raises(PathError, match="longer than 255 bytes"):
        parts_of("ä" * 128)


def test_the_directory_above_the_last_name_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert reach(tmp_path, "a/b/c") == tmp_path / "a" / "b"
    assert reach(tmp_path, "c") == tmp_path


def test_missing_directories_are_made_only_if_asked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reach(tmp_path, "a/b/c")
    assert reach(tmp_path, "a/b/c", make=True) == tmp_path / "a" / "b"
    assert not (tmp_path / "a" / "b" / "c").exists()


@pytest.mark.parametrize("link", ["root", "root/a", "root/a/b"])
def test_a_link_on_the_way_is_never_followed(tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere" / "a" / "b").mkdir(parents=True)
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"directory|symbolic"):
        reach(tmp_path / "root", "a/b/c", make=True)
    assert not (tmp_path / "elsewhere" / "c").exists()
    with opened(tmp_path) as directory, pytest.raises(OSError, match=r"directory|symbolic"):
        open_below(directory, tuple(f"{link}/x".split("/")[: link.count("/") + 1]))


@pytest.mark.parametrize("mode", [0o775, 0o707, 0o1777])
@pytest.mark.parametrize("open_to_others", [".", "a", "a/b"])
def test_a_directory_on_the_way_that_others_may_write_is_refused(
    tmp_path: Path, open_to_others: str, mode: int
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / open_to_others).chmod(mode)
    with pytest.raises(PathError, match="may be written by others than root") as refused:
        reach(tmp_path, "a/b/c")
    assert refused.value.path == tmp_path / open_to_others


@needs_root
def test_a_directory_on_the_way_that_belongs_to_somebody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.chown(tmp_path / "a", 20001, 0)
    with pytest.raises(PathError, match="belongs to user 20001"):
        reach(tmp_path, "a/b")


def test_no_directory_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o777)
    before = set(Path("/proc/self/fd").iterdir())
    for path in ("a/b", "missing/b", "c"):
        with suppress(PathError, FileNotFoundError):
            reach(tmp_path, path)
        with opened(tmp_path) as directory, suppress(FileNotFoundError):
            os.close(open_below(directory, parts_of(path)))
    assert len(set(Path("/proc/self/fd").iterdir())) == len(before)
