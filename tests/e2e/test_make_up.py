"""A second ``make up`` changes nothing; what is wrong is said in words, and nothing is half-made."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.local_cloud import REPOSITORY, manager, nodes, run


def up(directory: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(directory / "lab/up")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def fingerprint() -> tuple[str, str, str, str]:
    """Everything ``make up`` could have changed: containers here and on the manager, nodes, the token."""
    containers = run("docker", "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}")
    inside = manager("docker", "ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}")
    joined = "\n".join(f"{n.id} {n.availability}" for n in nodes())
    return containers, inside, joined, (REPOSITORY / "var/api-token").read_text()


def test_a_second_make_up_is_quick_and_changes_nothing() -> None:
    before = fingerprint()
    begin = time.monotonic()
    again = up()
    took = time.monotonic() - begin
    assert again.returncode == 0, again.stderr
    assert "http://127.0.0.1:8000" in again.stdout
    assert took < 30, f"{took:.1f} s"
    assert fingerprint() == before


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A second checkout: as if nothing were up, so that the first start's checks run."""
    copy = tmp_path / "checkout"
    tracked = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, tracked):
        if not (REPOSITORY / name).is_file():
            continue
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target)
    return copy


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode != 0, result.stdout
    for word in words:
        assert word in result.stderr, f"{word!r} is not in: {result.stderr}"


def test_a_taken_port_is_named_with_what_to_do(elsewhere: Path) -> None:
    before = fingerprint()
    assert_refused(up(elsewhere), "port", "is taken", "Stop what listens there")
    assert fingerprint() == before


def test_too_little_disk_is_named_with_what_to_do() -> None:
    before = fingerprint()
    assert_refused(up(SWARMHUB_NEEDED_GIB="999999"), "GiB free", "Make room")
    assert fingerprint() == before


def test_without_root_and_without_an_engine_it_says_what_to_run(elsewhere: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for part in elsewhere.parents:
        if part.is_relative_to("/tmp") and part != Path("/tmp"):
            part.chmod(part.stat().st_mode | 0o055)
    (elsewhere / "var").mkdir()
    os.chown(elsewhere / "var", 65534, 65534)
    script = f"DOCKER_HOST=unix:///nonexistent/docker.sock {elsewhere}/lab/up"
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert_refused(result, "Docker Engine", "root", "sudo make up")


def test_without_docker_and_without_a_package_manager_it_says_what_is_missing(
    elsewhere: Path, tmp_path: Path
) -> None:
    """A machine with the usual commands, but no docker, dockerd or apt-get among them."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for directory in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for command in Path(directory).iterdir():
            if not command.name.startswith(("docker", "apt")) and not (commands / command.name).exists():
                (commands / command.name).symlink_to(command)
    result = up(elsewhere, PATH=str(commands), DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert_refused(result, "docker.io", "apt-get")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (
            "hub:\n  name: lab\npools: {cpu: {}}\ncourses:\n  intro:\n    image: x\n    pool: gpu\n",
            ["swarmhub.yaml:7", "pool", "cpu"],
        ),
        ("hub:\n  name: lab\n  tilte: x\n", ["swarmhub.yaml:3", "tilte", "title"]),
        ("hub:\n  name: [lab]\n", ["swarmhub.yaml:2", "name"]),
        ("hub: {name: lab\n", ["swarmhub.yaml:"]),
    ],
    ids=["unknown pool", "unknown key", "wrong type", "not yaml"],
)
def test_a_broken_configuration_names_file_line_and_key_and_changes_nothing(
    broken: str, words: list[str]
) -> None:
    before = fingerprint()
    config = REPOSITORY / "lab/etc/swarmhub.yaml"
    good = config.read_text()
    config.write_text(broken)
    try:
        result = up()
    finally:
        config.write_text(good)
    assert_refused(result, "lab/etc/swarmhub.yaml", "nothing was changed", *words)
    assert fingerprint() == before


def test_a_listener_is_what_makes_a_port_taken() -> None:
    """The check itself: open port free, listening port taken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f". {REPOSITORY}/lab/host/lib.sh; . {REPOSITORY}/lab/host/preflight.sh; port_taken {port}"
        assert subprocess.run(["bash", "-c", script], check=False).returncode == 0
    assert subprocess.run(["bash", "-c", script], check=False).returncode != 0
