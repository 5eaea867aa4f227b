"""What a server is made of: the spawner's settings, and the request built from them."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import docker
import dockerspawner
from docker.types import Mount
from docker.utils import kwargs_from_env
from jupyterhub.traitlets import Callable as CallableTrait
from traitlets import Bool, Dict, Int, List, Unicode, Union, default

from swarmhub.config import Config, CourseConfig, load_config
from swarmhub.spawner import options
from swarmhub.spawner.docker_calls import DockerApi
from swarmhub.spawner.homes import Home
from swarmhub.spawner.runtime import Runtime
from swarmhub.spawner.spec import Extras, HomeMount, ServerRequest

RUNTIME_KEY = "swarmhub_runtime"
"""Where the hub's settings keep the ``Runtime``."""
DOCKER_TIMEOUT = 10
"""Seconds one call to the engine may take; a list of 500 tasks takes 0.03 s (measured)."""


def _extra() -> Any:
    # A dict of its own for each spawner: JupyterHub's group_overrides change it in place.
    return Union(
        [Dict(), CallableTrait()],
        config=True,
        help="Merged into what swarmhub builds, in docker-py's keyword names (swarmhub.spawner.spec.merge). "
        "May be a function of the spawner, also async.",
    )


def _connect(kwargs: dict[str, Any]) -> DockerApi:
    # docker-py's own types are too loose for the protocol.
    client: Any = docker.APIClient(**kwargs)
    api: DockerApi = client
    return api


class SpawnerSettings(dockerspawner.SwarmSpawner):  # type: ignore[misc]
    """Settings of ``SwarmSpawner``; with a ``config_file``, courses say most of it."""

    config_file = Unicode(
        "",
        config=True,
        help="Path of swarmhub.yaml. Empty: no courses, pools or homes; only the other settings here.",
    )
    course = Unicode(
        "", config=True, help="Course of servers whose user chose none. Empty: the default course."
    )
    hub_name = Unicode(
        "", config=True, help="Value of the services' hub label. Default: the file's hub.name."
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
    mounts = List(Dict(), config=True, help="More mounts: keyword arguments of docker.types.Mount.")
    extra_container_spec = _extra()
    extra_resources_spec = _extra()
    extra_placement_spec = _extra()
    extra_task_spec = _extra()
    extra_endpoint_spec = _extra()
    extra_create_kwargs = _extra()

    home: Home | None = None
    """The home of the server that runs or ran last."""
    course_name = ""
    """The course of the server that runs."""
    image_digest = ""
    """The image of the server that runs."""

    @default("network_name")
    def _default_network_name(self) -> str:
        config = self._runtime.config
        return config.network.name if config else ""

    @default("storage_root")
    def _default_storage_root(self) -> str:
        config = self._runtime.config
        return config.storage.root if config else ""

    @default("first_uid")
    def _default_first_uid(self) -> int:
        config = self._runtime.config
        return config.storage.first_uid if config else 20000

    @default("home_gid")
    def _default_home_gid(self) -> int:
        config = self._runtime.config
        return config.storage.gid if config else 100

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return ["jupyterhub-singleuser"]

    @default("options_form")
    def _default_options_form(self) -> str:
        return options.course_form(self._runtime.config) or super()._default_options_form()

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return options.options_from_form

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
            kwargs = (
                {"version": "auto", "timeout": DOCKER_TIMEOUT} | tls | kwargs_from_env() | self.client_kwargs
            )
            runtime = settings[RUNTIME_KEY] = Runtime(partial(_connect, kwargs), hub, config)
        return runtime

    async def _choose(self, config: Config | None) -> CourseConfig | None:
        image = self.user_options.get("image")
        if image:
            self.image = await self.check_allowed(image)
        if config is None:
            return None
        self.course_name = options.chosen_course(config, self.user_options.get("course") or self.course)
        course = config.courses[self.course_name]
        return course.model_copy(update={"image": self.image}) if image else course

    async def _request(self, course: CourseConfig | None) -> ServerRequest:
        memory = self.mem_limit or (course and course.memory) or None
        reserved = self.mem_guarantee or (course and course.memory_reservation) or None
        cpu = self.cpu_limit or (course and course.cpu) or None
        cpu_reserved = self.cpu_guarantee or (course and course.cpu_reservation) or None
        env = self.get_env() | {"JUPYTER_IMAGE_SPEC": self.image_digest}
        for key, value in (("MEM_LIMIT", memory), ("CPU_LIMIT", cpu)):
            if value:
                env.setdefault(key, str(value))
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
            course=self.course_name,
            pool=course.pool if course else "",
            home=HomeMount(self.home.path, self.home.uid, self.home.gid) if self.home else None,
            mounts=tuple(self._volume_mounts() + self.mount_binds),
            memory=memory,
            memory_reservation=reserved,
            cpu=cpu,
            cpu_reservation=cpu_reserved,
            start_period=float(self.start_timeout),
            extras=Extras(
                container=await self._extra("extra_container_spec"),
                resources=await self._extra("extra_resources_spec"),
                placement=await self._extra("extra_placement_spec"),
                task=await self._extra("extra_task_spec"),
                endpoint=await self._extra("extra_endpoint_spec"),
                create=await self._extra("extra_create_kwargs"),
            ),
        )

    def _volume_mounts(self) -> list[Mount]:
        """``volumes``: a path is bound, a name is a volume (dockerspawner binds both, dockerspawner#536)."""
        return [
            Mount(
                target=volume["bind"],
                source=source,
                type="bind" if source.startswith("/") else "volume",
                read_only=volume["mode"] == "ro",
                driver_config=None if source.startswith("/") else self.mount_driver_config,
            )
            for source, volume in self.volume_binds.items()
        ]

    async def _extra(self, trait: str) -> dict[str, Any]:
        value = self._eval_if_callable(getattr(self, trait))
        if inspect.isawaitable(value):
            value = await value
        rendered: dict[str, Any] = self._render_templates(value)
        return rendered
