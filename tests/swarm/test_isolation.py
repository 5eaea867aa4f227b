"""What a server may do, tried from inside: nothing as root, nothing elsewhere, no more than its share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.support.local_cloud import manager, rows, status
from tests.support.students import Student

MEMORY = 2**30
"""Bytes: the limit of the local cloud's course (lab/etc/swarmhub.yaml)."""
PIDS = 512
"""Processes and threads: swarmhub's default limit."""


@pytest.fixture
def neighbours() -> Iterator[tuple[Student, Student]]:
    """Two students with running servers."""
    pair = (Student.create("student-hog"), Student.create("student-neighbour"))
    for student in pair:
        student.request_start()
    for student in pair:
        student.wait_until_ready()
    yield pair
    for student in pair:
        student.stop()


def container_spec(student: Student) -> dict[str, object]:
    [found] = rows(
        manager(
            "docker", "service", "ls", "--format", "json",
            "--filter", f"label=org.swarmhub.user={student.name}", "--filter", "label=org.swarmhub.hub=lab",
        )
    )  # fmt: skip
    template = "{{json .Spec.TaskTemplate.ContainerSpec}}"
    spec: dict[str, object] = json.loads(
        manager("docker", "service", "inspect", found["ID"], "--format", template)
    )
    return spec


def home_of(student: Student) -> str:
    mounts = container_spec(student)["Mounts"]
    assert isinstance(mounts, list)
    [source] = [m["Source"] for m in mounts if m["Type"] == "bind" and m["Target"] == "/home/jovyan"]
    return str(source)


def test_a_server_is_an_ordinary_user_with_a_name_and_no_way_to_become_root(
    neighbours: tuple[Student, Student], measured: Callable[[str], None]
) -> None:
    student, other = neighbours
    uid = str(container_spec(student)["User"]).partition(":")[0]
    home, other_home = home_of(student), home_of(other)
    manager("install", "-o", "0", "-g", "0", "-m", "4755", "/usr/bin/id", f"{home}/setuid-id")
    with student.kernel() as kernel:
        seen = kernel.run(
            "import os, getpass, subprocess\n"
            "words = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)\n"
            "def shell(command):\n"
            "    done = subprocess.run(command, shell=True, capture_output=True, text=True)\n"
            "    return (done.stdout + done.stderr).strip()\n"
            "print(os.getuid(), getpass.getuser(), shell('id -un'), words['CapEff'].strip(),"
            " words['CapBnd'].strip(), words['NoNewPrivs'].strip(), sep='|')\n"
            "print(shell('~/setuid-id -u'))\n"
            "print(shell('su -c id'))\n"
            f"print(shell('cat {other_home}/* {home}/../* 2>&1 | head -3'))\n"
            "print(os.path.exists('/var/run/docker.sock'), 'JUPYTERHUB_API_TOKEN' in "
            "open('/proc/1/environ', errors='replace').read())\n"
        )
    identity, setuid, su, elsewhere, rest = seen.strip().split("\n", 4)
    measured(f"uid|name|id -un|CapEff|CapBnd|NoNewPrivs: {identity}")
    nothing = "0" * 16
    assert identity == f"{uid}|jovyan|jovyan|{nothing}|{nothing}|1"
    assert int(uid) >= 20000
    assert setuid == uid, "a setuid file gave another user's rights"
    assert "uid=0" not in su
    assert "No such file" in elsewhere or "Permission denied" in elsewhere
    assert rest.endswith("False False"), rest
    environment = container_spec(student)["Env"]
    assert isinstance(environment, list)
    tokens = [line for line in environment if "TOKEN" in line.partition("=")[0]]
    assert tokens == [], "the token stands in the service's environment"


def test_a_hog_dies_of_its_limits_and_its_neighbour_does_not_notice(
    neighbours: tuple[Student, Student], measured: Callable[[str], None]
) -> None:
    hog, neighbour = neighbours
    with neighbour.kernel() as quiet, hog.kernel() as loud:
        assert quiet.run("x = 41 + 1; print(x)") == "42\n"
        forks = loud.run(
            "import subprocess\n"
            "children = []\n"
            "try:\n"
            f"    for _ in range({2 * PIDS}):\n"
            "        children.append(subprocess.Popen(['sleep', '30']))\n"
            "except OSError as error:\n"
            "    print(len(children), type(error).__name__)\n"
            "for child in children: child.kill()\n"
            "for child in children: _ = child.wait()\n",
            seconds=120,
        )
        count, error = forks.split()
        assert error == "BlockingIOError"
        assert PIDS / 2 < int(count) < PIDS
        script = (
            "import subprocess, sys\n"
            f"code = 'block = bytearray({2 * MEMORY}); block[::4096] = b\"x\" * len(block[::4096])'\n"
            "print(subprocess.run([sys.executable, '-c', code]).returncode)\n"
        )
        code = loud.run(script, seconds=120).strip()
        assert code == "-9", f"the hog ended with {code}"
        assert quiet.run("print(x)") == "42\n", "the neighbour's kernel lost its memory"
    measured(f"stopped at {count} processes; {2 * MEMORY} bytes: killed; the neighbour's kernel went on")
    assert neighbour.answers()
    assert status()["members"]
