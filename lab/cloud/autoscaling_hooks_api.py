"""The Auto Scaling API's actions on lifecycle hooks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from lab.cloud.asg import commands, hooks
from lab.cloud.asg.model import ActionResult, Group, Hook, Transition, World
from lab.cloud.aws_api import Handler, Params, drop_none
from lab.cloud.errors import validation_error

Result = tuple[World, dict[str, Any]]
E = TypeVar("E", bound=StrEnum)


def put_hook(world: World, params: Params, _now: float) -> Result:
    """Create or change: what is not given keeps its value."""
    name, hook_name = params["AutoScalingGroupName"], params["LifecycleHookName"]
    group = commands.find_group(world, name)
    old = next((hook for hook in group.hooks if hook.name == hook_name), None)
    if old is None and not params.get("LifecycleTransition"):
        raise validation_error(f"LifecycleTransition is required to create the hook {hook_name}")
    base = old or Hook(name=hook_name, transition=Transition.LAUNCHING)
    hook = Hook(
        name=hook_name,
        transition=_member_of(
            Transition, params.get("LifecycleTransition", base.transition), "LifecycleTransition"
        ),
        heartbeat_timeout=params.get("HeartbeatTimeout", base.heartbeat_timeout),
        default_result=_member_of(
            ActionResult, params.get("DefaultResult", base.default_result), "DefaultResult"
        ),
        notification_metadata=params.get("NotificationMetadata", base.notification_metadata),
        notification_target=params.get("NotificationTargetARN", base.notification_target),
        role=params.get("RoleARN", base.role),
    )
    return commands.put_hook(world, name, hook), {}


def describe_hooks(world: World, params: Params, _now: float) -> Result:
    group = commands.find_group(world, params["AutoScalingGroupName"])
    names = params.get("LifecycleHookNames")
    return world, {
        "LifecycleHooks": [_hook(group, hook) for hook in group.hooks if not names or hook.name in names]
    }


def delete_hook(world: World, params: Params, now: float) -> Result:
    name, hook_name = params["AutoScalingGroupName"], params["LifecycleHookName"]
    return commands.delete_hook(world, name, hook_name, now), {}


def complete(world: World, params: Params, now: float) -> Result:
    world = hooks.complete(
        world,
        group=params["AutoScalingGroupName"],
        hook=params["LifecycleHookName"],
        result=_member_of(ActionResult, params["LifecycleActionResult"], "LifecycleActionResult"),
        now=now,
        instance_id=params.get("InstanceId"),
        token=params.get("LifecycleActionToken"),
    )
    return world, {}


def heartbeat(world: World, params: Params, now: float) -> Result:
    world = hooks.heartbeat(
        world,
        group=params["AutoScalingGroupName"],
        hook=params["LifecycleHookName"],
        now=now,
        instance_id=params.get("InstanceId"),
        token=params.get("LifecycleActionToken"),
    )
    return world, {}


HOOK_ACTIONS: Mapping[str, Handler] = {
    "PutLifecycleHook": put_hook,
    "DescribeLifecycleHooks": describe_hooks,
    "DeleteLifecycleHook": delete_hook,
    "CompleteLifecycleAction": complete,
    "RecordLifecycleActionHeartbeat": heartbeat,
}


def _hook(group: Group, hook: Hook) -> dict[str, Any]:
    return drop_none(
        AutoScalingGroupName=group.name,
        LifecycleHookName=hook.name,
        LifecycleTransition=hook.transition.value,
        HeartbeatTimeout=hook.heartbeat_timeout,
        GlobalTimeout=hook.global_timeout,
        DefaultResult=hook.default_result.value,
        NotificationMetadata=hook.notification_metadata,
        NotificationTargetARN=hook.notification_target,
        RoleARN=hook.role,
    )


def _member_of(enum: type[E], value: str, field: str) -> E:
    try:
        return enum(value)
    except ValueError:
        allowed = ", ".join(member.value for member in enum)
        raise validation_error(f"{field} {value!r} is not one of {allowed}") from None
