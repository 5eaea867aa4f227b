from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from swarmhub_agent import fitness
from swarmhub_agent.engine import Engine, LocalNodeState
from swarmhub_agent.fitness import (
    FitnessChecks,
    SharedStorage,
    check_clock,
    check_disk,
    is_mounted,
    write_probe,
)
from swarmhub_agent.images import Images
from swarmhub_agent.protocol import Check

from tests.unit.agent.conftest import Clock
from tests.unit.agent.fakes import INSTANCE, FakeEngine

MOUNTINFO = """\
22 1 0:21 / / rw,relatime shared:1 - overlay overlay rw
40 22 0:37 / /srv/swarmhub rw,relatime shared:9 - nfs4 fs-1.efs:/ rw,vers=4.1
41 22 0:38 / /srv/with\\040space rw - tmpfs tmpfs rw
"""


def mounted(path: Path) -> Callable[[], str]:
    return lambda: f"40 22 0:37 / {path} rw - nfs4 fs:/ rw\n"


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def test_a_mount_point_is_found_in_the_kernels_table() -> None:
    assert is_mounted(Path("/srv/swarmhub"), MOUNTINFO)
    assert is_mounted(Path("/srv/with space"), MOUNTINFO)
    assert not is_mounted(Path("/srv"), MOUNTINFO)
    assert not is_mounted(Path("/srv/swarmhub/homes"), MOUNTINFO)
    assert not is_mounted(Path("/srv/swarmhub"), "")


def test_the_kernels_own_table_is_understood() -> None:
    table = fitness.MOUNTINFO.read_text()
    assert is_mounted(Path("/proc"), table)
    assert not is_mounted(Path("/proc/self"), table)


def test_the_probe_writes_and_leaves_nothing(tmp_path: Path) -> None:
    write_probe(tmp_path / "probe", INSTANCE)
    write_probe(tmp_path / "probe", INSTANCE)
    assert list((tmp_path / "probe").iterdir()) == []


async def test_a_writable_mount_is_fit(tmp_path: Path) -> None:
    check = await SharedStorage(tmp_path, INSTANCE, mountinfo=mounted(tmp_path)).check()
    assert check == Check(name="shared-storage", ok=True, detail=f"{tmp_path} is mounted and writable.")
    assert files_in(tmp_path) == [tmp_path / ".swarmhub-probe"]


async def test_a_directory_that_is_no_mount_point_is_not_fit_and_not_written(tmp_path: Path) -> None:
    check = await SharedStorage(tmp_path, INSTANCE, mountinfo=lambda: MOUNTINFO).check()
    assert (check.ok, check.detail) == (False, f"Nothing is mounted at {tmp_path}.")
    assert files_in(tmp_path) == []


async def test_a_mount_that_cannot_be_written_is_not_fit_until_it_can(tmp_path: Path) -> None:
    storage = SharedStorage(tmp_path, INSTANCE, mountinfo=mounted(tmp_path))
    (tmp_path / ".swarmhub-probe").write_text("in the way")
    check = await storage.check()
    assert not check.ok
    assert "cannot be written" in check.detail
    (tmp_path / ".swarmhub-probe").unlink()
    assert (await storage.check()).ok


async def test_a_mount_that_hangs_is_reported_without_piling_up_threads(tmp_path: Path, clock: Clock) -> None:
    server_answers = threading.Event()
    writes = 0

    def write(directory: Path, name: str) -> None:
        nonlocal writes
        writes += 1
        server_answers.wait(5)

    storage = SharedStorage(
        tmp_path, INSTANCE, limit_s=0.02, mountinfo=mounted(tmp_path), write=write, clock=clock
    )
    check = await storage.check()
    assert not check.ok
    clock.time = 42
    check = await storage.check()
    assert check.detail == f"Writing to {tmp_path} hangs since 42 s."
    assert writes == 1
    server_answers.set()
    async with asyncio.timeout(5):
        while not (await storage.check()).ok:
            pass


@pytest.mark.parametrize(("free", "ok"), [(5, True), (4, False), (0, False), (100, True)])
def test_the_disk_needs_its_share_free(free: int, ok: bool) -> None:
    check = check_disk(Path("/var/lib/docker"), free, 100, 5.0)
    assert check.ok is ok
    assert f"{free}.0 %" in check.detail


def test_a_disk_of_no_size_is_not_fit() -> None:
    assert not check_disk(Path("/"), 0, 0, 5.0).ok


@pytest.mark.parametrize(
    ("skew", "ok"), [(0.0, True), (5.0, True), (-5.0, True), (5.1, False), (-5.1, False)]
)
def test_the_clock_may_differ_by_the_allowed_seconds(skew: float, ok: bool) -> None:
    assert check_clock(skew, 5.0).ok is ok


def test_the_clocks_check_says_in_which_direction() -> None:
    assert "7.0 s ahead of the controller's" in check_clock(7.0, 5.0).detail
    assert "7.0 s behind the controller's" in check_clock(-7.0, 5.0).detail
    assert check_clock(None, 5.0).ok


@pytest.fixture
def checks(engine: Engine, tmp_path: Path) -> FitnessChecks:
    images = Images(engine, lambda: None)
    images.require(())
    return FitnessChecks(
        engine,
        images,
        SharedStorage(tmp_path, INSTANCE, mountinfo=mounted(tmp_path)),
        instance_id=INSTANCE,
        min_disk_free_percent=0,
        max_clock_skew_s=5,
    )


async def test_a_healthy_node_passes_every_check_with_a_sentence(
    checks: FitnessChecks, engine_service: FakeEngine
) -> None:
    engine_service.state = "active"
    result = await checks.run(0.3)
    assert [check.name for check in result.checks] == ["engine", "shared-storage", "images", "disk", "clock"]
    assert all(check.ok and check.detail.endswith(".") for check in result.checks)
    assert result.info is not None
    assert result.info.state is LocalNodeState.ACTIVE


async def test_an_engine_that_hangs_fails_its_checks_within_the_limit(
    checks: FitnessChecks, engine_service: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitness, "LIMIT_S", 0.05)
    engine_service.hang.clear()
    result = await checks.run(None)
    assert result.info is None
    assert result.verdicts == {
        "engine": False,
        "shared-storage": True,
        "images": False,
        "disk": False,
        "clock": True,
    }


@pytest.mark.parametrize("labels", [[], ["org.swarmhub.instance=i-another"]])
async def test_an_engine_without_this_instances_label_is_not_fit(
    checks: FitnessChecks, engine_service: FakeEngine, labels: list[str]
) -> None:
    engine_service.labels = labels
    check = (await checks.run(None)).checks[0]
    assert not check.ok
    assert "swarmhub-engine-config.service" in check.detail


async def test_a_docker_root_that_is_not_there_fails_the_disk_check(
    checks: FitnessChecks, engine_service: FakeEngine
) -> None:
    engine_service.root = Path("/nonexistent/docker")
    result = await checks.run(None)
    assert not result.verdicts["disk"]
