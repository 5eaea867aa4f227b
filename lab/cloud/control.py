"""The control port: what drills do to instances, and what they ask about them. For people: ``GET /``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.cloud.asg import commands, instances
from lab.cloud.asg.model import Activity, Instance, LifecycleAction
from lab.cloud.asg.world import iso
from lab.cloud.errors import AwsError
from lab.cloud.imds import Fault, FaultMode, Faults
from lab.cloud.runtime import Runtime

HELP = """swarmhub's local cloud, control port

GET  /instances                          every instance: state, lifecycle state, pool, address
GET  /activities                         scaling activities, newest first
GET  /hooks                              lifecycle actions, oldest first: open and ended, by what
GET  /health                             200 when the cloud is ready
POST /instances/{id}/spot-interruption   {"in_seconds": 120}  notice now, hard stop then
POST /instances/{id}/rebalance           rebalance recommendation
POST /instances/{id}/terminate           {"decrement": false}  by the Auto Scaling group, with hooks
POST /instances/{id}/kill                gone at once, no notice
POST /instances/{id}/partition           {"seconds": 30}  network cut, metadata service still there
POST /instances/{id}/metadata-fault      {"mode": "401|404|429|500|hang|garbage", "seconds": 30}
"""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(_Body):
    """No fields."""


class SpotInterruption(_Body):
    in_seconds: float = Field(120, ge=0, le=3600, description="seconds from the notice to the hard stop")


class Terminate(_Body):
    decrement: bool = Field(False, description="also lower the group's desired capacity by one")


class Partition(_Body):
    seconds: float = Field(30, gt=0, le=3600)


class MetadataFault(_Body):
    mode: FaultMode
    seconds: float = Field(30, gt=0, le=3600)


B = TypeVar("B", bound=_Body)


@dataclass
class Health:
    """Whether the cloud is ready, and why not."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = "starting"


class Control:
    """Handlers of the control port."""

    def __init__(self, runtime: Runtime, faults: Faults, health: Health) -> None:
        self._runtime = runtime
        self._faults = faults
        self._health = health

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_errors_as_json])
        app.router.add_get("/", self._help)
        app.router.add_get("/health", self._get_health)
        app.router.add_get("/instances", self._get_instances)
        app.router.add_get("/activities", self._get_activities)
        app.router.add_get("/hooks", self._get_hooks)
        posts = {
            "spot-interruption": self._interrupt,
            "rebalance": self._rebalance,
            "terminate": self._terminate,
            "kill": self._kill,
            "partition": self._partition,
            "metadata-fault": self._metadata_fault,
        }
        for name, handler in posts.items():
            app.router.add_post(f"/instances/{{id}}/{name}", handler)
        return app

    async def _help(self, _request: web.Request) -> web.Response:
        return web.Response(text=HELP)

    async def _get_health(self, _request: web.Request) -> web.Response:
        if self._health.ready.is_set():
            return web.json_response({"ready": True})
        return web.json_response({"ready": False, "reason": self._health.reason}, status=503)

    async def _get_instances(self, _request: web.Request) -> web.Response:
        every = sorted(self._runtime.world.instances.values(), key=_listing_order)
        return web.json_response([_instance(instance) for instance in every])

    async def _get_activities(self, _request: web.Request) -> web.Response:
        return web.json_response([_activity(a) for a in reversed(self._runtime.world.activities)])

    async def _get_hooks(self, _request: web.Request) -> web.Response:
        return web.json_response([_action(action) for action in self._runtime.world.actions])

    async def _interrupt(self, request: web.Request) -> web.Response:
        instance_id, body = await self._read(request, SpotInterruption)
        self._runtime.change(
            lambda world, now: instances.notice_spot(world, instance_id, body.in_seconds, now)
        )
        return self._shown(instance_id)

    async def _rebalance(self, request: web.Request) -> web.Response:
        instance_id, _ = await self._read(request, Nothing)
        self._runtime.change(lambda world, now: instances.recommend_rebalance(world, instance_id, now))
        return self._shown(instance_id)

    async def _terminate(self, request: web.Request) -> web.Response:
        instance_id, body = await self._read(request, Terminate)
        self._runtime.apply(
            lambda world, now: commands.terminate_member(world, instance_id, now, decrement=body.decrement)
        )
        return self._shown(instance_id)

    async def _kill(self, request: web.Request) -> web.Response:
        instance_id, _ = await self._read(request, Nothing)
        self._runtime.change(lambda world, now: instances.kill(world, instance_id, now))
        return self._shown(instance_id)

    async def _partition(self, request: web.Request) -> web.Response:
        instance_id, body = await self._read(request, Partition)
        instance = self._runtime.world.instances[instance_id]
        instances.refuse_static(instance, "be partitioned from here")
        instances.refuse_unless_running(instance)
        await self._runtime.launcher.partition(instance_id, body.seconds)
        return self._shown(instance_id)

    async def _metadata_fault(self, request: web.Request) -> web.Response:
        instance_id, body = await self._read(request, MetadataFault)
        until = self._runtime.clock() + body.seconds
        self._faults.by_instance[instance_id] = Fault(mode=body.mode, until=until)
        return self._shown(instance_id)

    async def _read(self, request: web.Request, model: type[B]) -> tuple[str, B]:
        """The known instance's id and the checked body; an empty body means the defaults."""
        instance_id = request.match_info["id"]
        world = self._runtime.world
        if instance_id not in world.instances:
            known = ", ".join(sorted(world.instances)) or "none"
            raise _refusal(404, f"no instance {instance_id}; known: {known}")
        text = await request.text()
        try:
            return instance_id, model.model_validate_json(text or "{}")
        except ValidationError as error:
            raise _refusal(400, _explain(error, model)) from None

    def _shown(self, instance_id: str) -> web.Response:
        return web.json_response(_instance(self._runtime.world.instances[instance_id]))


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except AwsError as error:
        return web.json_response({"error": error.message, "code": error.code}, status=409)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        if error.content_type == "application/json":
            raise
        text = f"no such call: {request.method} {request.path}; GET / lists the calls"
        return web.json_response({"error": text}, status=error.status)


