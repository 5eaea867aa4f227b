"""Lifecycle actions: opened by the machine, ended by the API, by time or with the instance."""

from __future__ import annotations

from dataclasses import replace

from lab.cloud.asg.model import (
    ActionResult,
    EndedBy,
    EventKind,
    Group,
    Hook,
    Instance,
    LifecycleAction,
    Transition,
    World,
)
from lab.cloud.asg.world import group_arn, new_uuid, publish
from lab.cloud.errors import validation_error

KEEP_ACTIONS = 500
"""Ended actions kept for ``GET /hooks``."""
_EVENT = {
    Transition.LAUNCHING: EventKind.LAUNCH_ACTION,
    Transition.TERMINATING: EventKind.TERMINATE_ACTION,
}


def open_for(world: World, group: Group, instance: Instance, transition: Transition, now: float) -> World:
    """Open one action per hook of this transition and publish it."""
    for hook in group.hooks_for(transition):
        world, token = new_uuid(world)
        action = LifecycleAction(
            token=token,
            group=group.name,
            hook=hook.name,
            instance_id=instance.instance_id,
            transition=transition,
            started=now,
            heartbeat_deadline=now + hook.heartbeat_timeout,
            global_deadline=now + hook.global_timeout,
            default_result=hook.default_result,
            heartbeat_timeout=hook.heartbeat_timeout,
        )
        ended = tuple(a for a in world.actions if not a.is_open)[-KEEP_ACTIONS:]
        still_open = tuple(a for a in world.actions if a.is_open)
        kept = tuple(sorted((*ended, *still_open), key=lambda a: a.started))
        world = replace(world, actions=(*kept, action))
        detail = {
            "LifecycleActionToken": token,
            "AutoScalingGroupName": group.name,
            "LifecycleHookName": hook.name,
            "EC2InstanceId": instance.instance_id,
            "LifecycleTransition": transition.value,
        }
        if hook.notification_metadata is not None:
            detail["NotificationMetadata"] = hook.notification_metadata
        arn = group_arn(world, group.name)
        world = publish(world, instance, _EVENT[transition], now, resource=arn, detail=detail)
    return world


def has_open(world: World, instance_id: str) -> bool:
    return any(action.is_open and action.instance_id == instance_id for action in world.actions)


def was_abandoned(world: World, instance_id: str, transition: Transition) -> bool:
    """True when an action of this instance and transition ended with ABANDON."""
    return any(
        action.instance_id == instance_id
        and action.transition is transition
        and action.result is ActionResult.ABANDON
        for action in world.actions
    )


def expire(world: World, now: float) -> World:
    """End the actions whose heartbeat or global time is over, with their default result."""
    due = [
        action
        for action in world.actions
        if action.is_open and now >= min(action.heartbeat_deadline, action.global_deadline)
    ]
    for action in due:
        over = now >= action.global_deadline
        ended_by = EndedBy.GLOBAL_TIMEOUT if over else EndedBy.HEARTBEAT_TIMEOUT
        world = _end(world, action, ended_by, action.default_result, now)
    return world


def end_with_instance(world: World, instance_id: str, now: float) -> World:
    """End whatever is open for an instance that is no more or is on another way now."""
    for action in world.actions:
        if action.is_open and action.instance_id == instance_id:
            world = _end(world, action, EndedBy.INSTANCE_GONE, ActionResult.ABANDON, now)
    return world


def end_with_hook(world: World, group: str, hook: Hook, ended_by: EndedBy, now: float) -> World:
    """End what waits on a hook that is deleted: ABANDON for launches, CONTINUE for terminations."""
    launching = hook.transition is Transition.LAUNCHING
    result = ActionResult.ABANDON if launching else ActionResult.CONTINUE
    for action in world.actions:
        if action.is_open and (action.group, action.hook) == (group, hook.name):
            world = _end(world, action, ended_by, result, now)
    return world


def complete(
    world: World,
    *,
    group: str,
    hook: str,
    result: ActionResult,
    now: float,
    instance_id: str | None,
    token: str | None,
) -> World:
    """CompleteLifecycleAction. ABANDON ends the transition's other actions too (Auto Scaling user guide).

    Raises AwsError ValidationError unless exactly such an action is open.
    """
    action = _find_open(world, group, hook, instance_id, token)
    world = _end(world, action, EndedBy.COMPLETED, result, now)
    if result is ActionResult.ABANDON:
        for other in world.actions:
            if other.is_open and other.instance_id == action.instance_id:
                world = _end(world, other, EndedBy.COMPLETED, result, now)
    return world


def heartbeat(
    world: World, *, group: str, hook: str, now: float, instance_id: str | None, token: str | None
) -> World:
    """RecordLifecycleActionHeartbeat: another heartbeat timeout from now; the global one stays."""
    action = _find_open(world, group, hook, instance_id, token)
    return _swap(world, replace(action, heartbeat_deadline=now + action.heartbeat_timeout))


def _find_open(
    world: World, group: str, hook: str, instance_id: str | None, token: str | None
) -> LifecycleAction:
    if group not in world.groups:
        raise validation_error(f"AutoScalingGroup name not found - no such group: {group}")
    if instance_id is None and token is None:
        raise validation_error("Either LifecycleActionToken or InstanceId must be specified")
    for action in world.actions:
        if not action.is_open or (action.group, action.hook) != (group, hook):
            continue
        if token is not None and action.token != token:
            continue
        if instance_id is not None and action.instance_id != instance_id:
            continue
        return action
    who = f"instance ID {instance_id}" if instance_id is not None else f"token {token}"
    raise validation_error(f"No active Lifecycle Action found with {who}")


def _end(world: World, action: LifecycleAction, ended_by: EndedBy, result: ActionResult, now: float) -> World:
    return _swap(world, replace(action, ended=now, ended_by=ended_by, result=result))


def _swap(world: World, action: LifecycleAction) -> World:
    return replace(world, actions=tuple(action if a.token == action.token else a for a in world.actions))
