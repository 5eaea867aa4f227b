"""What a server is made of: the spawner's settings, and the request built from them."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import docker
import dockerspawner
from docker.types import Mount
from docker.utils import kwargs_from_env
from jupyterhub.traitlets import Callable as CallableTrait
from traitlets import Bool, Dict, Enum, Float, Int, List, Unicode, Union, default

from swarmhub.config import Config, load_config
from swarmhub.registries import authenticate
from swarmhub.spawner import form, profiles, stock
from swarmhub.spawner.docker_calls import DockerApi, connect_any
from swarmhub.spawner.errors import ConfigFailure
from swarmhub.spawner.folders import FolderMount
from swarmhub.spawner.homes import Home
from swarmhub.spawner.local_state import local_state_env
from swarmhub.spawner.placement import pick_network
from swarmhub.spawner.preparation import Storage
from swarmhub.spawner.profiles import ServerChoice
from swarmhub.spawner.runtime import Runtime
from swarmhub.spawner.spec import Extras, FileRef, HomeMount, ServerRequest

RUNTIME_KEY = "swarmhub_runtime"
"""Where the hub's settings keep the ``Runtime``."""
DOCKER_TIMEOUT = 10
"""Seconds one call to the engine may take; a list of 500 tasks takes 0.03 s (measured)."""
RESERVED_MEMORY = 128 * 2**20
"""Bytes kept for a server without ``mem_guarantee`` and course: Swarm would put any number on one machine."""
RESERVED_CPU = 0.01
"""Cores kept likewise; students' servers mostly wait."""


def _extra() -> Any:
    # A dict of its own for each spawner: JupyterHub's group_overrides change it in place.
    return Union(
        [Dict(), CallableTrait()],
        config=True,
        help="Merged into what swarmhub builds, in docker-py's keyword names (swarmhub.spawner.spec.merge). "
        "May be a function of the spawner, also async.",
    )


def _connect(hosts: list[str], kwargs: dict[str, Any], runtime: dict[str, Runtime]) -> DockerApi:
    def one(host: str) -> DockerApi:
        # docker-py's own types are too loose for the protocol.
        client: Any = docker.APIClient(**kwargs | ({"base_url": host} if host else {}))
        if made := runtime.get(RUNTIME_KEY):
            authenticate(client, made.preparation.credentials)
        api: DockerApi = client
        return api

    return connect_any(hosts, one)()


