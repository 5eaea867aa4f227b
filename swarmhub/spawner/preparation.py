"""What a start needs before it asks Swarm for a seat: home, folders, files, image. Each failure is typed.

All of it happens before the start's turn comes, so that a turn is only the creation itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from docker.errors import DockerException
from requests import RequestException

from swarmhub.config import HOME, Config
from swarmhub.images import ImageError, resolve_image
from swarmhub.pins import FILE_NAME, Pins
from swarmhub.registries import Credentials, registries_of
from swarmhub.spawner.docker_calls import Ask, DockerApi
from swarmhub.spawner.errors import EngineFailure, ImageFailure, MountFailure, QuotaFailure
from swarmhub.spawner.folders import (
    FolderError,
    FolderMount,
    check_targets,
    ensure_mount,
    ensure_mountpoint,
    extra_mounts,
    folder_mounts,
)
from swarmhub.spawner.homes import Home, HomeError, ensure_home
from swarmhub.spawner.identity import GROUP_TARGET, PASSWD_TARGET, group_file, passwd_file
from swarmhub.spawner.local_state import files as local_state_files
from swarmhub.spawner.profiles import ServerChoice
from swarmhub.spawner.spec import FileRef
from swarmhub.spawner.swarm_files import FileContent, SwarmFiles
from swarmhub.spawner.usage import QuotaState, UsageMeter

T = TypeVar("T")

_FILE_THREADS = 8
_IMAGE_THREADS = 4


@dataclass(frozen=True)
class Storage:
    """The shared file system as one spawner uses it."""

    root: str
    first_uid: int
    gid: int
    skeleton: str = ""
    quota: int | None = None
    """Bytes; None: unlimited."""


class Preparation:
    """Shared by all spawners of one hub; methods raise StartFailure."""

    def __init__(
        self,
        docker: Ask,
        client: Callable[[], DockerApi],
        hub: str,
        config: Config | None,
        state: Path | None,
    ) -> None:
        """``client``: for threads of our own. ``state``: folder for the pinned digests; None: memory only."""
        self._client = client
        self._files = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="homes")
        self._images = ThreadPoolExecutor(_IMAGE_THREADS, thread_name_prefix="images")
        self.swarm_files = SwarmFiles(docker, hub, time.time)
        self.credentials = Credentials(registries_of(config.registries) if config else (), _now)
        self.pins = Pins(state / FILE_NAME if state else None, _now)
        self._meters: dict[str, UsageMeter] = {}
        self._in_use: dict[str, str] = {}
        self._measuring: list[asyncio.Task[None]] = []
        self._resolving: dict[str, asyncio.Task[str]] = {}

    def close(self) -> None:
        """Take no more work."""
        for task in self._measuring:
            task.cancel()
        self._files.shutdown(wait=False, cancel_futures=True)
        self._images.shutdown(wait=False, cancel_futures=True)

    async def image(self, reference: str) -> str:
        """The image by digest; the registry is asked once per reference, by whoever comes first."""
        task = self._resolving.get(reference)
        if task is None:
            resolve = partial(self.pins.digest, reference, self._resolve)
            call = asyncio.get_running_loop().run_in_executor(self._images, resolve)
            task = self._resolving[reference] = asyncio.ensure_future(call)
            task.add_done_callback(lambda _: self._resolving.pop(reference, None))
        try:
            return await asyncio.shield(task)
        except ImageError as error:
            raise ImageFailure("The image of your course cannot be found", str(error)) from error

    def _resolve(self, reference: str) -> str:
        return resolve_image(self._client(), reference, credentials=self.credentials)

    async def home(self, storage: Storage, slug: str) -> Home:
        """The student's home, made if it is new."""
        make = partial(
            ensure_home, storage.root, slug, storage.first_uid, storage.gid, skeleton=storage.skeleton
        )
        return await self._in_thread(make, "Your home directory cannot be opened")

    async def check_quota(self, storage: Storage, slug: str) -> str:
        """A sentence to tell the student, empty if there is nothing to say. Raises QuotaFailure."""
        if not storage.quota:
            return ""
        verdict = await self.meter(storage.root).checked(slug, storage.quota)
        if verdict.state is QuotaState.FULL:
            raise QuotaFailure(verdict.message)
        return verdict.message

    def meter(self, root: str) -> UsageMeter:
        """Knows the sizes of the homes below ``root``; measures from the first call on."""
        if root not in self._meters:
            self._meters[root] = meter = UsageMeter(root, self._files, in_use=self._in_use.values)
            self._measuring.append(asyncio.get_running_loop().create_task(meter.run(), name="homes' sizes"))
        return self._meters[root]

    def use_home(self, home: Home, server: str) -> None:
        """A running server writes into the home; ``server``: any name for it."""
        self._in_use[server] = Path(home.path).name

    def leave_home(self, server: str) -> None:
        """That server has ended: its home is measured soon."""
        if slug := self._in_use.pop(server, ""):
            for meter in self._meters.values():
                meter.soon(slug)

    async def folders(
        self,
        choice: ServerChoice,
        storage: Storage,
        home: Home,
        fields: dict[str, str],
        groups: frozenset[str],
    ) -> tuple[tuple[FolderMount, ...], tuple[str, ...]]:
        """The folders of the course, each of them there, and what to tell the student about them."""

        def make() -> tuple[tuple[FolderMount, ...], tuple[str, ...]]:
            notices = []
            mounts = (
                *folder_mounts(
                    choice.folders,
                    root=storage.root,
                    fields=fields,
                    groups=groups,
                    home=HOME,
                ),
                *extra_mounts(choice.mounts, root=storage.root, fields=fields, home=HOME),
            )
            check_targets(mounts)
            for mount in mounts:
                ensure_mount(storage.root, mount, home.uid, home.gid)
                moved = ensure_mountpoint(home.path, HOME, mount.target, home.uid, home.gid)
                if moved:
                    notices.append(
                        f"A course folder takes the place of your file, which is now called {moved}."
                    )
            return mounts, tuple(notices)

        return await self._in_thread(make, "A folder of your course cannot be opened")

    async def files(self, gid: int, groups: dict[int, str]) -> tuple[FileRef, ...]:
        """The name files and settings that every server of this kind finds."""
        wanted: Iterable[FileContent] = (
            FileContent("passwd", PASSWD_TARGET, passwd_file(), is_templated=True),
            FileContent("group", GROUP_TARGET, group_file(gid, groups)),
            *(
                FileContent(Path(target).stem, target, content)
                for target, content in local_state_files().items()
            ),
        )
        try:
            return tuple([await self.swarm_files.ensure(file) for file in wanted])
        except (DockerException, RequestException) as error:
            raise EngineFailure("Docker could not keep the server's files", str(error)) from error

    async def _in_thread(self, call: Callable[[], T], sentence: str) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._files, call)
        except (HomeError, FolderError) as error:
            raise MountFailure(sentence, str(error)) from error


def _now() -> datetime:
    return datetime.now(UTC)