def _refusal(status: int, reason: str) -> web.HTTPException:
    kind = web.HTTPNotFound if status == web.HTTPNotFound.status_code else web.HTTPBadRequest
    return kind(text=json.dumps({"error": reason}), content_type="application/json")


def _explain(error: ValidationError, model: type[_Body]) -> str:
    """Each problem with its field, and what the body may hold."""
    problems = [
        f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['msg']}" for item in error.errors()
    ]
    fields = ", ".join(
        f"{name} ({_allowed(schema, model)})"
        for name, schema in model.model_json_schema().get("properties", {}).items()
    )
    return f"{'; '.join(problems)}. Allowed fields: {fields or 'none'}"


def _allowed(schema: dict[str, Any], model: type[_Body]) -> str:
    if "$ref" in schema:
        schema = model.model_json_schema()["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "enum" in schema:
        return " | ".join(schema["enum"])
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    return schema["type"] if low is None else f"{schema['type']} from {low:g} to {schema['maximum']:g}"


def _listing_order(instance: Instance) -> tuple[bool, bool, float]:
    """The pool's live instances first, then compose's own, then the dead."""
    return instance.state.is_final, instance.static, instance.launched


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "instance_id": instance.instance_id,
        "container": instance.container,
        "state": instance.state.value,
        "lifecycle_state": instance.member.state.value if instance.member else None,
        "pool": instance.pool,
        "private_ip": instance.private_ip or None,
        "launched": iso(instance.launched),
        "spot_deadline": iso(instance.spot_deadline) if instance.spot_deadline is not None else None,
        "reason": instance.reason or None,
    }


def _activity(activity: Activity) -> dict[str, Any]:
    return {
        "activity_id": activity.activity_id,
        "group": activity.group,
        "instance_id": activity.instance_id,
        "description": activity.description,
        "cause": activity.cause,
        "status": activity.status.value,
        "message": activity.message or None,
        "started": iso(activity.started),
        "ended": iso(activity.ended) if activity.ended is not None else None,
    }


def _action(action: LifecycleAction) -> dict[str, Any]:
    return {
        "instance_id": action.instance_id,
        "hook": action.hook,
        "transition": action.transition.value,
        "started": iso(action.started),
        "ended": iso(action.ended) if action.ended is not None else None,
        "ended_by": action.ended_by.value if action.ended_by else None,
        "result": action.result.value if action.result else None,
        "seconds": round(action.ended - action.started, 3) if action.ended is not None else None,
        "heartbeat_deadline": iso(action.heartbeat_deadline),
    }