class SpawnerSettings(dockerspawner.SwarmSpawner):  # type: ignore[misc]  # dockerspawner has no types
    """Settings of ``SwarmSpawner``; with a ``config_file``, courses say most of it."""

    config_file = Unicode(
        "",
        config=True,
        help="Path of swarmhub.yaml. Empty: no courses, pools or homes; only the other settings here.",
    )
    state_folder = Unicode(
        "",
        config=True,
        help="Folder for what hub and controller both remember (images.json). Empty: memory only.",
    )
    course = Unicode(
        "", config=True, help="Course of servers whose user chose none. Empty: the default course."
    )
    hub_name = Unicode(
        "", config=True, help="Value of the services' hub label. Default: the file's hub.name."
    )
    docker_hosts = List(
        Unicode(),
        config=True,
        help="Engines of the swarm's managers, as in DOCKER_HOST; the first that answers is used. "
        "Default: what DOCKER_HOST says, several separated by commas.",
    )
    storage_root = Unicode(
        config=True,
        help="Mount point of the shared file system with the homes. Default: the file's; empty: no homes.",
    )
    first_uid = Int(config=True, help="User id of the first home. Default: the file's, else 20000.")
    home_gid = Int(config=True, help="Group id of homes. Default: the file's, else 100.")
    pin_image = Bool(
        True, config=True, help="Resolve image tags to digests, once, so that task starts need no registry."
    )
    token = Enum(
        ["secret", "env"],
        "secret",
        config=True,
        help="How a server without a course gets its API token: as a secret in a file (the image needs "
        "/bin/sh), or in its environment.",
    )
    ready_timeout = Float(
        180.0,
        config=True,
        help="Seconds a server may take to answer once it has a machine. Waiting for a turn or for a machine "
        "counts towards start_timeout only.",
    )
    mounts = List(Dict(), config=True, help="More mounts: keyword arguments of docker.types.Mount.")
    modify_service_hook = CallableTrait(
        None,
        allow_none=True,
        config=True,
        help="Function (spawner, body), also async: gets the keyword arguments of docker-py's create_service "
        "last of all, and may change them or return others.",
    )
    extra_container_spec = _extra()
    extra_resources_spec = _extra()
    extra_placement_spec = _extra()
    extra_task_spec = _extra()
    extra_endpoint_spec = _extra()
    extra_create_kwargs = _extra()

    network_name: str
    """dockerspawner's trait."""
    home: Home | None = None
    """The home of the server that runs or ran last."""
    course_name = ""
    """The course of the server that runs."""
    image_digest = ""
    """The image of the server that runs."""
    last_choice: Mapping[str, Any] | None = None
    """What the user started last, as user options."""

    @property
    def _config(self) -> Config | None:
        """The hub's configuration; None also for a spawner of no user, made for its settings only."""
        return self._runtime.config if self.user else None

    @default("network_name")
    def _default_network_name(self) -> str:
        return self._config.network.name if self._config else ""

    @default("storage_root")
    def _default_storage_root(self) -> str:
        return self._config.storage.root if self._config else ""

    @default("first_uid")
    def _default_first_uid(self) -> int:
        return self._config.storage.first_uid if self._config else 20000

    @default("home_gid")
    def _default_home_gid(self) -> int:
        return self._config.storage.gid if self._config else 100

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return ["jupyterhub-singleuser"]

    @default("options_form")
    def _default_options_form(self) -> Any:
        return _course_form if self._config else super()._default_options_form()

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return _options_from_form if self._config else super()._default_options_from_form()

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        # start() reads them; without a function here JupyterHub warns that nobody does.
        return lambda _spawner, _options: None

    @property
    def _runtime(self) -> Runtime:
        """What all spawners of this hub share; made by the first one."""
        settings = self.user.settings
        runtime: Runtime | None = settings.get(RUNTIME_KEY)
        if runtime is None:
            config = load_config(Path(self.config_file)) if self.config_file else None
            hub = self.hub_name or (config.hub.name if config else "jupyterhub")
            tls = {"tls": docker.tls.TLSConfig(**self.tls_config)} if self.tls_config else {}
            environment = kwargs_from_env()
            hosts = self.docker_hosts or str(environment.pop("base_url", "")).split(",")
            kwargs = {"version": "auto", "timeout": DOCKER_TIMEOUT} | tls | environment | self.client_kwargs
            self._complain_about_settings()
            runtime = settings[RUNTIME_KEY] = Runtime(
                partial(_connect, hosts, kwargs, settings),
                hub,
                config,
                state=Path(self.state_folder) if self.state_folder else None,
            )
        return runtime

    def _complain_about_settings(self) -> None:
        """Say which of dockerspawner's settings have no effect. Raises ConfigFailure for dangerous ones."""
        try:
            for sentence in stock.unsupported(self.config, [kind.__name__ for kind in type(self).__mro__]):
                self.log.warning("%s", sentence)
        except stock.RefusedSettingsError as error:
            raise ConfigFailure("The hub's settings cannot be used", str(error)) from error

    @property
    def _groups(self) -> frozenset[str]:
        return frozenset(group.name for group in self.user.groups)

    @property
    def _roles(self) -> frozenset[str]:
        return frozenset(role.name for role in self.user.roles)

    def _storage(self) -> Storage | None:
        """The file system with the homes; None without one."""
        if not self.storage_root:
            return None
        config = self._runtime.config
        return Storage(
            self.storage_root,
            self.first_uid,
            self.home_gid,
            skeleton=config.storage.skeleton if config else "",
            quota=config.storage.quota if config else None,
        )

    async def _choose(self, user_options: Mapping[str, Any]) -> ServerChoice | None:
        """What the user wants, if they may have it; None without a configuration file. Raises ConfigFailure.

        ``user_options`` come from the user, possibly through the API, and may be anything. An ``image`` of
        ``allowed_images``, dockerspawner's way to choose one, is taken as there.
        """
        config = self._runtime.config
        image = user_options.get("image")
        is_stock = bool(image) and (config is None or bool(self.allowed_images))
        if is_stock:
            self.image = await self.check_allowed(image)
        if config is None:
            return None
        wanted = {key: value for key, value in user_options.items() if key != "image"}
        choice = self._resolve(wanted if is_stock else user_options)
        return replace(choice, image=self.image) if is_stock else choice

    def _resolve(self, wanted: object) -> ServerChoice:
        config = self._runtime.config
        if config is None:
            raise ConfigFailure("There are no courses to choose from")
        try:
            return profiles.resolve(
                config,
                wanted,
                groups=self._groups,
                roles=self._roles,
                default_course=self.course,
                previous=self.last_choice,
            )
        except profiles.ChoiceError as error:
            raise ConfigFailure(str(error)) from error

    async def _request(
        self,
        choice: ServerChoice | None,
        folders: tuple[FolderMount, ...],
        files: tuple[FileRef, ...],
    ) -> ServerRequest:
        """``has_shell`` says whether the token is to be kept as a secret."""
        memory = self.mem_limit or (choice.memory if choice else None)
        cpu = self.cpu_limit or (choice.cpu if choice else None)
        env = dict(choice.env if choice else {}) | self.get_env() | {"JUPYTER_IMAGE_SPEC": self.image_digest}
        for key, value in (("MEM_LIMIT", memory), ("CPU_LIMIT", cpu)):
            if value:
                env.setdefault(key, str(value))
        home = None
        if self.home:
            env |= local_state_env()
            groups = tuple(sorted({folder.gid for folder in folders if folder.gid is not None}))
            home = HomeMount(self.home.path, self.home.uid, self.home.gid, groups)
        return ServerRequest(
            name=self.object_name,
            hub=self._runtime.hub,
            user=self.user.name,
            server=self.name,
            image=self.image_digest,
            command=tuple(await self.get_command()),
            env=env,
            port=self.port,
            base_url=self.server.base_url if self.server else "/",
            network=self.network_name,
            course=choice.course if choice else "",
            pool=choice.pool if choice else "",
            require=choice.require if choice else {},
            prefer=choice.prefer if choice else {},
            home=home,
            full_name=self.user.name,
            folders=folders,
            mounts=tuple(self._volume_mounts() + self.mount_binds),
            files=files,
            has_shell=(choice.token if choice else self.token) == "secret",
            memory=memory,
            memory_reservation=self._reserved_memory(choice, memory),
            cpu=cpu,
            cpu_reservation=self.cpu_guarantee or (choice.cpu_reservation if choice else RESERVED_CPU),
            generic_resources=choice.resources if choice else {},
            shared_memory=choice.shared_memory if choice else None,
            pids=choice.pids if choice else None,
            open_files=choice.open_files if choice else None,
            start_period=self.ready_timeout,
            extras=Extras(
                container=await self._extra("extra_container_spec"),
                resources=await self._extra("extra_resources_spec"),
                placement=await self._extra("extra_placement_spec"),
                task=await self._extra("extra_task_spec"),
                endpoint=await self._extra("extra_endpoint_spec"),
                create=await self._extra("extra_create_kwargs"),
            ),
        )

    def _reserved_memory(self, choice: ServerChoice | None, limit: int | None) -> int:
        """Bytes."""
        reserved = self.mem_guarantee or (choice.memory_reservation if choice else RESERVED_MEMORY)
        return int(min(reserved, limit) if limit else reserved)

    def _pick_network(self) -> None:
        """The emptiest of the file's networks; a ``network_name`` set otherwise stays."""
        runtime = self._runtime
        if runtime.config is None or len(runtime.config.networks) == 1:
            return
        capacity = {network.name: network.subnet.num_addresses for network in runtime.config.networks}
        if self.network_name in capacity:
            view = runtime.watch.view
            alive = (task for tasks in view.tasks.values() for task in tasks if task.is_alive) if view else ()
            used = Counter(name for task in alive for name, _ in task.addresses)
            self.network_name = pick_network(used, capacity)

    def _volume_mounts(self) -> list[Mount]:
        """``volumes``: a path is bound, a name is a volume (dockerspawner binds both, dockerspawner#536)."""
        return [
            Mount(
                target=volume["bind"],
                source=source,
                type="bind" if source.startswith("/") else "volume",
                read_only="ro" in volume["mode"].split(","),
                driver_config=None if source.startswith("/") else self.mount_driver_config,
            )
            for source, volume in self.volume_binds.items()
        ]

    async def _modified(self, body: dict[str, Any]) -> dict[str, Any]:
        """``body`` after ``modify_service_hook``."""
        if self.modify_service_hook is None:
            return body
        changed = self.modify_service_hook(self, body)
        if inspect.isawaitable(changed):
            changed = await changed
        return body if changed is None else changed

    async def _extra(self, trait: str) -> dict[str, Any]:
        value = self._eval_if_callable(getattr(self, trait))
        if inspect.isawaitable(value):
            value = await value
        rendered: dict[str, Any] = self._render_templates(value)
        return rendered


def _course_form(spawner: SpawnerSettings) -> str:
    """The form before a start; empty (JupyterHub then shows none) if there is nothing to choose."""
    config = spawner._runtime.config
    if config is None:
        return ""
    return form.options_form(config, spawner._groups, spawner._roles, spawner.last_choice, spawner.course)


def _options_from_form(data: Mapping[str, list[str]], spawner: SpawnerSettings) -> dict[str, Any]:
    """The form's data, or a link's, as user options; refused here, so that the form says what is wrong."""
    options = profiles.options_from_form(data)
    if not spawner.allowed_images:
        spawner._resolve(options)
    return options
